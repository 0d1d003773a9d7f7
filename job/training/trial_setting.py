"""What all trials of a search share, and the trainings that each of them is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from job.data.folds import Folds
from job.models import TunableModel
from job.records import Direction, TrialRequest
from job.seeds import derive_seed
from job.spec.sections import WeightedObjective
from job.training.checkpoint import execution_name
from job.training.compilation import CompileMode
from job.training.engine import Precision
from job.training.kept_engines import KeptEngines
from job.training.rows import DeviceRows
from job.training.stopping import EarlyStopping


@dataclass(frozen=True, slots=True)
class TrialSetting:
    """What all trials of a search share.

    Attributes:
        train: what to train on; with folds, all rows that these divide.
        validation: what to score on; with folds the same rows, perhaps with other weights. None where nothing is.
        checkpoints: the folder that holds `<trial_id>.last.npz` and `<trial_id>.best.npz`; of trials of several
            executions one pair each, see `execution_name`.
        provenance: of the run (see `job.sealing`): checkpoints of another one are not used.
        timeout: seconds that a trial may take, looked at while it trains; None for no limit.
        checkpoint_interval: seconds between checkpoints of a trial under way; None for none.
        tensorboard: the folder for TensorBoard logs; None for none.
        early_stopping: when a lineage stops before its rung's end; None for never.
        callbacks: makes a trial's Keras callbacks. They are called at the beginning and end of epochs and of the
            trial, not of batches; what they keep for themselves does not survive promotion, and what they set up or
            change at the end of training is not in the checkpoints.
        kept: the engines of this process's earlier trials; None to build each anew.
        terms: what the objective is the weighted sum of; empty where it is a metric.
        executions: how many fresh seeds a configuration is trained with.
        folds: each seed is trained on every fold of these rows; None where there are none.
        keeps_best: whether the best epoch's checkpoint is kept besides the last one's; of folds it never is.
    """

    hypermodel: TunableModel
    train: DeviceRows
    validation: DeviceRows | None
    objective: str
    direction: Direction
    checkpoints: Path
    provenance: str = ""
    timeout: float | None = None
    checkpoint_interval: float | None = None
    tensorboard: Path | None = None
    compile_mode: CompileMode = "auto"
    precision: Precision = "float32"
    early_stopping: EarlyStopping | None = None
    callbacks: Callable[[TrialRequest], Sequence[keras.callbacks.Callback]] | None = None
    kept: KeptEngines | None = None
    terms: tuple[WeightedObjective, ...] = ()
    executions: int = 1
    folds: Folds | None = None
    keeps_best: bool = True


@dataclass(frozen=True, slots=True)
class ExecutionPlace:
    """Which of a trial's trainings: its number among the seeds, and its fold; both from 0.

    A trial of one training has nothing to tell apart: its checkpoints are named after the trial alone.
    """

    index: int = 0
    fold: int | None = None
    is_only: bool = True

    def name(self, trial_id: str) -> str:
        """What checkpoints of this training of a trial are named after."""
        return trial_id if self.is_only else execution_name(trial_id, self.index, self.fold)

    def seed(self, lineage_seed: int) -> int:
        """The configuration's own seed for its first training; fresh ones for the others."""
        if self.index == 0 and not self.fold:
            return lineage_seed
        fold = () if self.fold is None else (self.fold,)
        return derive_seed(lineage_seed, "execution", self.index, *fold)


def execution_places(executions: int, folds: int | None) -> list[ExecutionPlace]:
    """All trainings of a trial, in their order: every fold with one seed, then every fold with the next."""
    numbers: Sequence[int | None] = [None] if folds is None else range(folds)
    is_only = executions * len(numbers) == 1
    return [ExecutionPlace(index, fold, is_only) for index in range(executions) for fold in numbers]
