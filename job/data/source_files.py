"""The files behind a source that may be one file, a folder or a prefix: local ones in place, objects fetched."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from job.data.pins import ObjectPins
from job.disk import require_space
from job.errors import DataError, ObjectNotFoundError
from job.logs import get_logger
from job.redaction import redact_text
from job.resolve.locations import folder_store, local_path
from job.store import ListedObject, ObjectStore, open_store, split_object_url

# Markers that writers of many parts leave beside them: `_SUCCESS`, `.crc`.
_MARKERS = ("_", ".")
# Each waits for the network nearly all the time; botocore keeps ten connections open.
_FETCHERS = 10
# A key's last part may be too long for a file's name with something before it; how it ends tells its format.
_LONGEST_NAME = 100
# Of more local files only the whole is noted: their content is known by the data's fingerprint.
_NOTED_FILES = 1000


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        path: where it can be read.
        shown: how messages name it, without credentials.
        relative: its key within the folder or prefix; its own name where it is the whole source.
        is_copy: whether it may be deleted once it is read: objects are copied, local files are the user's.
    """

    path: Path
    shown: str
    relative: str
    is_copy: bool

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders on the way, and the file's name."""
        return PurePosixPath(self.relative).parts

    @property
    def suffix(self) -> str:
        """How its name ends, in small letters, such as `.png`."""
        return PurePosixPath(self.relative).suffix.lower()


def source_files(
    location: str, *, field: str, suffixes: Sequence[str], folder: Path, pins: ObjectPins
) -> tuple[SourceFile, ...]:
    """Every file of a source, sorted by key, objects copied into `folder`.

    A run that goes on reads the objects that it first started with; what has come under a prefix since is not read.

    Args:
        location: a path, URL, folder or prefix.
        field: of the spec's `data` section; of several files each is pinned as `<field>/<relative key>`.
        suffixes: in small letters; of a folder's files, those that end so, or all where none is given. One file may be
            called anything.
        folder: exists.
        pins: which versions to read; told of what is read.

    Raises:
        DataError: there is no such file, or none in the folder.
        AccessError, StoreError: the object store refuses or fails, or there is too little room on the disk.
    """
    shown = redact_text(location)
    try:
        several = folder_store(location)
        place = local_path(location)
    except ValueError as error:
        raise DataError(f"{shown}: {redact_text(str(error))}") from error
    if several is None:
        return (_one_file(location, place, field, folder, pins),)
    if place is not None:
        files = _local_files(place, shown, field, suffixes, pins)
    else:
        files = _objects(several, shown, field, suffixes, folder, pins)
    if not files:
        expected = f" that ends in {' or '.join(suffixes)}" if suffixes else ""
        raise DataError(f"{shown}: there is no file{expected} in this folder or under this prefix")
    return files


@contextmanager
def copies_in(folder: Path, field: str) -> Iterator[Path]:
    """A folder for the copies of a source's objects, deleted with them at the end."""
    copies = folder / f"{field}-files"
    copies.mkdir(parents=True, exist_ok=True)
    try:
        yield copies
    finally:
        shutil.rmtree(copies, ignore_errors=True)


def _one_file(location: str, place: Path | None, field: str, folder: Path, pins: ObjectPins) -> SourceFile:
    shown = redact_text(location)
    if place is None:
        store_url, key = split_object_url(location)
        copy = folder / f"{field}-{PurePosixPath(key).name[-_LONGEST_NAME:]}"
        try:
            pins.fetch(field, shown, open_store(store_url), key, copy)
        except ObjectNotFoundError as error:
            raise DataError(f"{shown}: there is no such object") from error
        return SourceFile(copy, shown, PurePosixPath(key).name, is_copy=True)
    if not place.is_file():
        raise DataError(f"{shown}: there is no such file")
    pins.read_in_place(field, shown, place.stat().st_size)
    return SourceFile(place, shown, place.name, is_copy=False)


def _local_files(
    place: Path, shown: str, field: str, suffixes: Sequence[str], pins: ObjectPins
) -> tuple[SourceFile, ...]:
    keys = [path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()]
    files = tuple(
        SourceFile(place / key, f"{shown.rstrip('/')}/{key}", key, is_copy=False)
        for key in sorted(_chosen(keys, suffixes))
    )
    sizes = [file.path.stat().st_size for file in files]
    if len(files) > _NOTED_FILES:
        pins.read_in_place(field, shown, sum(sizes))
    else:
        for file, size in zip(files, sizes, strict=True):
            pins.read_in_place(f"{field}/{file.relative}", file.shown, size)
    return files


def _objects(  # noqa: PLR0913, PLR0917 - `source_files` without its first argument
    url: str, shown: str, field: str, suffixes: Sequence[str], folder: Path, pins: ObjectPins
) -> tuple[SourceFile, ...]:
    store = open_store(url)
    listing = {entry.key: entry for entry in store.list()}
    keys = sorted(_chosen(list(listing), suffixes))
    pinned = [name.removeprefix(f"{field}/") for name in pins.pinned_fields(f"{field}/")]
    if pinned:
        newer = sorted(set(keys) - set(pinned))
        if newer:
            get_logger().warning("objects newer than the run are not read", location=shown, keys=newer[:10])
        keys = pinned
    require_space(folder, sum(listing[key].size for key in keys if key in listing))
    files = [
        SourceFile(
            folder / f"{field}-{number:05d}-{PurePosixPath(key).name[-_LONGEST_NAME:]}",
            f"{shown.rstrip('/')}/{key}",
            key,
            is_copy=True,
        )
        for number, key in enumerate(keys)
    ]
    _fetch(files, field, (store, listing), pins)
    return tuple(files)


def _fetch(
    files: Sequence[SourceFile], field: str, listed: tuple[ObjectStore, Mapping[str, ListedObject]], pins: ObjectPins
) -> None:
    """Fetch several objects at a time; the first failure ends it."""
    store, listing = listed

    def fetch(file: SourceFile) -> None:
        try:
            pins.fetch(
                f"{field}/{file.relative}",
                file.shown,
                store,
                file.relative,
                file.path,
                listed=listing.get(file.relative),
            )
        except ObjectNotFoundError as error:
            raise DataError(f"{file.shown}: there is no such object any more") from error

    pool = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="fetch")
    try:
        for _ in pool.map(fetch, files):
            pass
    finally:
        # Thousands may wait: what failed once, or was interrupted, need not be tried with each of them.
        pool.shutdown(cancel_futures=True)


def _chosen(keys: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """The keys of data, without markers and what other programs keep in folders of their own."""
    return [
        key
        for key in keys
        if (not suffixes or key.lower().endswith(tuple(suffixes)))
        and not any(part.startswith(_MARKERS) for part in key.split("/"))
    ]
