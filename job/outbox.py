"""Small objects on their way to the store: on disk first, then in the queue.

A job that ends before the store takes them leaves them here, and the next start on this machine sends them: a finished
trial is not trained again because the store was away.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from job.disk import clear_disk_errors
from job.uploads import UploadQueue

# Names that begin so are unfinished.
_UNFINISHED = ".unfinished-"


class Outbox:
    """Files under a folder, each named by the key that its content will have, relative to the run.

    No two contents have one key: sending the second would take the first one's file away.

    Args:
        folder: local; created with the first file.
        queue: sends them.
    """

    def __init__(self, folder: Path, queue: UploadQueue) -> None:
        self._folder = folder
        self._queue = queue
        # Looked at before anything is added: what this start adds is under way already.
        self._left = list(self._files())

    def add(self, relative: str, data: bytes, send: Callable[[bytes], None], *, lane: str | None = None) -> None:
        """Keep content on disk and have it sent; it is removed from disk once `send` has returned.

        When this returns the content survives the process, but not a power cut.

        Args:
            relative: the key, relative to the run.
            data: the content.
            send: stores it; called from another thread, and again after a failure.
            lane: see `UploadQueue.put`.

        Raises:
            StoreError: the disk is full, or the queue has given up on the store.
            Exception: why else the queue has given up.
        """
        path = self._folder / relative
        with clear_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(_UNFINISHED + path.name)
            unfinished.write_bytes(data)
            unfinished.replace(path)
        self._enqueue(path, relative, send, lane)

    def send_again(self, relative: str, send: Callable[[bytes], None], *, lane: str | None = None) -> None:
        """Have a file sent that an earlier start left; see `add`."""
        self._enqueue(self._folder / relative, relative, send, lane)

    def left(self) -> Iterator[tuple[str, bytes]]:
        """Yield key and content of what an earlier start did not get stored, by key."""
        for path in self._left:
            yield path.relative_to(self._folder).as_posix(), path.read_bytes()

    def drop(self, relative: str) -> None:
        """Remove a file that need not be sent."""
        (self._folder / relative).unlink(missing_ok=True)

    @property
    def is_empty(self) -> bool:
        """Whether everything has been stored."""
        return next(self._files(), None) is None

    def _files(self) -> Iterator[Path]:
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and not path.name.startswith(_UNFINISHED):
                yield path

    def _enqueue(self, path: Path, relative: str, send: Callable[[bytes], None], lane: str | None) -> None:
        self._queue.put(relative, functools.partial(_deliver, path, send), lane=lane)


def _deliver(path: Path, send: Callable[[bytes], None]) -> None:
    send(path.read_bytes())
    path.unlink()
