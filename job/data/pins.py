"""Which versions of the data's objects a run reads: those that it first started with, where they can still be had."""

from collections.abc import Mapping
from pathlib import Path

from job.disk import require_space
from job.errors import ObjectNotFoundError
from job.logs import get_logger
from job.records import SourceObject
from job.store import ObjectStore


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

    def fetch(self, field: str, location: str, store: ObjectStore, key: str, path: Path) -> None:
        """Copy an object to a local file: the pinned version, or the newest where none is pinned or it is gone.

        Args:
            field: of the spec's `data` section.
            location: what the spec calls the object, without credentials.
            store: holds the object, under `key`.
            key: see `store`.
            path: the file to write.

        Raises:
            ObjectNotFoundError: there is no such object.
            AccessError, StoreError: the store refuses or fails, or there is too little room on the disk.
        """
        if self._fetch_pinned(field, location, store, key, path):
            return
        known = store.stat(key)
        if known is None:
            raise ObjectNotFoundError(f"{location} does not exist")
        require_space(path.parent, known.size)
        # By its version, so that what is noted is what is read, whoever replaces the object meanwhile.
        fetched = store.get_file(key, path, version=known.version)
        self.read[field] = SourceObject(location=location, size=fetched.size, etag=known.etag, version=known.version)

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
