"""Storing a training that is under way, so that it goes on from there after whatever happens."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from job.disk import clear_disk_errors
from job.stop_request import TrainingPausedError, stop_requested
from job.training.checkpoint import Checkpoint


class ProgressFiles:
    """The two checkpoints of one training, rewritten as it goes.

    They are written by a thread, one after the other: no step waits for the disk, unless the write before is not done
    yet. The best one is written before the last one, so that what the last one speaks of is there.

    Args:
        last: where the state to go on from is written.
        best: where the best epoch's is; None where none is kept.
        interval: seconds between writes; None writes only at the end, or when the process is asked to stop.
    """

    def __init__(self, last: Path, best: Path | None, interval: float | None) -> None:
        self.last = last
        self._best = best
        self._interval = interval
        self._written_at = time.monotonic()
        self._unwritten_best: Checkpoint | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown()

    def new_best(self, checkpoint: Checkpoint) -> None:
        """Written with the next state."""
        self._unwritten_best = checkpoint

    def pause_point(self, take: Callable[[], Checkpoint]) -> None:
        """Called where training can go on from: writes what `take` copies, if it is time to.

        Raises:
            TrainingPausedError: the process was asked to stop; the state is written.
            StoreError: the disk was too full for the write before.
        """
        if stop_requested():
            self._write(take())
            self.finish()
            raise TrainingPausedError
        if self._interval is not None and time.monotonic() - self._written_at >= self._interval:
            self._write(take())

    def write_behind(self, write: Callable[[], None]) -> None:
        """Have the thread write something else; `finish` waits for it."""
        self.finish()
        self._writing = self._writer.submit(write)

    def finish(self) -> None:
        """Wait for the last write. Raises StoreError if the disk is full, OSError if it fails otherwise."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        with clear_disk_errors(self.last):
            writing.result()

    def _write(self, checkpoint: Checkpoint) -> None:
        best, self._unwritten_best = self._unwritten_best, None
        self.write_behind(lambda: self._write_both(checkpoint, best))
        self._written_at = time.monotonic()

    def _write_both(self, last: Checkpoint, best: Checkpoint | None) -> None:
        if best is not None and self._best is not None:
            best.write(self._best)
        last.write(self.last)
