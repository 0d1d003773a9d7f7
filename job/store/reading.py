"""What decorators of stores have in common: they change how objects are written, and read as the store does."""

from collections.abc import Iterator
from pathlib import Path

from job.store.protocol import ListedObject, ObjectInfo, ObjectStore, StoredFile, StoredObject


class ReadsThrough:
    """The reading half of an ObjectStore over another one.

    Args:
        store: where the objects are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """See ObjectStore."""
        return self._store.url

    def get(self, key: str) -> StoredObject:
        """See ObjectStore."""
        return self._store.get(key)

    def get_file(self, key: str, path: Path, *, version: str | None = None) -> StoredFile:
        """See ObjectStore."""
        return self._store.get_file(key, path, version=version)

    def stat(self, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        return self._store.stat(key)

    def list(self, prefix: str = "") -> Iterator[ListedObject]:
        """See ObjectStore."""
        return self._store.list(prefix)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        return self._store.list_folders(prefix)
