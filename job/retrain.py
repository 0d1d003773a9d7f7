"""Best hyperparameters -> the model to publish."""

import functools
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from job.data import Dataset
from job.errors import SearchFailedError
from job.logs import get_logger
from job.models import Span, TunableModel, publishable_model
from job.records import ExecutionBest, PublishedModel, SearchResult, TrialRecord, execution_bests
from job.search.oracle import Address
from job.seeds import derive_seed
from job.signals import pausing_by_itself
from job.spec import RetrainSpec
from job.spec.sections import WeightedObjective
from job.training.building import build_model, own_fit
from job.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    LineageState,
    best_checkpoint,
    identity_of,
    last_checkpoint,
    restore_checkpoint,
    take_checkpoint,
)
from job.training.compilation import CompileMode
from job.training.engine import Epochs, Precision, computing_in, open_engine
from job.training.objective import with_objective
from job.training.progress import ProgressFiles
from job.training.rows import DeviceRows, place_rows
from job.training.stopping import better
from job.training.trial_setting import ExecutionPlace


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
        candidate = self._best_of_candidates() if self.spec.on == "train" else self._train_on_all()
        model = publishable_model(candidate.core, self.dataset.preparation, self.hypermodel.custom_objects())
        return TrainedModel(model, candidate.description, candidate.core)

    @property
    def _best(self) -> TrialRecord:
        return self.result.best

    @property
    def _epochs(self) -> int:
        if self.spec.epochs != "auto":
            return self.spec.epochs
        return self._best.best_epoch or self._best.to_epoch

    def _train_on_all(self) -> _Candidate:
        dataset = self.dataset
        rows = place_rows(dataset.files.open(), class_weight=self.class_weight)
        seed = derive_seed(self.seed, "retrain", 0)
        core, logs = self._train("retrain-0", seed, rows, None)
        if not math.isfinite(logs["loss"]):
            raise SearchFailedError(
                f"the retrained model diverged: loss is {logs['loss']} after {self._epochs} epochs",
                advice="retrain.on: train publishes the search's own best model instead",
            )
        return _Candidate(
            core,
            PublishedModel(
                origin="retrain",
                trained_on="train_and_validation",
                seed=seed,
                epochs=self._epochs,
                validation_score=None,
            ),
        )

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
        """The search's own best model, where its checkpoint is at hand, then one per fresh seed.

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
                    epochs=self._epochs,
                    validation_score=None if diverged else logs[self.result.totals.objective],
                ),
            )

    def _search_best(self, train: DeviceRows, validation: DeviceRows) -> _Candidate:
        best = self._best
        address = Address(best.iteration, best.bracket, best.index, best.rung)
        execution = self._best_execution()
        place = ExecutionPlace(execution.index, execution.fold, is_only=len(best.executions) == 1)
        seed = place.seed(address.lineage_seed(self.seed))
        path = best_checkpoint(self.checkpoints, place.name(best.trial_id))
        epochs = execution.epoch
        if path.exists():
            with computing_in(self.precision):
                core = build_model(self.hypermodel, best.hyperparameters, seed)
            restore_checkpoint(path, core)
        else:
            # Resumed on another disk: the lineage is a function of its seed, so training it anew gives its weights.
            core, _ = self._train("retrain-best", seed, train, validation, epochs)
        return _Candidate(
            core,
            PublishedModel(
                origin="search", trained_on="train", seed=seed, epochs=epochs, validation_score=execution.score
            ),
        )

    def _best_execution(self) -> ExecutionBest:
        totals = self.result.totals
        bests = execution_bests(self.result.trials, self._best, totals.objective, totals.direction)
        sign = -1.0 if totals.direction == "max" else 1.0
        return min(bests, key=lambda one: sign * one.score)

    def _train(
        self, name: str, seed: int, train: DeviceRows, validation: DeviceRows | None, epochs: int | None = None
    ) -> tuple[keras.Model, dict[str, float]]:
        values = self._best.hyperparameters
        hypermodel = self.hypermodel.scheduled_over(Span(train.count, self._schedule_epochs(epochs)))
        engine = open_engine(
            functools.partial(build_model, hypermodel, values, seed),
            train,
            validation,
            self.hypermodel.batch_size(values),
            compile_mode=self.compile_mode,
            precision=self.precision,
            own_fit=own_fit(self.hypermodel, values),
        )
        with pausing_by_itself(), self._progress_files(name) as progress:
            logs = self._go_on(engine, seed, epochs or self._epochs, progress)
        # Without rows to validate on nothing is decided.
        return engine.model, logs if validation is None else with_objective(logs, self.terms)

    def _schedule_epochs(self, of_the_search: int | None) -> int:
        """What was best in the search is trained as it was there, also where it had not come to the schedule's end."""
        if of_the_search is not None or self.spec.epochs == "auto":
            return self.schedule_epochs
        return self.spec.epochs

    def _progress_files(self, name: str) -> ProgressFiles:
        return ProgressFiles(last_checkpoint(self.checkpoints, name), None, self.checkpoint_interval)

    def _go_on(self, engine: Epochs, seed: int, epochs: int, progress: ProgressFiles) -> dict[str, float]:
        """Train to the end, from where an earlier start of this run was left; the last epoch's metrics.

        The finished model's checkpoint stays, for a start that is left while it publishes.
        """
        state = self._restored(progress.last, engine.model, identity_of(seed, self._best.hyperparameters))

        def checkpoint(step: int = 0) -> Checkpoint:
            return take_checkpoint(engine.model, replace(state, step=step))

        while state.epoch < epochs:
            started = time.monotonic()
            logs = engine.train(
                engine.order(seed, state.epoch),
                first_step=state.step,
                between=lambda step: progress.pause_point(lambda: checkpoint(step)),
            )
            logs |= engine.validate()
            seconds = round(time.monotonic() - started, 3)
            state = replace(state, epoch=state.epoch + 1, step=0, logs=(logs,))
            get_logger().info("epoch finished", epoch=state.epoch, seconds=seconds, **logs)
            progress.pause_point(checkpoint)
        finished = checkpoint()
        progress.write_behind(lambda: finished.write(progress.last))
        progress.finish()
        return dict(state.logs[-1])

    @staticmethod
    def _restored(path: Path, model: keras.Model, identity: str) -> LineageState:
        fresh = LineageState(epoch=0, identity=identity)
        if not path.exists():
            return fresh
        try:
            state = restore_checkpoint(path, model, identity)
        except CheckpointError as error:
            get_logger().warning("checkpoint not used", reason=str(error))
            return fresh
        get_logger().info("retraining goes on", epoch=state.epoch, step=state.step)
        return state
