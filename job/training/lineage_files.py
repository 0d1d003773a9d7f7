"""The checkpoints that a lineage goes on from, and those that it leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from job.logs import get_logger
from job.records import TrialRequest
from job.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    LineageState,
    best_checkpoint,
    last_checkpoint,
    read_state,
    share_checkpoint,
)


@dataclass(frozen=True, slots=True)
class LineageFiles:
    """Where a lineage's checkpoints are.

    Attributes:
        name: what its own are named after.
        parent: what those of the rung below are named after; None on the lowest.
    """

    folder: Path
    name: str
    parent: str | None

    @property
    def last(self) -> Path:
        """The checkpoint of its last epoch."""
        return last_checkpoint(self.folder, self.name)

    @property
    def best(self) -> Path:
        """The checkpoint of its best epoch."""
        return best_checkpoint(self.folder, self.name)

    def is_finished(self, path: Path, state: LineageState, request: TrialRequest) -> bool:
        """Whether an earlier attempt at the trial got through this training: there is nothing to build a model for."""
        return path == self.last and (state.epoch, state.step) == (request.to_epoch, 0)

    def start(self, request: TrialRequest, unbegun: LineageState) -> tuple[Path | None, LineageState]:
        """Return the checkpoint to go on from: this trial's own of an earlier attempt, or the one of the rung below.

        What is gone (another machine, a new scratch disk) costs time and nothing else: training anew from epoch 0 gives
        the same weights.

        Args:
            request: the trial.
            unbegun: the state of one that has not begun; its identity must be that of the checkpoint.
        """
        for path in (self.last, None if self.parent is None else last_checkpoint(self.folder, self.parent)):
            if path is None or not path.exists():
                continue
            try:
                state = read_state(path)
            except CheckpointError as error:
                get_logger().warning("checkpoint not used", reason=str(error))
                continue
            is_own = path == self.last
            counted = len(state.logs) if is_own else 0
            if state.identity != unbegun.identity or state.epoch > request.to_epoch:
                get_logger().warning("checkpoint not used", reason=f"{path.name} is of another training")
            elif not is_own or counted == max(0, state.epoch - request.from_epoch):
                return path, state
        return None, unbegun

    def write(self, last: Checkpoint | None, best: Checkpoint | None, *, is_averaged: bool) -> None:
        """Write the checkpoints of the best and of the last epoch, in this order: a last one never lacks its best.

        What this rung did not change is the parent's: a lineage that had stopped keeps both, one that did not
        improve its best.

        Args:
            last: None where nothing was trained.
            best: None where no epoch was better.
            is_averaged: whether the best one's weights are averages, other than those to go on from.
        """
        same = best is not None and last is not None and best.state.epoch == last.state.epoch
        if same and not is_averaged and last is not None:
            # They are of the same epoch: one file is enough.
            last.write(self.best)
            share_checkpoint(self.best, self.last)
            return
        if best is not None:
            best.write(self.best)
        else:
            self._inherit(best_checkpoint, self.best)
        if last is not None:
            last.write(self.last)
        else:
            self._inherit(last_checkpoint, self.last)

    def _inherit(self, kind: Callable[[Path, str], Path], path: Path) -> None:
        """Take the parent's checkpoint, unless an earlier attempt at the trial has left one of its own."""
        source = None if self.parent is None else kind(self.folder, self.parent)
        if source is not None and source.exists() and not path.exists():
            share_checkpoint(source, path)
