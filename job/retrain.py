"""Best hyperparameters -> the model to publish."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from job.data import Dataset
from job.errors import SearchFailedError
from job.logs import get_logger
from job.models import Span, TunableModel, publishable_model
from job.records import (
    PublishedModel,
    RetrainAttempt,
    RowScores,
    SearchResult,
    TrialRecord,
    TrialRequest,
    execution_bests,
)
from job.search.oracle import Address
from job.seeds import derive_seed
from job.signals import pausing_by_itself
from job.spec import RetrainSpec
from job.spec.sections import WeightedObjective
from job.training.averaging import take_averages
from job.training.building import build_model, own_fit
from job.training.checkpoint import CheckpointError, best_checkpoint, last_checkpoint, restore_checkpoint
from job.training.compilation import CompileMode
from job.training.engine import Precision, computing_in
from job.training.epochs import build_variables
from job.training.fit import FitEpochs
from job.training.lineage import DivergedError, Lineage
from job.training.objective import with_objective
from job.training.rows import DeviceRows, place_rows
from job.training.stopping import better
from job.training.tolerance import shortfall
from job.training.trial_setting import ExecutionPlace, TrialSetting

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
class _Winner:
    """The best trial's best training.

    Attributes:
        checkpoint: of its best epoch; None where none is kept.
        epoch: its best one, from 1.
        score: the objective on its validation rows there.
        train, validation: its rows, by their numbers among all.
    """

    seed: int
    checkpoint: Path | None
    epoch: int
    score: float
    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True, slots=True)
class _Length:
    """How long a training is: its epochs, of which the last may end after some of its steps.

    Attributes:
        steps: all of them.
    """

    epochs: int
    steps: int
    last_steps: int | None = None


@dataclass(frozen=True, slots=True)
class Retraining:
    """Trains the search's best hyperparameters once more.

    Attributes:
        seed: the spec's.
        checkpoints: the search's checkpoint folder, which holds the best trial's best epoch; retraining writes its own
            state there, too.
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
    def _batch_size(self) -> int:
        return self.hypermodel.batch_size(self._best.hyperparameters)

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
        winner = self._winner()
        own = self._winners_model(winner, trained, scored)
        with computing_in(self.precision):
            untrained_model = self._built(winner.seed, trained)
        train, validation = scored.select(winner.train), scored.select(winner.validation)
        of_winner = RowScores(train=self._score(own, train), validation=winner.score)
        untrained = RowScores(
            train=self._score(untrained_model, train), validation=self._score(untrained_model, validation)
        )
        length = self._length_on_all(winner, trained)
        attempts: list[RetrainAttempt] = []
        for number in range(self.spec.attempts):
            seed = derive_seed(self.seed, "retrain", number) if number else winner.seed
            attempt, core = RetrainAttempt(seed=seed, steps=length.steps), None
            try:
                core, logs = self._train(f"retrain-{number}", seed, length, trained, validation)
            except DivergedError as error:
                reason: str | None = f"diverged: {error}"
            else:
                scores = RowScores(train=self._score(core, train), validation=logs.get(self.result.totals.objective))
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
        winner = self._winner()
        yield _Candidate(self._winners_model(winner, trained, scored), self._description_of(winner))
        train, validation = trained.select(winner.train), scored.select(winner.validation)
        epochs = self._best.best_epoch or self._best.to_epoch
        length = self._whole(epochs if self.spec.epochs == "auto" else self.spec.epochs, train)
        for number in range(self.spec.seeds):
            seed = derive_seed(self.seed, "retrain", number)
            try:
                core, logs = self._train(f"retrain-{number}", seed, length, train, validation)
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

    def _winner(self) -> _Winner:
        best, totals, files = self._best, self.result.totals, self.dataset.files
        sign = -1.0 if totals.direction == "max" else 1.0
        bests = execution_bests(self.result.trials, best, totals.objective, totals.direction)
        execution = min(bests, key=lambda one: sign * one.score)
        place = ExecutionPlace(execution.index, execution.fold, is_only=len(best.executions) == 1)
        address = Address(best.iteration, best.bracket, best.index, best.rung)
        if files.folds is None or execution.fold is None:
            train = np.arange(files.train_rows)
            validation = np.arange(files.train_rows, self.dataset.train_and_validation.rows)
        else:
            folds = files.folds.open()
            train, validation = folds.train(execution.fold), folds.validation(execution.fold)
        return _Winner(
            seed=place.seed(address.lineage_seed(self.seed)),
            checkpoint=None
            if execution.fold is not None
            else best_checkpoint(self.checkpoints, place.name(best.trial_id)),
            epoch=execution.epoch,
            score=execution.score,
            train=train,
            validation=validation,
        )

    def _winners_model(self, winner: _Winner, trained: DeviceRows, scored: DeviceRows) -> keras.Model:
        """Return it from its checkpoint.

        Where that is gone (resumed on another disk, models of folds), training it anew from its seed gives its weights.
        """
        train = trained.select(winner.train)
        if winner.checkpoint is not None and winner.checkpoint.exists():
            try:
                return self._restored(winner.checkpoint, winner.seed, train)
            except CheckpointError as error:
                get_logger().warning("checkpoint not used", reason=str(error))
        length = self._whole(winner.epoch, train)
        try:
            core, _ = self._train(_ANEW, winner.seed, length, train, scored.select(winner.validation))
        except DivergedError as error:
            raise SearchFailedError(f"the search's best model diverged when it was trained anew: {error}") from error
        return core

    def _description_of(self, winner: _Winner) -> PublishedModel:
        return PublishedModel(
            origin="search",
            trained_on="train",
            seed=winner.seed,
            epochs=winner.epoch,
            steps=winner.epoch * math.ceil(len(winner.train) / self._batch_size),
            validation_score=winner.score,
        )

    def _whole(self, epochs: int, rows: DeviceRows) -> _Length:
        return _Length(epochs, epochs * math.ceil(rows.count / self._batch_size))

    def _length_on_all(self, winner: _Winner, rows: DeviceRows) -> _Length:
        """As many steps as the winner took; whole epochs of a `fit` of the user's own, and where they are given.

        Of folds, whose best epochs differ by what they were scored on, it is the mean of these.
        """
        if self.spec.epochs != "auto":
            return self._whole(self.spec.epochs, rows)
        epochs = winner.epoch if self.dataset.files.folds is None else self._best.best_epoch or winner.epoch
        steps = epochs * math.ceil(len(winner.train) / self._batch_size)
        per_epoch = math.ceil(rows.count / self._batch_size)
        whole, rest = divmod(steps, per_epoch)
        if rest and own_fit(self.hypermodel, self._best.hyperparameters) is not None:
            return self._whole(whole + 1, rows)
        return _Length(whole + bool(rest), steps, rest or None)

    def _train(
        self, name: str, seed: int, length: _Length, train: DeviceRows, validation: DeviceRows
    ) -> tuple[keras.Model, dict[str, float]]:
        """Train as a trial does, from where an earlier start of this run was left; the model and its last metrics.

        Raises:
            DivergedError: the loss or the objective is no longer a number.
        """
        best, totals = self._best, self.result.totals
        request = TrialRequest(
            trial_id=name,
            hyperparameters=best.hyperparameters,
            iteration=best.iteration,
            bracket=best.bracket,
            index=best.index,
            rung=0,
            parent=None,
            from_epoch=0,
            to_epoch=length.epochs,
            seed=seed,
        )
        hypermodel = self.hypermodel
        if self.spec.epochs != "auto" and name != _ANEW:
            hypermodel = hypermodel.scheduled_over(Span(train.count, self.spec.epochs))
        setting = TrialSetting(
            hypermodel=hypermodel,
            train=train,
            validation=validation,
            objective=totals.objective,
            direction=totals.direction,
            checkpoints=self.checkpoints,
            checkpoint_interval=self.checkpoint_interval,
            compile_mode=self.compile_mode,
            precision=self.precision,
            terms=self.terms,
            keeps_best=False,
        )
        lineage = Lineage(request, setting, ExecutionPlace(), time.monotonic(), last_steps=length.last_steps)
        with pausing_by_itself():
            lineage.run()
        # The finished model's checkpoint stays, for a start that is left while it publishes.
        core = self._restored(last_checkpoint(self.checkpoints, name), seed, train)
        take_averages(core)
        return core, dict(lineage.execution().epochs[-1])

    def _restored(self, path: Path, seed: int, rows: DeviceRows) -> keras.Model:
        with computing_in(self.precision):
            core = self._built(seed, rows)
            restore_checkpoint(path, core)
        return core

    def _built(self, seed: int, rows: DeviceRows) -> keras.Model:
        core = build_model(self.hypermodel, self._best.hyperparameters, seed)
        # Variables may come with the first call alone.
        build_variables(core, rows, self._batch_size)
        return core

    def _score(self, core: keras.Model, rows: DeviceRows) -> float | None:
        """Return the objective on some rows; None where evaluating the model does not give it."""
        try:
            logs = FitEpochs(core, rows, rows, self._batch_size).validate()
            names = {name.removeprefix("val_"): value for name, value in logs.items()} | logs
            return with_objective(names, self.terms).get(self.result.totals.objective)
        except Exception as error:  # noqa: BLE001 - the user's own model may raise anything; the check is not worth a night
            get_logger().warning("a model cannot be compared on all rows", reason=str(error))
            return None
