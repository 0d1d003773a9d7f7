"""One trial: a lineage's epochs from one rung's start to its end, with its checkpoints."""

import functools
import gc
import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import keras_tuner

from job.disk import disk_full, is_disk_full
from job.errors import JobError
from job.logs import bound, get_logger
from job.models import TunableModel
from job.records import Direction, Execution, FailureKind, TrialRecord, TrialRequest
from job.training.building import build_model, own_fit
from job.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    LineageState,
    best_checkpoint,
    identity_of,
    last_checkpoint,
    read_state,
    restore_checkpoint,
    share_checkpoint,
    take_checkpoint,
)
from job.training.compilation import CompileMode
from job.training.engine import Epochs, Precision, open_engine
from job.training.kept_engines import KeptEngines
from job.training.progress import ProgressFiles
from job.training.rows import DeviceRows
from job.training.stopping import EarlyStopping, better
from job.training.tensorboard import EpochSummaries

__all__ = [
    "DivergedError",
    "TrialSetting",
    "TrialTimeoutError",
    "best_checkpoint",
    "better",
    "build_model",
    "last_checkpoint",
    "run_trial",
]


@dataclass(frozen=True, slots=True)
class TrialSetting:
    """What all trials of a search share.

    Attributes:
        checkpoints: the folder that holds `<trial_id>.last.npz` and `<trial_id>.best.npz`.
        timeout: seconds that a trial may take, looked at while it trains; None for no limit.
        checkpoint_interval: seconds between checkpoints of a trial under way; None for none.
        tensorboard: the folder for TensorBoard logs; None for none.
        early_stopping: when a lineage stops before its rung's end; None for never.
        callbacks: makes a trial's Keras callbacks. They are called at the beginning and end of epochs and of the
            trial, not of batches; what they keep for themselves does not survive promotion, and what they set up or
            change at the end of training is not in the checkpoints.
        kept: the engines of this process's earlier trials; None to build each anew.
    """

    hypermodel: TunableModel
    train: DeviceRows
    validation: DeviceRows
    objective: str
    direction: Direction
    checkpoints: Path
    timeout: float | None = None
    checkpoint_interval: float | None = None
    tensorboard: Path | None = None
    compile_mode: CompileMode = "auto"
    precision: Precision = "float32"
    early_stopping: EarlyStopping | None = None
    callbacks: Callable[[TrialRequest], Sequence[keras.callbacks.Callback]] | None = None
    kept: KeptEngines | None = None


class DivergedError(Exception):
    """The loss or the objective is no longer a finite number; trying again gives the same."""


class TrialTimeoutError(Exception):
    """The trial took longer than `limits.trial_timeout`."""


