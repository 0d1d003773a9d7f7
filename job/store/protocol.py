"""The contract that every object store keeps.

Rules that hold for every implementation, and that `tests/store` checks for each:

- A key is a relative, `/`-separated path without empty, `.` or `..` segments; anything else is a ValueError
  (`job.store.keys` has the whole rule). No key may be a folder of another (`a` and `a/b`): a directory
  cannot hold both, and refuses the second with a StoreError.
- An object is replaced whole or not at all: no reader ever sees a part of a write, whatever dies when.
- A write that has returned is durable: it survives the process and, on a local disk, a power cut.
- `put_if_absent` and `replace_if_match` are atomic against every other writer of the same key: of any
  number of racing callers exactly one succeeds, the others raise PreconditionFailedError. Where one raises
  StoreError (the server did not answer), whether it wrote is not known. Where an answer is lost on the way and another
  writer replaces the object before its author can look, a success is reported as a loss.
  Not every S3 server can do that; `job.store.conditions` finds out, and has what stands in for it.
- `etag` identifies an object's content for `replace_if_match` and nothing else; it is opaque. Taking it may
  cost reading the object, which is why `list` does not give it.
- After a write has returned, `get`, `stat` and `list` show it.
- Retries, timeouts and multipart uploads are the implementation's affair: what it raises is final.

A local file that a method is to read or write for the caller (`put_file`, `get_file`) and that does not
exist or cannot be opened is an OSError: it is not the store that failed.

Every method may raise AccessError (refused: credentials, permissions, missing bucket) or StoreError (failed
after all retries). Instances may be shared by threads; they are not to be pickled.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of an object without reading it.

    Attributes:
        modified: when it was written, by the store's clock.
        version: names this content for good, where the bucket keeps versions; None elsewhere.
    """

    key: str
    size: int
    etag: str
    modified: datetime = field(compare=False)
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """What a listing says of an object; `modified` as in ObjectInfo.

    Attributes:
        etag: of its content, mostly as in ObjectInfo; None where the listing has none.
    """

    key: str
    size: int
    modified: datetime = field(compare=False)
    etag: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A small object, read whole; `etag` and `version` as in ObjectInfo."""

    data: bytes
    etag: str
    version: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it was written to the store: its size in bytes and its hex SHA-256."""

    size: int
    sha256: str


class ObjectStore(Protocol):
    """Named objects under one root; see the module's text for the rules."""

    @property
    def url(self) -> str:
        """The root, as a person would type it, without a trailing slash."""
        ...

    def get(self, key: str) -> StoredObject:
        """Read an object whole. Raises ObjectNotFoundError where there is none."""
        ...

    def get_file(self, key: str, path: Path, *, version: str | None = None) -> StoredFile:
        """Stream an object into a new file at `path`, replacing what was there, in an existing folder.

        With `version` (see ObjectInfo) that version is read, whatever was written since; a store without versions
        ignores it. If it fails, what was there is left as it was. Raises ObjectNotFoundError where there is none.
        """
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """What is known of an object; None where there is none."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing what was there."""
        ...

    def put_file(self, key: str, path: Path) -> StoredFile:
        """Stream a file into an object, replacing what was there. What is sent is the file as it was opened."""
        ...

    def put_file_if(self, key: str, path: Path, etag: str | None) -> StoredFile:
        """Stream a file into an object only while that has this etag; with None only where there is none.

        Raises PreconditionFailedError otherwise; see `put_if_absent` and `replace_if_match`.
        """
        ...

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Write an object only where there is none; raises PreconditionFailedError otherwise."""
        ...

    def replace_if_match(self, key: str, data: bytes, etag: str) -> None:
        """Replace an object only while it has this etag; raises PreconditionFailedError otherwise.

        An object that no longer exists counts as changed.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[ListedObject]:
        """All objects whose key starts with `prefix` (a string, not a folder), as they are found: mostly by key.

        What is asked of the server is what is read of the iterator, and a page more.
        """
        ...

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly under `prefix` (empty, or with a `/` at its end) that keys go on below, sorted.

        It costs no more than there are names, whatever lies below them. A directory may name folders that hold nothing.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that does not exist is no error."""
        ...
