"""Which versions of the data's objects a run reads: those that it first started with, where they can still be had."""

from collections.abc import Mapping
from pathlib import Path

from job.disk import clear_disk_errors, require_space
from job.errors import ObjectNotFoundError, StoreError
from job.logs import get_logger
from job.records import SourceObject
from job.store import ListedObject, ObjectStore

# Read whole, by one request: of thousands of images most of the time goes into requests.
_SMALL_BYTES = 8 * 2**20
# How often an object is read that is replaced meanwhile.
_ATTEMPTS = 3


class ObjectPins:
    """Fetches the data's objects, and notes what was read.

    Args:
        pinned: what the run first started with, by field of the spec's `data` section; empty for a new run.

    Attributes:
        read: what was read, by field.
    """

    def __init__(self, pinned: Mapping[str, SourceObject] | None = None) -> None:
        self._pinned = dict(pinned or {})
        self.read: dict[str, SourceObject] = {}

    def read_in_place(self, field: str, location: str, size: int) -> None:
        """Note a local file; its content is known by the data's fingerprint."""
        self.read[field] = SourceObject(location=location, size=size)

    def pinned_fields(self, prefix: str) -> tuple[str, ...]:
        """The pinned fields that begin so: the objects that a folder or prefix held when the run first started."""
        return tuple(sorted(field for field in self._pinned if field.startswith(prefix)))

    def fetch(  # noqa: PLR0913 - one more than code of the user's own is fetched with
        self,
        field: str,
        location: str,
        store: ObjectStore,
        key: str,
        path: Path,
        *,
        listed: ListedObject | None = None,
    ) -> None:
        """Copy an object to a local file: the pinned version, or the newest where none is pinned or it is gone.

        Args:
            field: of the spec's `data` section.
            location: what the spec calls the object, without credentials.
            store: holds the object, under `key`.
            key: see `store`.
            path: the file to write.
            listed: what the listing has said of it, which must still be so; None where it was not listed.

        Raises:
            ObjectNotFoundError: there is no such object.
            AccessError, StoreError: the store refuses or fails, there is too little room on the disk, or the object was
                replaced while it was read.
        """
        if self._fetch_pinned(field, location, store, key, path):
            return
        if listed is not None and listed.size <= _SMALL_BYTES:
            self.read[field] = _fetch_small(location, store, key, path)
        else:
            self.read[field] = _fetch_newest(location, store, key, path)
        is_other = listed is not None and listed.etag not in {None, self.read[field].etag}
        if listed is not None and is_other and _was_replaced(store, listed):
            raise _changing(location)

    def _fetch_pinned(self, field: str, location: str, store: ObjectStore, key: str, path: Path) -> bool:
        pin = self._pinned.get(field)
        if pin is None or pin.version is None or pin.location != location:
            return False
        require_space(path.parent, pin.size or 0)
        try:
            store.get_file(key, path, version=pin.version)
        except ObjectNotFoundError:
            # The newest will do if it has the same content, which its fingerprint tells.
            get_logger().warning("the version that the run started with is gone", location=location)
            return False
        self.read[field] = pin
        return True


def _fetch_small(location: str, store: ObjectStore, key: str, path: Path) -> SourceObject:
    stored = store.get(key)
    size = len(stored.data)
    require_space(path.parent, size)
    with clear_disk_errors(path):
        path.write_bytes(stored.data)
    return SourceObject(location=location, size=size, etag=stored.etag, version=stored.version)


def _fetch_newest(location: str, store: ObjectStore, key: str, path: Path) -> SourceObject:
    """Fetch an object of any size; what is noted of it is what was read."""
    for _ in range(_ATTEMPTS):
        known = store.stat(key)
        if known is None:
            raise ObjectNotFoundError(f"{location} does not exist")
        require_space(path.parent, known.size)
        fetched = store.get_file(key, path, version=known.version)
        if known.version is not None or store.stat(key) == known:
            return SourceObject(location=location, size=fetched.size, etag=known.etag, version=known.version)
    raise _changing(location)


def _was_replaced(store: ObjectStore, listed: ListedObject) -> bool:
    """Whether the listing has changed: some servers' listings have other etags than the objects."""
    now = next((entry for entry in store.list(listed.key) if entry.key == listed.key), None)
    return now is None or (now.etag, now.size) != (listed.etag, listed.size)


def _changing(location: str) -> StoreError:
    return StoreError(
        f"{location} was replaced while the data was read",
        advice="write new data under another key or prefix, or start the job once it is all there",
    )