class _Trial:
    """The state of one attempt at a trial."""

    def __init__(self, request: TrialRequest, setting: TrialSetting) -> None:
        self.request = request
        self.setting = setting
        self.state = LineageState(epoch=0, identity=identity_of(request.seed, request.hyperparameters))
        self.epochs: list[dict[str, float]] = []
        self.best: Checkpoint | None = None
        self.last: Checkpoint | None = None
        self.started = time.monotonic()

    def train(self, progress: ProgressFiles) -> None:
        """Train to the requested epoch, from where this trial or the rung below was left.

        Args:
            progress: takes the state of the trial on its way. What `write` needs is kept in memory.
        """
        request, setting = self.request, self.setting
        start, start_state = self._start()
        if start is not None and start_state.stopped:
            self._go_on(start, start_state)
            return
        values = request.hyperparameters
        engine = open_engine(
            functools.partial(build_model, setting.hypermodel, values, request.seed),
            setting.train,
            setting.validation,
            setting.hypermodel.batch_size(values),
            compile_mode=setting.compile_mode,
            precision=setting.precision,
            own_fit=own_fit(setting.hypermodel, values),
            kept=setting.kept,
            graph_key=setting.hypermodel.graph_key(values),
        )
        if start is not None:
            self._restore(start, engine.model)
        callbacks = self._callbacks(engine.model)
        callbacks.on_train_begin()
        logs: dict[str, float] = {}
        with EpochSummaries(setting.tensorboard, request.trial_id) as summaries:
            while self.state.epoch < request.to_epoch and not self.state.stopped:
                self._check_time()
                logs = self._train_epoch(engine, callbacks, progress)
                summaries.write(self.state.epoch, logs)
                progress.pause_point(lambda: self._checkpoint(engine.model))
        self.last = self._checkpoint(engine.model)
        callbacks.on_train_end(dict(logs))

    def _start(self) -> tuple[Path | None, LineageState]:
        """The checkpoint to go on from: this trial's own of an earlier attempt, or the one of the rung below.

        What is gone (another machine, a new scratch disk) costs time and nothing else: training anew from epoch 0 gives
        the same weights.
        """
        request, folder = self.request, self.setting.checkpoints
        for trial_id in (request.trial_id, request.parent):
            path = None if trial_id is None else last_checkpoint(folder, trial_id)
            if path is None or not path.exists():
                continue
            try:
                state = read_state(path)
            except CheckpointError as error:
                get_logger().warning("checkpoint not used", reason=str(error))
                continue
            is_own = trial_id == request.trial_id
            counted = len(state.logs) if is_own else 0
            if state.identity != self.state.identity or state.epoch > request.to_epoch:
                get_logger().warning("checkpoint not used", reason=f"{path.name} is of another training")
            elif not is_own or counted == max(0, state.epoch - request.from_epoch):
                return path, state
        return None, self.state

    def _restore(self, path: Path, model: keras.Model) -> None:
        try:
            state = restore_checkpoint(path, model)
        except CheckpointError as error:
            get_logger().warning("checkpoint not used", reason=str(error))
            return
        self._go_on(path, state)

    def _go_on(self, path: Path, state: LineageState) -> None:
        if path == last_checkpoint(self.setting.checkpoints, self.request.trial_id):
            self.epochs = list(state.logs)
            get_logger().info("trial goes on", epoch=state.epoch, step=state.step)
        self.state = replace(state, logs=())

    def _checkpoint(self, model: keras.Model, step: int = 0) -> Checkpoint:
        return take_checkpoint(model, replace(self.state, step=step, logs=tuple(self.epochs)))

    def _callbacks(self, model: keras.Model) -> keras.callbacks.CallbackList:
        make = self.setting.callbacks
        chosen = [] if make is None else list(make(self.request))
        return keras.callbacks.CallbackList(chosen, model=model, epochs=self.request.to_epoch, verbose=0)

    def _train_epoch(
        self, engine: Epochs, callbacks: keras.callbacks.CallbackList, progress: ProgressFiles
    ) -> dict[str, float]:
        request = self.request
        epoch, first_step = self.state.epoch, self.state.step

        def between(step: int) -> None:
            self._check_time()
            progress.pause_point(lambda: self._checkpoint(engine.model, step))

        callbacks.on_epoch_begin(epoch)
        started = time.monotonic()
        order = engine.order(request.seed, epoch)
        logs = engine.train(order, first_step=first_step, between=between) | engine.validate()
        seconds = round(time.monotonic() - started, 3)
        # `fit` clears it when it begins; a callback sets it below.
        engine.model.stop_training = False
        callbacks.on_epoch_end(epoch, dict(logs))
        self.state = replace(self.state, epoch=epoch + 1, step=0, stopped=bool(engine.model.stop_training))
        if epoch >= request.from_epoch:
            self.epochs.append(logs)
        get_logger().info("epoch finished", epoch=epoch + 1, seconds=seconds, **logs)
        self._check_finite(logs)
        self._take_score(self._score_of(logs), engine.model, progress)
        return logs

    def _score_of(self, logs: dict[str, float]) -> float:
        if self.setting.objective not in logs:
            raise ValueError(f"the model does not log {self.setting.objective}, but {', '.join(sorted(logs))}")
        return logs[self.setting.objective]

    def _take_score(self, score: float, model: keras.Model, progress: ProgressFiles) -> None:
        direction = self.setting.direction
        if self.setting.early_stopping is not None:
            self.state = self.setting.early_stopping.after_epoch(self.state, score, direction)
        if better(score, self.state.best_score, direction):
            self.state = replace(self.state, best_score=score, best_epoch=self.state.epoch)
            self.best = take_checkpoint(model, self.state)
            progress.new_best(self.best)

    def _check_finite(self, logs: dict[str, float]) -> None:
        for name in (self.setting.objective, "loss", "val_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise DivergedError(f"{name} is {logs[name]} after epoch {self.state.epoch}")

    def _check_time(self) -> None:
        timeout = self.setting.timeout
        if timeout is not None and time.monotonic() - self.started > timeout:
            raise TrialTimeoutError(f"took longer than limits.trial_timeout ({timeout:g} s)")

    def write(self) -> None:
        """Write the checkpoints of the last and of the best epoch.

        What this rung did not change is the parent's: a lineage that had stopped keeps both, one that did not
        improve its best.
        """
        folder, request = self.setting.checkpoints, self.request
        last, best = (kind(folder, request.trial_id) for kind in (last_checkpoint, best_checkpoint))
        # A trial that was left and taken up again has files of its own already.
        if self.last is not None:
            self.last.write(last)
        elif request.parent is not None and not last.exists():
            share_checkpoint(last_checkpoint(folder, request.parent), last)
        if self.best is None:
            if request.parent is not None and not best.exists() and best_checkpoint(folder, request.parent).exists():
                share_checkpoint(best_checkpoint(folder, request.parent), best)
        elif self.last is not None and self.best.state.epoch == self.last.state.epoch:
            share_checkpoint(last, best)
        else:
            self.best.write(best)

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


def _progress_files(request: TrialRequest, setting: TrialSetting) -> ProgressFiles:
    folder, trial_id = setting.checkpoints, request.trial_id
    return ProgressFiles(
        last_checkpoint(folder, trial_id), best_checkpoint(folder, trial_id), setting.checkpoint_interval
    )


def run_trial(request: TrialRequest, setting: TrialSetting) -> TrialRecord:
    """Make one attempt at a trial; whatever goes wrong in it is in the record, as `status` and `error`.

    When it returns the checkpoints are written: the next rung may start in another process.

    Raises:
        JobError: what is wrong is not the trial's own affair, for example a full disk of the job.
        TrainingPausedError: the process was asked to stop; the trial's checkpoint is written.
    """
    trial = _Trial(request, setting)
    failure: FailureKind | None = None
    error: str | None = None
    with (
        bound(trial_id=request.trial_id, iteration=request.iteration, bracket=request.bracket, rung=request.rung),
        _progress_files(request, setting) as progress,
    ):
        try:
            trial.train(progress)
            progress.write_behind(trial.write)
            # A finished trial's graphs and tensors hang in reference cycles.
            gc.collect()
            progress.finish()
        except (JobError, keras_tuner.errors.FatalError):
            raise
        except DivergedError as reason:
            failure, error = "diverged", str(reason)
        except TrialTimeoutError as reason:
            failure, error = "timed_out", str(reason)
        except Exception as reason:
            if is_disk_full(reason):
                raise disk_full(setting.checkpoints, reason) from reason
            failure = "error"
            error = setting.hypermodel.explain(reason)
            get_logger().warning("trial raised", exc_info=reason)
    if failure is not None:
        gc.collect()
    return trial.record(failure, error)
