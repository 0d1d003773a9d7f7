"""Servers that ignore conditional writes: how they are found out, and what stands in for the conditions there.

Some S3 servers (older MinIO, and gateways built from it) answer 200 to `If-None-Match` and replace the object all the
same; others answer 501. Nothing but trying tells.
"""

from pathlib import Path

from job.errors import ConditionsUnsupportedError, PreconditionFailedError
from job.store.protocol import ObjectStore, StoredFile
from job.store.reading import ReadsThrough

_PROBE = b"tuning-job checks whether writes may have conditions here\n"
# An etag that no content has.
_OTHER_ETAG = f'"{"0" * 32}"'


def honours_conditions(store: ObjectStore, key: str) -> bool:
    """Whether a store keeps its promise for `put_if_absent` and `replace_if_match`.

    Args:
        store: the store to try.
        key: of an object that nobody else uses; it is written and deleted.
    """
    try:
        store.put_if_absent(key, _PROBE)
        return _refuses_existing(store, key) and _refuses_changed(store, key)
    except ConditionsUnsupportedError:
        return False
    finally:
        store.delete(key)


def _refuses_existing(store: ObjectStore, key: str) -> bool:
    try:
        store.put_if_absent(key, _PROBE)
    except PreconditionFailedError:
        return True
    return False


def _refuses_changed(store: ObjectStore, key: str) -> bool:
    try:
        store.replace_if_match(key, _PROBE, _OTHER_ETAG)
    except PreconditionFailedError:
        return True
    return False


class LookFirstStore(ReadsThrough):
    """An ObjectStore over one that ignores conditions: it looks, then writes.

    One writer alone sees what the contract promises. Of racing writers several may succeed, and the last one's object
    stays; it is whole. Who depends on exactly one winner must not use this.

    Args:
        store: where the objects are.
    """

    def put(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        self._store.put(key, data)

    def put_file(self, key: str, path: Path) -> StoredFile:
        """See ObjectStore."""
        return self._store.put_file(key, path)

    def put_file_if(self, key: str, path: Path, etag: str | None) -> StoredFile:
        """Write where a look has found what is expected; raises PreconditionFailedError otherwise."""
        self._require(key, etag)
        return self._store.put_file(key, path)

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Write where a look has found nothing; raises PreconditionFailedError otherwise."""
        self._require(key, None)
        self._store.put(key, data)

    def replace_if_match(self, key: str, data: bytes, etag: str) -> None:
        """Replace what a look has found unchanged; raises PreconditionFailedError otherwise."""
        self._require(key, etag)
        self._store.put(key, data)

    def _require(self, key: str, etag: str | None) -> None:
        current = self._store.stat(key)
        if (None if current is None else current.etag) != etag:
            what = "exists already" if etag is None else "has changed since it was read"
            raise PreconditionFailedError(f"{self.url}/{key} {what}")

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        self._store.delete(key)
