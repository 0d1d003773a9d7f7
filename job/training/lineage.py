"""One lineage: a configuration's epochs with one seed, on one fold, from one rung's start to its end."""

import functools
import gc
import math
import time
from dataclasses import replace
from pathlib import Path

import keras

from job.logs import get_logger
from job.records import Execution, TrialRequest
from job.training.averaging import averaged, averages
from job.training.building import build_model, own_fit
from job.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    LineageState,
    identity_of,
    restore_checkpoint,
    take_checkpoint,
)
from job.training.engine import Epochs, open_engine
from job.training.fit import FitEpochs
from job.training.lineage_files import LineageFiles
from job.training.objective import completed, with_objective
from job.training.own_fit import Stretch
from job.training.progress import ProgressFiles
from job.training.rows import DeviceRows
from job.training.stopping import better
from job.training.tensorboard import EpochSummaries
from job.training.trial_setting import ExecutionPlace, TrialSetting


class DivergedError(Exception):
    """The loss or the objective is no longer a finite number; trying again gives the same."""


class TrialTimeoutError(Exception):
    """The trial took longer than `limits.trial_timeout`."""


class Lineage:
    """The state of one attempt at one of a trial's trainings.

    Args:
        request: the trial.
        setting: what all trials share.
        place: which of its trainings.
        started: when the attempt at the trial began, by `time.monotonic`.
        last_steps: after how many steps its last epoch ends; None for all of them. A `fit` of the user's own trains
            whole epochs.
    """

    def __init__(
        self,
        request: TrialRequest,
        setting: TrialSetting,
        place: ExecutionPlace,
        started: float,
        *,
        last_steps: int | None = None,
    ) -> None:
        self.request = request
        self._last_steps = last_steps
        self.setting = setting
        self.place = place
        self.seed = place.seed(request.seed)
        self.state = LineageState(epoch=0, identity=identity_of(self.seed, request.hyperparameters, setting.provenance))
        self.epochs: list[dict[str, float]] = []
        self.best: Checkpoint | None = None
        # Whether the best epoch's weights are averages, other than those to go on from.
        self._is_averaged = False
        self.last: Checkpoint | None = None
        self.started = started
        parent = None if request.parent is None else place.name(request.parent)
        self._files = LineageFiles(setting.checkpoints, place.name(request.trial_id), parent)

    def run(self) -> None:
        """Train, and write the checkpoints.

        Raises:
            DivergedError, TrialTimeoutError: the trial has failed.
            TrainingPausedError: the process was asked to stop; the checkpoint is written.
            Exception: whatever the model raises, and what a disk does.
        """
        best = self._files.best if self._keeps_best else None
        with ProgressFiles(self._files.last, best, self.setting.checkpoint_interval) as progress:
            self._train(progress)
            progress.write_behind(self._write)
            # A finished training's graphs and tensors hang in reference cycles.
            gc.collect()
            progress.finish()

    @property
    def _keeps_best(self) -> bool:
        """Models of folds are never published: each has seen other rows."""
        return self.setting.keeps_best and self.place.fold is None

    def _rows(self) -> tuple[DeviceRows, DeviceRows | None]:
        setting, fold = self.setting, self.place.fold
        if setting.folds is None or fold is None:
            return setting.train, setting.validation
        validation = setting.train if setting.validation is None else setting.validation
        return setting.train.select(setting.folds.train(fold)), validation.select(setting.folds.validation(fold))

    def _train(self, progress: ProgressFiles) -> None:
        """Train to the requested epoch, from where this trial or the rung below was left.

        Args:
            progress: takes the state of the trial on its way. What `write` needs is kept in memory.
        """
        request, setting = self.request, self.setting
        start, start_state = self._files.start(request, self.state)
        if start is not None and (start_state.stopped or self._files.is_finished(start, start_state, request)):
            self._go_on(start, start_state)
            return
        values = request.hyperparameters
        train, validation = self._rows()
        engine = open_engine(
            functools.partial(build_model, setting.hypermodel, values, self.seed),
            train,
            validation,
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
        with EpochSummaries(setting.tensorboard, self._files.name) as summaries:
            if isinstance(engine, FitEpochs) and engine.has_own_fit:
                logs = self._train_stretch(engine, progress, summaries)
            while self.state.epoch < request.to_epoch and not self.state.stopped:
                self._check_time()
                logs = self._train_epoch(engine, callbacks, progress)
                summaries.write(self.state.epoch, logs)
                progress.pause_point(lambda: self._checkpoint(engine.model))
        self.last = self._checkpoint(engine.model)
        callbacks.on_train_end(dict(logs))

    def _restore(self, path: Path, model: keras.Model) -> None:
        try:
            state = restore_checkpoint(path, model)
        except CheckpointError as error:
            get_logger().warning("checkpoint not used", reason=str(error))
            return
        self._go_on(path, state)

    def _go_on(self, path: Path, state: LineageState) -> None:
        if path == self._files.last:
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
        epoch, first_step = self.state.epoch, self.state.step

        def between(step: int) -> None:
            self._check_time()
            progress.pause_point(lambda: self._checkpoint(engine.model, step))

        callbacks.on_epoch_begin(epoch)
        started = time.monotonic()
        order = engine.order(self.seed, epoch)
        until = self._last_steps if epoch + 1 == self.request.to_epoch else None
        logs = engine.train(order, first_step=first_step, until=until, between=between) | engine.validate()
        logs = with_objective(logs, self.setting.terms)
        seconds = round(time.monotonic() - started, 3)
        # `fit` clears it when it begins; a callback sets it below.
        engine.model.stop_training = False
        callbacks.on_epoch_end(epoch, dict(logs))
        self._epoch_ended(logs, seconds, stopped=bool(engine.model.stop_training))
        self._take_score(self._score_of(logs), engine.model, progress)
        return logs

    def _epoch_ended(self, logs: dict[str, float], seconds: float, *, stopped: bool = False) -> None:
        epoch = self.state.epoch
        self.state = replace(self.state, epoch=epoch + 1, step=0, stopped=stopped)
        if epoch >= self.request.from_epoch:
            self.epochs.append(logs)
        get_logger().info("epoch finished", epoch=epoch + 1, seconds=seconds, **logs)
        self._check_finite(logs)

    def _train_stretch(self, engine: FitEpochs, progress: ProgressFiles, summaries: EpochSummaries) -> dict[str, float]:
        """Have the user's own `fit` train all epochs that are left, in one call; see `job.training.own_fit`.

        An epoch that it reports is scored at once, where the objective is among its metrics. What the call returns
        counts for its last epoch.
        """
        started = time.monotonic()
        request, scored_until = self.request, self.state.epoch
        logs: dict[str, float] = {}

        def after_epoch(reported: dict[str, float]) -> None:
            nonlocal logs, scored_until, started
            if self.state.epoch >= request.to_epoch:
                return
            self._check_time()
            logs = completed(reported, self.setting, engine)
            self._epoch_ended(logs, round(time.monotonic() - started, 3))
            started = time.monotonic()
            summaries.write(self.state.epoch, logs)
            if self.setting.objective in logs:
                scored_until = self.state.epoch
                self._take_score(logs[self.setting.objective], engine.model, progress)
            progress.pause_point(lambda: self._checkpoint(engine.model))

        result = engine.train_stretch(Stretch(self.seed, self.state.epoch, request.to_epoch, after_epoch))
        for told in result.logs if result.reported == 0 else ():
            after_epoch(told)
        returned = result.logs[-1] if result.logs else {}
        if result.number is not None:
            returned = {self.setting.objective: result.number}
        stopped = bool(engine.model.stop_training)
        logs = completed(logs | returned, self.setting, engine)
        while self.state.epoch < request.to_epoch and not stopped:
            # It reports fewer epochs than it was asked for: what it came to is known of the last.
            self._epoch_ended(logs, 0.0)
        self.state = replace(self.state, stopped=stopped)
        if scored_until < self.state.epoch or result.number is not None:
            if self.epochs:
                self.epochs[-1] = logs
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
            if self._keeps_best:
                with averaged(model):
                    self.best = take_checkpoint(model, self.state)
                self._is_averaged = averages(model)
                progress.new_best(self.best)

    def _check_finite(self, logs: dict[str, float]) -> None:
        for name in (self.setting.objective, "loss", "val_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise DivergedError(f"{name} is {logs[name]} after epoch {self.state.epoch}")

    def _check_time(self) -> None:
        timeout = self.setting.timeout
        if timeout is not None and time.monotonic() - self.started > timeout:
            raise TrialTimeoutError(f"took longer than limits.trial_timeout ({timeout:g} s)")

    def _write(self) -> None:
        self._files.write(self.last, self.best, is_averaged=self._is_averaged)

    def execution(self) -> Execution:
        """What its trial's record says of it."""
        return Execution(index=self.place.index, fold=self.place.fold, epochs=tuple(self.epochs))
