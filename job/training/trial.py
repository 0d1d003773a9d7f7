"""One trial: a lineage's epochs from one rung's start to its end, with its checkpoints."""

import gc
import math
import os
import socket
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import keras_tuner

from job.errors import JobError
from job.logs import bound, get_logger
from job.models import BuiltInHyperModel
from job.records import Direction, Execution, FailureKind, Hyperparameters, TrialRecord
from job.training.checkpoint import LineageState, restore_checkpoint, save_checkpoint
from job.training.epochs import CompiledEpochs, DeviceRows, epoch_order
from job.training.tensorboard import EpochSummaries

# Keras seeds Python, NumPy and TensorFlow at once, and takes 32 bits.
_SEED_LIMIT = 2**32


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What an executor is asked for: train a lineage from one epoch to another.

    `seed` is the lineage's: weight initialisation, epoch order and dropout derive from it, in every rung.
    """

    trial_id: str
    hyperparameters: Hyperparameters
    iteration: int
    bracket: int
    index: int
    rung: int
    parent: str | None
    from_epoch: int
    to_epoch: int
    seed: int


@dataclass(frozen=True, slots=True)
class TrialSetting:
    """What all trials of a search share.

    Attributes:
        checkpoints: the folder that holds `<trial_id>.last.npz` and `<trial_id>.best.npz`.
        timeout: seconds that a trial may take, looked at after each epoch; None for no limit.
        tensorboard: the folder for TensorBoard logs; None for none.
    """

    hypermodel: BuiltInHyperModel
    train: DeviceRows
    validation: DeviceRows
    objective: str
    direction: Direction
    checkpoints: Path
    timeout: float | None = None
    tensorboard: Path | None = None


class DivergedError(Exception):
    """The loss or the objective is no longer a finite number; trying again gives the same."""


class TrialTimeoutError(Exception):
    """The trial took longer than `limits.trial_timeout`."""


def last_checkpoint(folder: Path, trial_id: str) -> Path:
    """The checkpoint that a promotion continues from."""
    return folder / f"{trial_id}.last.npz"


def best_checkpoint(folder: Path, trial_id: str) -> Path:
    """The checkpoint of the lineage's best epoch so far."""
    return folder / f"{trial_id}.best.npz"


def better(score: float, than: float | None, direction: Direction) -> bool:
    """Whether a score beats another; anything beats None."""
    if than is None:
        return True
    return score > than if direction == "max" else score < than


def build_model(hypermodel: BuiltInHyperModel, values: Hyperparameters, seed: int) -> keras.Model:
    """A compiled model with these hyperparameters, its initial weights a function of the seed alone."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed % _SEED_LIMIT)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hypermodel.build(hp)


class _Trial:
    """The state of one attempt at a trial."""

    def __init__(self, request: TrialRequest, setting: TrialSetting) -> None:
        self.request = request
        self.setting = setting
        self.state = LineageState(epoch=0)
        self.epochs: list[dict[str, float]] = []
        self.started = time.monotonic()

    def train(self) -> None:
        """Train to the requested epoch, keeping metrics and checkpoints."""
        request, setting = self.request, self.setting
        model = build_model(setting.hypermodel, request.hyperparameters, request.seed)
        # A parent's checkpoint that is gone (another machine, a new scratch disk) costs time and nothing else:
        # training anew from epoch 0 gives the same weights.
        if request.parent is not None and last_checkpoint(setting.checkpoints, request.parent).exists():
            self.state = restore_checkpoint(last_checkpoint(setting.checkpoints, request.parent), model)
        batch_size = setting.hypermodel.batch_size(request.hyperparameters)
        engine = CompiledEpochs(model, setting.train, setting.validation, batch_size)
        with EpochSummaries(setting.tensorboard, request.trial_id) as summaries:
            while self.state.epoch < request.to_epoch:
                self._check_time()
                logs = self._train_epoch(engine, model)
                summaries.write(self.state.epoch, logs)
        save_checkpoint(last_checkpoint(setting.checkpoints, request.trial_id), model, self.state)
        self._inherit_best()

    def _train_epoch(self, engine: CompiledEpochs, model: keras.Model) -> dict[str, float]:
        request, setting = self.request, self.setting
        order = epoch_order(request.seed, self.state.epoch, setting.train.count)
        logs = engine.train(order) | engine.validate()
        number = self.state.epoch + 1
        self.state = replace(self.state, epoch=number)
        if number > request.from_epoch:
            self.epochs.append(logs)
        get_logger().info("epoch finished", epoch=number, **logs)
        self._check_finite(logs)
        score = logs[setting.objective]
        if better(score, self.state.best_score, setting.direction):
            self.state = replace(self.state, best_score=score, best_epoch=number)
            save_checkpoint(best_checkpoint(setting.checkpoints, request.trial_id), model, self.state)
        return logs

    def _check_finite(self, logs: dict[str, float]) -> None:
        for name in (self.setting.objective, "loss", "val_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise DivergedError(f"{name} is {logs[name]} after epoch {self.state.epoch}")

    def _check_time(self) -> None:
        timeout = self.setting.timeout
        if timeout is not None and time.monotonic() - self.started > timeout:
            raise TrialTimeoutError(f"took longer than limits.trial_timeout ({timeout:g} s)")

    def _inherit_best(self) -> None:
        """Where no epoch of this rung was the best so far, the parent's best checkpoint is this trial's too."""
        folder, request = self.setting.checkpoints, self.request
        own = best_checkpoint(folder, request.trial_id)
        if request.parent is not None and not own.exists():
            inherited = best_checkpoint(folder, request.parent)
            if inherited.exists():
                os.link(inherited, own)

    def record(self, failure: FailureKind | None, error: str | None) -> TrialRecord:
        """What is stored of the trial, completed or failed."""
        request = self.request
        return TrialRecord(
            **{name: getattr(request, name) for name in request.__slots__ if name != "seed"},
            status="completed" if failure is None else "failed",
            score=self.state.best_score if failure is None else None,
            best_epoch=self.state.best_epoch if failure is None else None,
            executions=(Execution(epochs=tuple(self.epochs)),),
            failure=failure,
            error=error,
            seconds=round(time.monotonic() - self.started, 3),
            worker=f"{socket.gethostname()}:{os.getpid()}",
        )


def run_trial(request: TrialRequest, setting: TrialSetting) -> TrialRecord:
    """Make one attempt at a trial; whatever goes wrong in it is in the record, as `status` and `error`.

    Raises:
        JobError: what is wrong is not the trial's own affair, for example a full disk of the job.
    """
    trial = _Trial(request, setting)
    failure: FailureKind | None = None
    error: str | None = None
    with bound(trial_id=request.trial_id, iteration=request.iteration, bracket=request.bracket, rung=request.rung):
        try:
            trial.train()
        except (JobError, keras_tuner.errors.FatalError):
            raise
        except DivergedError as reason:
            failure, error = "diverged", str(reason)
        except TrialTimeoutError as reason:
            failure, error = "timed_out", str(reason)
        except Exception as reason:  # noqa: BLE001 - a trial runs code and sizes that nobody has tried before
            failure = "error"
            error = "".join(traceback.format_exception_only(reason)).strip()
            get_logger().warning("trial raised", exc_info=reason)
    record = trial.record(failure, error)
    # A finished trial's graphs and tensors hang in reference cycles.
    del trial
    gc.collect()
    return record
