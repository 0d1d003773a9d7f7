"""Files that appear whole or not at all, and hashes taken while bytes pass by."""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from job.store.keys import RESERVED_PREFIX
from job.store.protocol import StoredFile

COPY_BYTES = 1 << 20


class HashingReader:
    """A file that hashes what is read from it.

    It has no `seek` on purpose: whoever uploads from it must read every byte once and in order, so that
    the hash is that of what was sent, even if the file changes meanwhile.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        """Like a file's `read`."""
        data = self._source.read(size)
        self._hash.update(data)
        self._size += len(data)
        return data

    @property
    def stored(self) -> StoredFile:
        """Size and hash of everything read so far."""
        return StoredFile(self._size, self._hash.hexdigest())


class HashingWriter:
    """A file that hashes what is written to it; without `seek`, so that writing is in order."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        """Like a file's `write`."""
        self._hash.update(data)
        self._size += len(data)
        return self._target.write(data)

    @property
    def stored(self) -> StoredFile:
        """Size and hash of everything written so far."""
        return StoredFile(self._size, self._hash.hexdigest())


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file to be read from its start, as often as need be.

    Attributes:
        name: leads to what was opened, whatever stands at the file's path by now (on Linux).
        stored: its size and hash.
    """

    name: str
    stored: StoredFile


@contextmanager
def opened_file(path: Path) -> Iterator[OpenedFile]:
    """Open a file and hash it; a later replacement at its path changes nothing of what is read by `name`."""
    with path.open("rb") as file:
        stored = StoredFile(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())
        by_descriptor = f"/proc/self/fd/{file.fileno()}"
        yield OpenedFile(by_descriptor if Path(by_descriptor).exists() else str(path), stored)


@dataclass(frozen=True, slots=True)
class UnfinishedFile:
    """A temporary file beside the file that it will become."""

    path: Path
    file: BinaryIO

    def close(self, *, durable: bool) -> None:
        """Write everything out; `durable`: through to the disk."""
        self.file.flush()
        if durable:
            os.fsync(self.file.fileno())
        self.file.close()


@contextmanager
def unfinished_file(target: Path) -> Iterator[UnfinishedFile]:
    """A new file in the folder of `target`, which is removed at the end unless it was renamed.

    It is on the same file system as its target, so that renaming it is atomic; stores hide its name.
    A killed process leaves it behind.
    """
    path = target.with_name(f"{RESERVED_PREFIX}{secrets.token_hex(8)}.tmp")
    # Not tempfile, whose files only their owner may read: here the umask decides.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - Path.open takes no descriptor
            yield UnfinishedFile(path, file)
    finally:
        path.unlink(missing_ok=True)


def make_durable_folders(folder: Path) -> None:
    """Create a folder and those above it, so that they survive a power cut."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new_folder in reversed(missing):
        new_folder.mkdir(exist_ok=True)
        sync_folder(new_folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot sync a folder; they have no better to offer.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)
