"""Training the best hyperparameters once more, as a trial trains them."""

import time
from dataclasses import dataclass
from pathlib import Path

import keras

from job.logs import get_logger
from job.models import Span, TunableModel
from job.records import SearchResult, TrialRequest
from job.signals import unbroken
from job.spec.sections import WeightedObjective
from job.training.averaging import take_averages
from job.training.building import build_model
from job.training.checkpoint import CheckpointError, identity_of, last_checkpoint, restore_checkpoint
from job.training.compilation import CompileMode
from job.training.engine import Precision, computing_in
from job.training.epochs import build_variables
from job.training.fit import SCORED_ROWS, FitEpochs
from job.training.lineage import Lineage
from job.training.objective import with_objective
from job.training.rows import DeviceRows
from job.training.trial_setting import ExecutionPlace, TrialSetting


@dataclass(frozen=True, slots=True)
class Length:
    """How long a training is: its epochs, of which the last may end after some of its steps.

    Attributes:
        steps: all of them.
    """

    epochs: int
    steps: int
    last_steps: int | None = None


@dataclass(frozen=True, slots=True)
class Trainer:
    """Builds, trains, restores and scores models of the search's best hyperparameters.

    Attributes:
        result: of the search.
        provenance: of the run: checkpoints of another one are not used.
        checkpoints: the folder that states are written to on the way.
        checkpoint_interval: seconds between such writes; None for none on the way.
        terms: what the objective is the weighted sum of; empty where it is a metric.
    """

    hypermodel: TunableModel
    result: SearchResult
    provenance: str
    checkpoints: Path
    compile_mode: CompileMode
    precision: Precision
    checkpoint_interval: float | None
    terms: tuple[WeightedObjective, ...]

    @property
    def batch_size(self) -> int:
        """Rows of a training step."""
        return self.hypermodel.batch_size(self.result.best.hyperparameters)

    def train(  # noqa: PLR0913 - what a training is made of
        self,
        name: str,
        seed: int,
        length: Length,
        train: DeviceRows,
        validation: DeviceRows,
        *,
        scheduled_over: int | None = None,
    ) -> tuple[keras.Model, dict[str, float]]:
        """Train as a trial does, from where an earlier start of this run was left.

        Args:
            name: of its checkpoint.
            seed: draws weights and orders.
            length: how long.
            train: rows to train on.
            validation: rows to score on.
            scheduled_over: the epochs that a learning-rate schedule spans; None for the search's own.

        Returns:
            The model and its last metrics.

        Raises:
            DivergedError: the loss or the objective is no longer a number.
        """
        best, totals = self.result.best, self.result.totals
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
        if scheduled_over is not None:
            hypermodel = hypermodel.scheduled_over(Span(train.count, scheduled_over))
        setting = TrialSetting(
            hypermodel=hypermodel,
            train=train,
            validation=validation,
            objective=totals.objective,
            direction=totals.direction,
            checkpoints=self.checkpoints,
            provenance=self.provenance,
            checkpoint_interval=self.checkpoint_interval,
            compile_mode=self.compile_mode,
            precision=self.precision,
            terms=self.terms,
            keeps_best=False,
        )
        lineage = Lineage(request, setting, ExecutionPlace(), time.monotonic(), last_steps=length.last_steps)
        with unbroken():
            lineage.run()
        # The finished model's checkpoint stays, for a start that is left while it publishes.
        core = self.restored(last_checkpoint(self.checkpoints, name), seed, train)
        take_averages(core)
        return core, dict(lineage.execution().epochs[-1])

    def restored(
        self, path: Path, seed: int, rows: DeviceRows, reached: tuple[int, float] | None = None
    ) -> keras.Model:
        """Return a model with the weights of a checkpoint.

        Args:
            path: of the checkpoint.
            seed: of the training that it must be of.
            rows: what the model is built on.
            reached: the best epoch and the score there that the checkpoint must hold; None for any.

        Raises:
            CheckpointError: it is of something else, or cannot be read.
        """
        with computing_in(self.precision):
            core = self.built(seed, rows)
            identity = identity_of(seed, self.result.best.hyperparameters, self.provenance)
            state = restore_checkpoint(path, core, identity)
        if reached is not None and (state.best_epoch, state.best_score) != reached:
            raise CheckpointError(f"checkpoint {path.name} is of another epoch than the trial's best one")
        return core

    def built(self, seed: int, rows: DeviceRows) -> keras.Model:
        """Return an untrained model."""
        core = build_model(self.hypermodel, self.result.best.hyperparameters, seed)
        # Variables may come with the first call alone.
        build_variables(core, rows, self.batch_size)
        return core

    def score(self, core: keras.Model, rows: DeviceRows) -> float | None:
        """Return the objective on some rows; None where evaluating the model does not give it."""
        try:
            logs = FitEpochs(core, rows, rows, max(self.batch_size, SCORED_ROWS)).validate()
            names = {name.removeprefix("val_"): value for name, value in logs.items()} | logs
            return with_objective(names, self.terms).get(self.result.totals.objective)
        except Exception as error:  # noqa: BLE001 - the user's own model may raise anything; the check is not worth a night
            get_logger().warning("a model cannot be compared on all rows", reason=str(error))
            return None
