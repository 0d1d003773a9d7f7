"""One training from its first step to a number of steps, outside of the search: what a retraining does."""

import functools
import time
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from job.logs import get_logger
from job.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    LineageState,
    restore_checkpoint,
    take_checkpoint,
)
from job.training.engine import Epochs
from job.training.fit import FitEpochs
from job.training.own_fit import Stretch
from job.training.progress import ProgressFiles


@dataclass(frozen=True, slots=True)
class Length:
    """How long a training is, in steps; and how many steps an epoch of its rows has."""

    steps: int
    per_epoch: int

    @property
    def epochs(self) -> int:
        """Whole epochs, rounded up."""
        return -(-self.steps // self.per_epoch)


@dataclass(frozen=True, slots=True)
class StraightTraining:
    """Trains to the end, from where an earlier start of the run was left.

    Attributes:
        engine: with the model.
        seed: of the order of the rows.
        identity: of the training; a checkpoint of another one is not used.
        length: how far. A `fit` of the user's own trains whole epochs.
    """

    engine: Epochs
    seed: int
    identity: str
    length: Length

    def run(self, progress: ProgressFiles) -> dict[str, float]:
        """Return what the last epoch logged; a number that the user's own `fit` returned is named `""`.

        The finished model's checkpoint stays, for a start that is left while it publishes.
        """
        model = self.engine.model
        state = _restored(progress.last, model, self.identity)
        if isinstance(self.engine, FitEpochs) and self.engine.has_own_fit:
            state = self._by_own_fit(self.engine, state, progress)
        else:
            state = self._step_by_step(state, progress)
        finished = take_checkpoint(model, state)
        progress.write_behind(lambda: finished.write(progress.last))
        progress.finish()
        return dict(state.logs[-1])

    def _step_by_step(self, state: LineageState, progress: ProgressFiles) -> LineageState:
        per_epoch = self.length.per_epoch

        def checkpoint(step: int) -> Checkpoint:
            return take_checkpoint(self.engine.model, replace(state, step=step))

        while (left := self.length.steps - state.epoch * per_epoch) > state.step:
            started = time.monotonic()
            logs = self.engine.train(
                self.engine.order(self.seed, state.epoch),
                first_step=state.step,
                stop_before=None if left >= per_epoch else left,
                between=lambda step: progress.pause_point(lambda: checkpoint(step)),
            )
            logs |= self.engine.validate()
            if left >= per_epoch:
                state = replace(state, epoch=state.epoch + 1, step=0, logs=(logs,))
            else:
                state = replace(state, step=left, logs=(logs,))
            _tell(state, started, logs)
            progress.pause_point(functools.partial(checkpoint, state.step))
        return state

    def _by_own_fit(self, engine: FitEpochs, state: LineageState, progress: ProgressFiles) -> LineageState:
        epochs, started = self.length.epochs, time.monotonic()
        if state.epoch >= epochs:
            return state

        def after_epoch(logs: dict[str, float]) -> None:
            nonlocal state, started
            state = replace(state, epoch=min(epochs, state.epoch + 1), logs=(logs,))
            _tell(state, started, logs)
            started = time.monotonic()
            progress.pause_point(lambda: take_checkpoint(engine.model, state))

        result = engine.train_stretch(Stretch(self.seed, state.epoch, epochs, after_epoch))
        logs = dict(state.logs[-1]) if state.logs else {}
        logs |= result.logs[-1] if result.logs else {}
        if result.number is not None:
            logs[""] = result.number
        return replace(state, epoch=epochs, logs=(logs,))


def _tell(state: LineageState, started: float, logs: dict[str, float]) -> None:
    seconds = round(time.monotonic() - started, 3)
    get_logger().info("epoch finished", epoch=state.epoch, step=state.step, seconds=seconds, **logs)


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
