"""A run's store as the holder of its lease writes to it: checked in one place, over nothing that it has not seen."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from job.errors import PreconditionFailedError
from job.store import ObjectStore, StoredFile
from job.store.reading import ReadsThrough

T = TypeVar("T")

# Others write where a holder does only while it takes the run over: each of them once.
_ATTEMPTS = 5


class FencedStore(ReadsThrough):
    """An ObjectStore whose writes are refused once the run is, or may be, another process's.

    A process that was frozen between the check and the write, or whose write was held up on the network, may come back
    when another one has published the run. So every write has a condition as well: that the object is what this holder
    found before its lease was checked. What a successor has written since is never replaced. A deletion has no
    condition; what it may take away is made again.

    Args:
        store: the run's.
        check: raises where the lease is lost, or its possession not certain; see `RunLease.check`.

    Attributes:
        written: the keys that were written, or may have been, and not deleted since.
    """

    def __init__(self, store: ObjectStore, check: Callable[[], None]) -> None:
        super().__init__(store)
        self._check = check
        self.written: set[str] = set()

    def put(self, key: str, data: bytes) -> None:
        """See ObjectStore; raises LockedError."""

        def write(etag: str | None) -> None:
            if etag is None:
                self._store.put_if_absent(key, data)
            else:
                self._store.replace_if_match(key, data, etag)

        self._over_what_was_seen(key, write)

    def put_file(self, key: str, path: Path) -> StoredFile:
        """See ObjectStore; raises LockedError."""
        return self._over_what_was_seen(key, lambda etag: self._store.put_file_if(key, path, etag))

    def put_file_if(self, key: str, path: Path, etag: str | None) -> StoredFile:
        """See ObjectStore; raises LockedError."""
        self._check()
        self.written.add(key)
        return self._store.put_file_if(key, path, etag)

    def put_if_absent(self, key: str, data: bytes) -> None:
        """See ObjectStore; raises LockedError."""
        self._check()
        self.written.add(key)
        self._store.put_if_absent(key, data)

    def replace_if_match(self, key: str, data: bytes, etag: str) -> None:
        """See ObjectStore; raises LockedError."""
        self._check()
        self.written.add(key)
        self._store.replace_if_match(key, data, etag)

    def delete(self, key: str) -> None:
        """See ObjectStore; raises LockedError."""
        self._check()
        self._store.delete(key)
        self.written.discard(key)

    def _over_what_was_seen(self, key: str, write: Callable[[str | None], T]) -> T:
        # An object that is new needs no look, and most are.
        must_look = key in self.written
        self.written.add(key)
        attempts = 0
        while True:
            attempts += 1
            found = self._store.stat(key) if must_look else None
            # After the look: what is seen while the lease is ours is not a successor's.
            self._check()
            try:
                return write(None if found is None else found.etag)
            except PreconditionFailedError:
                if attempts == _ATTEMPTS:
                    raise
                must_look = True
