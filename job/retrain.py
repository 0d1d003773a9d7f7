"""Best hyperparameters -> the model to publish."""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from job.data import Dataset
from job.errors import SearchFailedError
from job.logs import get_logger
from job.models import Span, TunableModel, publishable_model
from job.records import ExecutionBest, PublishedModel, RetrainAttempt, SearchResult, TrialRecord, execution_bests
from job.search.oracle import Address
from job.seeds import derive_seed
from job.signals import pausing_by_itself
from job.spec import RetrainSpec
from job.spec.sections import WeightedObjective
from job.training.building import build_model, own_fit
from job.training.checkpoint import best_checkpoint, identity_of, last_checkpoint, restore_checkpoint
from job.training.compilation import CompileMode
from job.training.engine import Precision, computing_in, open_engine
from job.training.epochs import build_variables
from job.training.fit import scores_on
from job.training.objective import with_objective
from job.training.progress import ProgressFiles
from job.training.rows import DeviceRows, place_rows
from job.training.stopping import better
from job.training.straight import Length, StraightTraining
from job.training.trial_setting import ExecutionPlace

# Equal scores, computed over other batches, differ in the last bits.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model that will be published: takes raw rows; and what is known of it.

    Attributes:
        core: what was trained, on prepared rows; the same weights.
        file: where it is saved, once it is proved to answer alike; `model` is then what was loaded from there.
        needs_code: whether it loads only with the user's code.
    """

    model: keras.Model
    description: PublishedModel
    core: keras.Model | None = None
    file: Path | None = None
    needs_code: bool = False


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
        checkpoint_interval: seconds between such writes; None for none on the way.
        terms: what the objective is the weighted sum of; empty where it is a metric.
        class_weight: what training rows of each class count, by class number; None where all count alike.
        schedule_epochs: the epochs that the search's learning-rate schedules run over. Those of a retraining run over
            `retrain.epochs` where that is a number.
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
    schedule_epochs: int = 1

    def run(self) -> TrainedModel:
        """The model to publish.

        Raises:
            SearchFailedError: no candidate can be used: every retraining diverged.
        """
        candidate = self._best_of_candidates() if self.spec.on == "train" else self._on_all_rows()
        model = publishable_model(candidate.core, self.dataset.preparation, self.hypermodel.custom_objects())
        return TrainedModel(model, candidate.description, candidate.core)

    @property
    def _best(self) -> TrialRecord:
        return self.result.best

    def _on_all_rows(self) -> _Candidate:
        """The first retrained model that is not worse than the search's own, on rows that both know; else that one.

        A model that is trained from another start for a few steps may end anywhere: the first attempt starts from the
        winner's own seed. Each takes as many steps as the winner had taken at its best.
        """
        files = self.dataset.files
        everything = place_rows(files.open(), class_weight=self.class_weight)
        train = place_rows(files.open_train())
        validation = place_rows(files.open_validation()) if self.dataset.validation.rows else None
        winner = None if validation is None else self._search_best(train, validation)
        known = self._known_scores(None if winner is None else winner.core, train, validation)
        attempts: list[RetrainAttempt] = []
        usable: list[_Candidate] = []
        for number in range(self.spec.attempts):
            seed = self._winner_seed if number == 0 else derive_seed(self.seed, "retrain", number)
            core, logs = self._train(f"retrain-{number}", seed, everything, validation or everything)
            scores = self._known_scores(core, train, validation)
            is_finite = all(map(math.isfinite, logs.values()))
            problem = self._shortfall(scores, known) if is_finite else "it diverged"
            attempts.append(RetrainAttempt(seed=seed, problem=problem, **scores.named))
            get_logger().info("retrained", attempt=number + 1, seed=seed, problem=problem, **scores.named)
            description = PublishedModel(
                origin="retrain",
                trained_on="train_and_validation",
                seed=seed,
                epochs=self._length(everything.count).epochs,
                steps=self._length(everything.count).steps,
                validation_score=None,
                attempts=tuple(attempts),
            )
            if problem is None:
                return _Candidate(core, description)
            if is_finite:
                usable.append(_Candidate(core, description))
        if winner is None:
            return self._least_bad(usable, attempts)
        get_logger().warning("no retrained model is as good as the search's own, which is published")
        return _Candidate(winner.core, winner.description.model_copy(update={"attempts": tuple(attempts)}))

    def _least_bad(self, usable: Sequence[_Candidate], attempts: Sequence[RetrainAttempt]) -> _Candidate:
        """Of folds no model of the search's own can be published: each has seen other rows."""
        if not usable:
            raise SearchFailedError(f"every retrained model diverged, {len(attempts)} of them")
        get_logger().warning("no retrained model is as good as the search's own scores; the first is published")
        return _Candidate(usable[0].core, usable[0].description.model_copy(update={"attempts": tuple(attempts)}))

    def _known_scores(
        self, core: keras.Model | None, train: DeviceRows, validation: DeviceRows | None
    ) -> "_KnownScores":
        """The objective of a model on the rows that the search knows; without a model what the search says."""
        if core is None:
            return _KnownScores(None, self._best.score)
        size = self.hypermodel.batch_size(self._best.hyperparameters)
        return _KnownScores(
            self._score(scores_on(core, train, size)),
            self._score(scores_on(core, train if validation is None else validation, size)),
        )

    def _score(self, logs: Mapping[str, float]) -> float | None:
        try:
            return with_objective(logs, self.terms).get(self.result.totals.objective)
        except ValueError:
            return None

    def _shortfall(self, found: "_KnownScores", known: "_KnownScores") -> str | None:
        """Where a model is worse than the search's own by more than `retrain.tolerance`, in words; None if nowhere."""
        sign = -1.0 if self.result.totals.direction == "max" else 1.0
        for rows, score, wanted in (
            ("training", found.training, known.training),
            ("validation", found.validation, known.validation),
        ):
            if score is None or wanted is None:
                continue
            worse = sign * (score - wanted)
            if not worse <= self.spec.tolerance * abs(wanted) + _ROUNDING:
                objective = self.result.totals.objective.removeprefix("val_")
                return f"{objective} of the {rows} rows is {score:.6g}, and was {wanted:.6g} in the search"
        return None

    def _best_of_candidates(self) -> _Candidate:
        chosen: _Candidate | None = None
        for candidate in self._candidates():
            score = candidate.description.validation_score
            get_logger().info(
                "candidate", origin=candidate.description.origin, seed=candidate.description.seed, score=score
            )
            if score is None:
                continue
            best_score = None if chosen is None else chosen.description.validation_score
            if better(score, best_score, self.result.totals.direction):
                chosen = candidate
        if chosen is None:
            raise SearchFailedError("every retrained model diverged")
        return chosen

    def _candidates(self) -> Iterator[_Candidate]:
        """The search's own best model, then one per fresh seed.

        Of several executions it is the best one's.
        """
        train = place_rows(self.dataset.files.open_train(), class_weight=self.class_weight)
        validation = place_rows(self.dataset.files.open_validation())
        yield self._search_best(train, validation)
        for number in range(self.spec.seeds):
            seed = derive_seed(self.seed, "retrain", number)
            core, logs = self._train(f"retrain-{number}", seed, train, validation)
            # Accuracy stays a number when the loss is none.
            diverged = not all(map(math.isfinite, logs.values()))
            yield _Candidate(
                core,
                PublishedModel(
                    origin="retrain",
                    trained_on="train",
                    seed=seed,
                    epochs=self._length(train.count).epochs,
                    steps=self._length(train.count).steps,
                    validation_score=None if diverged else logs[self.result.totals.objective],
                ),
            )

    def _search_best(self, train: DeviceRows, validation: DeviceRows) -> _Candidate:
        best, execution = self._best, self._best_execution
        place = self._winner_place
        path = best_checkpoint(self.checkpoints, place.name(best.trial_id))
        size = self.hypermodel.batch_size(best.hyperparameters)
        if path.exists():
            with computing_in(self.precision):
                core = build_model(self.hypermodel, best.hyperparameters, self._winner_seed)
                # Some have their variables from their first call on.
                build_variables(core, train, size)
            restore_checkpoint(path, core)
        else:
            # Resumed on another disk: the lineage is a function of its seed, so training it anew gives its weights.
            core, _ = self._train("retrain-best", self._winner_seed, train, validation, execution.epoch)
        return _Candidate(
            core,
            PublishedModel(
                origin="search",
                trained_on="train",
                seed=self._winner_seed,
                epochs=execution.epoch,
                steps=execution.epoch * _steps(train.count, size),
                validation_score=execution.score,
            ),
        )

    @property
    def _best_execution(self) -> ExecutionBest:
        totals = self.result.totals
        bests = execution_bests(self.result.trials, self._best, totals.objective, totals.direction)
        sign = -1.0 if totals.direction == "max" else 1.0
        return min(bests, key=lambda one: sign * one.score)

    @property
    def _winner_place(self) -> ExecutionPlace:
        execution = self._best_execution
        return ExecutionPlace(execution.index, execution.fold, is_only=len(self._best.executions) == 1)

    @property
    def _winner_seed(self) -> int:
        best = self._best
        address = Address(best.iteration, best.bracket, best.index, best.rung)
        return self._winner_place.seed(address.lineage_seed(self.seed))

    def _length(self, rows: int, of_the_search: int | None = None) -> Length:
        """How long to train on so many rows: as many steps as the winner had taken, or the epochs that are asked for.

        Args:
            rows: to train on.
            of_the_search: epochs of the search's own training, which is to be repeated.
        """
        size = self.hypermodel.batch_size(self._best.hyperparameters)
        per_epoch = _steps(rows, size)
        if of_the_search is not None:
            return Length(of_the_search * per_epoch, per_epoch)
        if self.spec.epochs != "auto":
            return Length(self.spec.epochs * per_epoch, per_epoch)
        epochs = self._best.best_epoch or self._best.to_epoch
        return Length(epochs * _steps(self.dataset.files.rows_per_training, size), per_epoch)

    def _train(
        self, name: str, seed: int, train: DeviceRows, validation: DeviceRows, epochs: int | None = None
    ) -> tuple[keras.Model, dict[str, float]]:
        """Train a model to its end; with what its last epoch logged, the objective included."""
        values = self._best.hyperparameters
        engine = open_engine(
            functools.partial(build_model, self._scheduled(train.count, epochs), values, seed),
            train,
            validation,
            self.hypermodel.batch_size(values),
            compile_mode=self.compile_mode,
            precision=self.precision,
            own_fit=own_fit(self.hypermodel, values),
        )
        training = StraightTraining(engine, seed, identity_of(seed, values), self._length(train.count, epochs))
        with pausing_by_itself(), self._progress_files(name) as progress:
            logs = training.run(progress)
        if "" in logs:
            logs[self.result.totals.objective] = logs.pop("")
        deciding = {term.name for term in self.terms} or {self.result.totals.objective}
        if not deciding <= logs.keys():
            logs = {**engine.validate(), **logs}
        return engine.model, with_objective(logs, self.terms)

    def _scheduled(self, rows: int, of_the_search: int | None) -> TunableModel:
        """The model with its learning-rate schedules over the steps of the search, whichever rows it is trained on."""
        if of_the_search is None and self.spec.epochs != "auto":
            return self.hypermodel.scheduled_over(Span(rows, self.spec.epochs))
        return self.hypermodel.scheduled_over(Span(self.dataset.files.rows_per_training, self.schedule_epochs))

    def _progress_files(self, name: str) -> ProgressFiles:
        return ProgressFiles(last_checkpoint(self.checkpoints, name), None, self.checkpoint_interval)


@dataclass(frozen=True, slots=True)
class _KnownScores:
    """The objective on the rows that the search knows; None where the model does not log it."""

    training: float | None
    validation: float | None

    @property
    def named(self) -> dict[str, float | None]:
        return {"training_score": self.training, "validation_score": self.validation}


def _steps(rows: int, batch_size: int) -> int:
    return -(-rows // batch_size)
