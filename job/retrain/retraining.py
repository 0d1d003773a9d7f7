"""Best hyperparameters -> the model to publish."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from job.data import Dataset
from job.errors import SearchFailedError
from job.logs import get_logger
from job.models import TunableModel, publishable_model
from job.records import PublishedModel, RetrainAttempt, RowScores, SearchResult, TrialRecord
from job.retrain.training import Length, Trainer
from job.retrain.winner import Winner, winner_of
from job.seeds import derive_seed
from job.spec import RetrainSpec
from job.spec.sections import WeightedObjective
from job.training.building import own_fit
from job.training.checkpoint import CheckpointError
from job.training.compilation import CompileMode
from job.training.engine import Precision, computing_in
from job.training.lineage import DivergedError
from job.training.rows import DeviceRows, place_rows
from job.training.stopping import better
from job.training.tolerance import shortfall

# Names the checkpoint of the search's own model, trained anew.
_ANEW = "retrain-best"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model that will be published: takes raw rows; and what is known of it.

    Attributes:
        core: what was trained, on prepared rows; the same weights.
    """

    model: keras.Model
    description: PublishedModel
    core: keras.Model


@dataclass(frozen=True, slots=True)
class _Candidate:
    core: keras.Model
    description: PublishedModel


@dataclass(frozen=True, slots=True)
class Retraining:
    """Trains the search's best hyperparameters once more.

    Attributes:
        seed: the spec's.
        checkpoints: the search's checkpoint folder, which holds the best trial's best epoch; retraining writes its own
            state there, too.
        provenance: of the run; checkpoints of another one are not used.
        checkpoint_interval: seconds between such writes; None for none on the way.
        terms: what the objective is the weighted sum of; empty where it is a metric.
        class_weight: what training rows of each class count, by class number; None where all count alike.
    """

    hypermodel: TunableModel
    dataset: Dataset
    result: SearchResult
    spec: RetrainSpec
    seed: int
    checkpoints: Path
    provenance: str = ""
    compile_mode: CompileMode = "auto"
    precision: Precision = "float32"
    checkpoint_interval: float | None = None
    terms: tuple[WeightedObjective, ...] = ()
    class_weight: Mapping[int, float] | None = None

    def run(self) -> TrainedModel:
        """Return the model to publish.

        Raises:
            SearchFailedError: no candidate can be used: the search's own is gone, and diverged when trained anew.
        """
        trained, scored = self._rows()
        candidate = (
            self._best_of_candidates(trained, scored)
            if self.spec.on == "train"
            else self._train_on_all(trained, scored)
        )
        model = publishable_model(candidate.core, self.dataset.preparation, self.hypermodel.custom_objects())
        return TrainedModel(model, candidate.description, candidate.core)

    @property
    def _best(self) -> TrialRecord:
        return self.result.best

    @property
    def _trainer(self) -> Trainer:
        return Trainer(
            self.hypermodel,
            self.result,
            self.provenance,
            self.checkpoints,
            self.compile_mode,
            self.precision,
            self.checkpoint_interval,
            self.terms,
        )

    def _rows(self) -> tuple[DeviceRows, DeviceRows]:
        """All rows but the test split's, as they are trained on and as they are scored: there classes count alike."""
        trained = place_rows(self.dataset.files.open(), class_weight=self.class_weight)
        if self.class_weight is None:
            return trained, trained
        return trained, trained.with_weights(self.dataset.files.open().sample_weight)

    def _train_on_all(self, trained: DeviceRows, scored: DeviceRows) -> _Candidate:
        """Retrain until a model is as good as the winner where both can be scored, or publish the winner.

        The rows are seen ones, so that a score says nothing of how good a model is on others; but a retraining that
        went wrong by chance goes wrong on these, too.
        """
        winner = winner_of(self.result, self.dataset, seed=self.seed, checkpoints=self.checkpoints)
        own = self._winners_model(winner, trained, scored)
        with computing_in(self.precision):
            untrained_model = self._trainer.built(winner.seed, trained)
        train, validation = scored.select(winner.train), scored.select(winner.validation)
        of_winner = RowScores(train=self._trainer.score(own, train), validation=winner.score)
        untrained = RowScores(
            train=self._trainer.score(untrained_model, train),
            validation=self._trainer.score(untrained_model, validation),
        )
        length = self._length_on_all(winner, trained)
        attempts: list[RetrainAttempt] = []
        for number in range(self.spec.attempts):
            seed = derive_seed(self.seed, "retrain", number) if number else winner.seed
            attempt, core = RetrainAttempt(seed=seed, steps=length.steps), None
            try:
                core, logs = self._retrain(number, seed, length, trained, validation)
            except DivergedError as error:
                reason: str | None = f"diverged: {error}"
            else:
                scores = RowScores(
                    train=self._trainer.score(core, train), validation=logs.get(self.result.totals.objective)
                )
                attempt = attempt.model_copy(update={"scores": scores})
                reason = shortfall(scores, of_winner, untrained, self.result.totals.direction, self.spec.tolerance)
            attempts.append(attempt.model_copy(update={"shortfall": reason}))
            self._tell(number, attempts[-1], of_winner)
            if core is not None and reason is None:
                return _Candidate(
                    core,
                    PublishedModel(
                        origin="retrain",
                        trained_on="train_and_validation",
                        seed=seed,
                        epochs=winner.epoch if self.spec.epochs == "auto" else self.spec.epochs,
                        steps=length.steps,
                        validation_score=None,
                        attempts=tuple(attempts),
                        winner=of_winner,
                    ),
                )
        get_logger().warning("the search's own model is published", reason="every retrained one is worse")
        update = {"attempts": tuple(attempts), "winner": of_winner}
        return _Candidate(own, self._description_of(winner).model_copy(update=update))

    @staticmethod
    def _tell(number: int, attempt: RetrainAttempt, of_winner: RowScores) -> None:
        tell = get_logger().info if attempt.shortfall is None else get_logger().warning
        tell(
            "retrained",
            attempt=number + 1,
            seed=attempt.seed,
            steps=attempt.steps,
            train_score=attempt.scores.train,
            validation_score=attempt.scores.validation,
            search_train_score=of_winner.train,
            search_validation_score=of_winner.validation,
            worse=attempt.shortfall,
        )

    def _best_of_candidates(self, trained: DeviceRows, scored: DeviceRows) -> _Candidate:
        chosen: _Candidate | None = None
        for candidate in self._candidates(trained, scored):
            score = candidate.description.validation_score
            get_logger().info(
                "candidate", origin=candidate.description.origin, seed=candidate.description.seed, score=score
            )
            best_score = None if chosen is None else chosen.description.validation_score
            if score is not None and better(score, best_score, self.result.totals.direction):
                chosen = candidate
        if chosen is None:
            raise SearchFailedError("every retrained model diverged")
        return chosen

    def _candidates(self, trained: DeviceRows, scored: DeviceRows) -> Iterator[_Candidate]:
        """Return the search's own best model, then one per fresh seed that has not diverged.

        Of several executions the search's own is the best one's.
        """
        winner = winner_of(self.result, self.dataset, seed=self.seed, checkpoints=self.checkpoints)
        yield _Candidate(self._winners_model(winner, trained, scored), self._description_of(winner))
        train, validation = trained.select(winner.train), scored.select(winner.validation)
        epochs = self._best.best_epoch or self._best.to_epoch
        length = self._whole(epochs if self.spec.epochs == "auto" else self.spec.epochs, train)
        for number in range(self.spec.seeds):
            seed = derive_seed(self.seed, "retrain", number)
            try:
                core, logs = self._retrain(number, seed, length, train, validation)
            except DivergedError as error:
                get_logger().warning("candidate diverged", seed=seed, reason=str(error))
                continue
            yield _Candidate(
                core,
                PublishedModel(
                    origin="retrain",
                    trained_on="train",
                    seed=seed,
                    epochs=length.epochs,
                    steps=length.steps,
                    validation_score=logs.get(self.result.totals.objective),
                ),
            )

    def _retrain(
        self, number: int, seed: int, length: Length, train: DeviceRows, validation: DeviceRows
    ) -> tuple[keras.Model, dict[str, float]]:
        scheduled_over = None if self.spec.epochs == "auto" else self.spec.epochs
        name = f"retrain-{number}"
        return self._trainer.train(name, seed, length, train, validation, scheduled_over=scheduled_over)

    def _winners_model(self, winner: Winner, trained: DeviceRows, scored: DeviceRows) -> keras.Model:
        """Return it from its checkpoint.

        Where that is gone (resumed on another disk, models of folds), training it anew from its seed gives its weights.
        """
        train = trained.select(winner.train)
        if winner.checkpoint is not None and winner.checkpoint.exists():
            try:
                reached = winner.epoch, winner.score
                return self._trainer.restored(winner.checkpoint, winner.seed, train, reached)
            except CheckpointError as error:
                get_logger().warning("checkpoint not used", reason=str(error))
        length = self._whole(winner.epoch, train)
        try:
            core, _ = self._trainer.train(_ANEW, winner.seed, length, train, scored.select(winner.validation))
        except DivergedError as error:
            raise SearchFailedError(f"the search's best model diverged when it was trained anew: {error}") from error
        return core

    def _description_of(self, winner: Winner) -> PublishedModel:
        return PublishedModel(
            origin="search",
            trained_on="train",
            seed=winner.seed,
            epochs=winner.epoch,
            steps=winner.epoch * math.ceil(len(winner.train) / self._trainer.batch_size),
            validation_score=winner.score,
        )

    def _whole(self, epochs: int, rows: DeviceRows) -> Length:
        return Length(epochs, epochs * math.ceil(rows.count / self._trainer.batch_size))

    def _length_on_all(self, winner: Winner, rows: DeviceRows) -> Length:
        """As many steps as the winner took; whole epochs of a `fit` of the user's own, and where they are given.

        Of folds, whose best epochs differ by what they were scored on, it is the mean of these.
        """
        if self.spec.epochs != "auto":
            return self._whole(self.spec.epochs, rows)
        epochs = winner.epoch if self.dataset.files.folds is None else self._best.best_epoch or winner.epoch
        steps = epochs * math.ceil(len(winner.train) / self._trainer.batch_size)
        per_epoch = math.ceil(rows.count / self._trainer.batch_size)
        whole, rest = divmod(steps, per_epoch)
        if rest and own_fit(self.hypermodel, self._best.hyperparameters) is not None:
            return self._whole(whole + 1, rows)
        return Length(whole + bool(rest), steps, rest or None)
