"""Objects as files under a directory.

Every write goes to a temporary file beside its target, is synced to disk and renamed; readers see the old
object or the new one. All writers of a directory take an flock on one lock file for the moment of the
rename, which makes check-and-rename atomic against each other, between threads and processes, and between
machines where the file system shares its locks (NFS 4 does).
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from job.errors import AccessError, JobError, ObjectNotFoundError, PreconditionFailedError, StoreError
from job.file_lock import lock_within, unlock
from job.store.files import (
    COPY_BYTES,
    HashingReader,
    UnfinishedFile,
    make_durable_folders,
    sync_folder,
    unfinished_file,
)
from job.store.keys import RESERVED_PREFIX, check_folder, check_key, check_prefix, is_key
from job.store.protocol import ListedObject, ObjectInfo, StoredFile, StoredObject

_LOCK_NAME = f"{RESERVED_PREFIX}lock"
_LOCK_SECONDS = 30.0

# What opening a path raises where no object has this key: nothing there, a file above it, or a folder.
_NO_OBJECT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore:
    """An ObjectStore in a directory, which the first write creates.

    An object's etag is the SHA-256 of its content: it holds on every file system, where inode numbers and
    times do not, and costs `stat` a read of the file.

    Args:
        root: an absolute path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def url(self) -> str:
        """The directory's absolute path."""
        return str(self._root)

    def get(self, key: str) -> StoredObject:
        """See ObjectStore."""
        path = self._path(key)
        with self._clear_errors("read", path):
            try:
                data = path.read_bytes()
            except _NO_OBJECT as error:
                raise self._not_found(path) from error
        return StoredObject(data, _etag(data))

    def get_file(self, key: str, path: Path, *, version: str | None = None) -> StoredFile:  # noqa: ARG002 - none here
        """See ObjectStore. There are no versions."""
        source_path = self._path(key)
        with self._clear_errors("read", source_path):
            try:
                source = source_path.open("rb")
            except _NO_OBJECT as error:
                raise self._not_found(source_path) from error
        with source, unfinished_file(path) as unfinished:
            reader = HashingReader(source)
            with self._clear_errors(f"copy {source_path} to", path):
                shutil.copyfileobj(reader, unfinished.file, COPY_BYTES)
                unfinished.close(durable=False)
                unfinished.path.replace(path)
        return reader.stored

    def stat(self, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        path = self._path(key)
        with self._clear_errors("read", path):
            try:
                with path.open("rb") as file:
                    etag = hashlib.file_digest(file, "sha256").hexdigest()
                    return ObjectInfo(key, file.tell(), etag, _modified(os.fstat(file.fileno())))
            except _NO_OBJECT:
                self._refuse_a_file_as_root()
                return None

    def put(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        path = self._path(key)
        with self._new_object(path, data) as finished, self._lock():
            finished.replace(path)

    def put_file(self, key: str, path: Path) -> StoredFile:
        """See ObjectStore."""
        target = self._path(key)
        with path.open("rb") as source:
            reader = HashingReader(source)
            with self._new_object(target, reader) as finished, self._lock():
                finished.replace(target)
        return reader.stored

    def put_file_if(self, key: str, path: Path, etag: str | None) -> StoredFile:
        """See ObjectStore."""
        with path.open("rb") as source:
            reader = HashingReader(source)
            self._put_if(key, reader, etag)
        return reader.stored

    def put_if_absent(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        self._put_if(key, data, None)

    def replace_if_match(self, key: str, data: bytes, etag: str) -> None:
        """See ObjectStore."""
        self._put_if(key, data, etag)

    def _put_if(self, key: str, content: bytes | HashingReader, etag: str | None) -> None:
        path = self._path(key)
        if etag is not None and self.stat(key) is None:  # spares making folders for an object that is not there
            raise PreconditionFailedError(f"{path} does not exist any more")
        with self._new_object(path, content) as finished, self._lock():
            # A folder of this name is not an object; renaming onto it fails by itself. A link that leads
            # nowhere counts as an object, for it is not ours to replace.
            if etag is None and (path.is_file() or path.is_symlink()):
                raise PreconditionFailedError(f"{path} exists already")
            current = None if etag is None else self.stat(key)
            if etag is not None and (current is None or current.etag != etag):
                raise PreconditionFailedError(f"{path} has changed since it was read")
            finished.replace(path)

    def list(self, prefix: str = "") -> Iterator[ListedObject]:
        """See ObjectStore. Links to folders are followed."""
        check_prefix(prefix)
        with self._clear_errors("list", self._root):
            self._refuse_a_file_as_root()
            found = list(self._walk(self._root, "", prefix, frozenset()))
        return iter(sorted(found, key=lambda entry: entry.key))

    def list_folders(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        folder = self._root / check_folder(prefix)
        with self._clear_errors("list", folder):
            self._refuse_a_file_as_root()
            try:
                found = [entry.name for entry in os.scandir(folder) if is_key(entry.name) and entry.is_dir()]
            except (FileNotFoundError, NotADirectoryError):
                return iter(())
        return iter(sorted(found))

    def delete(self, key: str) -> None:
        """See ObjectStore. Folders that become empty stay."""
        path = self._path(key)
        with self._clear_errors("delete", path):
            self._refuse_a_file_as_root()
            if not path.is_file() and not path.is_symlink():
                return
            with self._lock():
                path.unlink(missing_ok=True)
            sync_folder(path.parent)

    def remove_remains(self, folder: str) -> None:
        """Remove what is left of a folder whose objects were deleted: empty folders, and what killed writers left.

        A folder that holds anything else stays, and one that does not exist is no error.

        Args:
            folder: its key, without a slash at its end.
        """
        path = self._path(folder)
        with self._clear_errors("delete", path):
            for inner, _, names in os.walk(path, topdown=False):
                for name in names:
                    if name.startswith(RESERVED_PREFIX) and name != _LOCK_NAME:
                        (Path(inner) / name).unlink(missing_ok=True)
                try:
                    Path(inner).rmdir()
                except OSError as error:
                    if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR}:
                        raise

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextmanager
    def _new_object(self, path: Path, content: bytes | HashingReader) -> Iterator[Path]:
        """Yield a complete, synced temporary file to rename to `path`; the rename is synced at the end."""
        with self._clear_errors("write", path):
            make_durable_folders(path.parent)
            with unfinished_file(path) as unfinished:
                _fill(unfinished, content)
                yield unfinished.path
            sync_folder(path.parent)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        path = self._root / _LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not lock_within(descriptor, _LOCK_SECONDS):
                # Everybody holds it for the moment of a rename: a stopped process, or a machine that is away.
                raise StoreError(f"{path} is held by another process for over {_LOCK_SECONDS:.0f} s")
            yield
        finally:
            unlock(descriptor)

    def _walk(
        self, folder: Path, folder_key: str, prefix: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[ListedObject]:
        """Every object under a folder; `above` names the folders we are in, as links may lead in circles."""
        try:
            status = folder.stat()
            entries = list(os.scandir(folder))
        except FileNotFoundError:  # the root before the first write, or removed meanwhile
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        for entry in entries:
            key = folder_key + entry.name
            if not is_key(key):
                continue
            if entry.is_dir():
                if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                    yield from self._walk(folder / entry.name, f"{key}/", prefix, above | {identity})
            elif key.startswith(prefix) and entry.is_file():
                try:
                    status = entry.stat()
                except FileNotFoundError:  # deleted meanwhile
                    continue
                yield ListedObject(key, status.st_size, _modified(status))

    def _not_found(self, path: Path) -> ObjectNotFoundError:
        self._refuse_a_file_as_root()
        return ObjectNotFoundError(f"{path} does not exist, or is a folder")

    def _refuse_a_file_as_root(self) -> None:
        refusal = self._root_refusal()
        if refusal is not None:
            raise refusal

    def _root_refusal(self) -> AccessError | None:
        file = next((path for path in (self._root, *self._root.parents) if path.is_file()), None)
        if file is None:
            return None
        return AccessError(f"the directory {self._root} cannot be: {file} is a file")

    @contextmanager
    def _clear_errors(self, action: str, path: Path) -> Iterator[None]:
        """Say what the operating system refused in the words of the user."""
        try:
            yield
        except OSError as error:
            raise self._explain(error, f"cannot {action} {path}") from error

    def _explain(self, error: OSError, failure: str) -> JobError:
        reason = error.strerror or type(error).__name__
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            return AccessError(f"{failure}: {reason}", advice="Check the owner and mode of the directory.")
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return StoreError(f"{failure}: no space is left on its disk ({reason})")
        if isinstance(error, FileExistsError | NotADirectoryError):
            return self._root_refusal() or StoreError(f"{failure}: a folder on its way is a file")
        if isinstance(error, IsADirectoryError):
            return AccessError(f"{failure}: it is a folder", advice="Move it away: an object has that name.")
        return StoreError(f"{failure}: {reason}")


def _modified(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _fill(unfinished: UnfinishedFile, content: bytes | HashingReader) -> None:
    if isinstance(content, bytes):
        unfinished.file.write(content)
    else:
        shutil.copyfileobj(content, unfinished.file, COPY_BYTES)
    unfinished.close(durable=True)
