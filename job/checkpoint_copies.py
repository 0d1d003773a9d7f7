"""The store's copy of a run's checkpoint folder, so that another machine can go on where this one stopped.

The folder is this machine's own: trials write and the driver deletes there, and neither knows of the store. A thread
looks at it about once a second and has sent what is new, and deleted what is gone. A checkpoint that is replaced or
deleted before it was sent costs nothing.
"""

import contextvars
import functools
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from job.errors import JobError, ObjectNotFoundError
from job.layout import ATTEMPTS_FOLDER, CHECKPOINTS_FOLDER, RunLayout
from job.logs import get_logger
from job.store import ObjectStore
from job.uploads import UploadQueue, through_outage

_INTERVAL_SECONDS = 1.0
# `<trial_id>.best.npz`, `<trial_id>.last.npz`; of several executions `<trial_id>.e1.last.npz`, or `.e1f2.` with folds.
# Unfinished files begin with a dot.
_NAME = re.compile(r"(?P<trial>[A-Za-z0-9][\w-]*)(?:\.e\d+(?:f\d+)?)?\.(?:best|last)\.npz")

# What changes when a file is replaced: inode, size, and time of change in nanoseconds.
_Version = tuple[int, int, int]


class CheckpointCopies:
    """Keeps the store's copies as the local folder is, while the context is entered.

    Args:
        folder: the local checkpoint folder; need not exist yet.
        store: where the copies are.
        layout: the run's.
        queue: sends them.
    """

    def __init__(self, folder: Path, store: ObjectStore, layout: RunLayout, queue: UploadQueue) -> None:
        self._folder = folder
        self._store = store
        self._prefix = layout.key(CHECKPOINTS_FOLDER)
        self._queue = queue
        # What was put into the queue or fetched, by name.
        self._copied: dict[str, _Version] = {}
        # What the store may hold some version of.
        self._stored: set[str] = set()
        self._looking = threading.Lock()
        self._stop = threading.Event()
        # The thread's own events carry the fields that are bound here, such as the run id.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="checkpoint-copies", daemon=True
        )

    def restore(self, patience: float, *, anew: bool = False) -> None:
        """Fetch what the store has and this machine lacks; call before the context is entered.

        Nothing is said about what is in the files: their reader looks at their checksums.

        Args:
            patience: seconds to wait for a store that fails.
            anew: another machine has worked on the run since: what is here is out of date, and is deleted first.

        Raises:
            StoreError: the store fails, or the disk is full.
            AccessError: the store refuses.
        """
        if anew:
            for path in self._folder.glob("*.npz"):
                path.unlink(missing_ok=True)
        through_outage(self._restore, patience)

    def _restore(self) -> None:
        fetched = []
        for entry in self._store.list(self._prefix):
            name = entry.key.removeprefix(self._prefix)
            if not _NAME.fullmatch(name):
                continue
            self._stored.add(name)
            path = self._folder / name
            if path.exists():
                continue
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                self._store.get_file(entry.key, path)
            except ObjectNotFoundError:
                continue
            self._copied[name] = _version(path.stat())
            fetched.append(name)
        if fetched:
            get_logger().info("checkpoints fetched", count=len(fetched))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking. The caller looks once more where that matters."""
        self._stop.set()
        # Not to its end, for it may wait for room in the queue.
        self._thread.join(_INTERVAL_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            try:
                self.look()
            except JobError:
                # The queue has given up, and has told the main thread.
                return
            except OSError as error:
                get_logger().warning("checkpoints not copied", reason=error.strerror or str(error))

    def look(self) -> None:
        """Put what is new since the last look into the queue, and what is gone.

        Raises:
            Exception: why the queue has given up; see `UploadQueue.check`.
        """
        with self._looking:
            found = dict(self._files())
            # By name, so that a trial's best goes before its last: a last that is stored never lacks its best.
            for name in sorted(name for name, version in found.items() if self._copied.get(name) != version):
                self._queue.put(self._prefix + name, functools.partial(self._send, name), lane=_trial_of(name))
                self._copied[name] = found[name]
            for name in (self._copied.keys() | self._stored) - found.keys():
                self._forget(name)

    def _files(self) -> Iterator[tuple[str, _Version]]:
        try:
            entries = list(os.scandir(self._folder))
        except FileNotFoundError:
            return
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                try:
                    yield entry.name, _version(entry.stat())
                except FileNotFoundError:  # deleted meanwhile
                    continue

    def _send(self, name: str) -> None:
        self._stored.add(name)
        try:
            self._store.put_file(self._prefix + name, self._folder / name)
        except FileNotFoundError:
            # Deleted since; the next look has it deleted in the store.
            return

    def _forget(self, name: str) -> None:
        self._copied.pop(name, None)
        was_waiting = self._queue.cancel(self._prefix + name)
        if name in self._stored or not was_waiting:
            self._stored.discard(name)
            key = self._prefix + name
            self._queue.put(key, functools.partial(self._store.delete, key), lane=_trial_of(name))


def remove_copies(store: ObjectStore, layout: RunLayout) -> None:
    """Delete all checkpoints of a run from the store, and markers of attempts. Raises AccessError, StoreError."""
    for folder in (CHECKPOINTS_FOLDER, ATTEMPTS_FOLDER):
        for entry in list(store.list(layout.key(folder))):
            store.delete(entry.key)


def _trial_of(name: str) -> str:
    match = _NAME.fullmatch(name)
    return name if match is None else match["trial"]


def _version(status: os.stat_result) -> _Version:
    return status.st_ino, status.st_size, status.st_mtime_ns
