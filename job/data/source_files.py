"""The files behind a source that may be one file, a folder or a prefix: local ones in place, objects fetched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from job.data.pins import ObjectPins
from job.errors import DataError, ObjectNotFoundError
from job.logs import get_logger
from job.resolve.locations import folder_store, local_path
from job.spec.redaction import redact_text
from job.store import open_store, split_object_url

# Markers that writers of many parts leave beside them: `_SUCCESS`, `.crc`.
_MARKERS = ("_", ".")


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


def source_files(
    location: str, *, field: str, suffixes: Sequence[str], folder: Path, pins: ObjectPins
) -> tuple[SourceFile, ...]:
    """Every file of a source, sorted by key, objects copied into `folder`.

    A run that goes on reads the objects that it first started with; what has come under a prefix since is not read.

    Args:
        location: a path, URL, folder or prefix.
        field: of the spec's `data` section; of several files each is pinned as `<field>/<relative key>`.
        suffixes: in small letters; of a folder's files, those that end so. One file may be called anything.
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
        expected = " or ".join(suffixes)
        raise DataError(f"{shown}: there is no file that ends in {expected} in this folder or under this prefix")
    return files


def _one_file(location: str, place: Path | None, field: str, folder: Path, pins: ObjectPins) -> SourceFile:
    shown = redact_text(location)
    if place is None:
        store_url, key = split_object_url(location)
        copy = folder / f"{field}-{PurePosixPath(key).name}"
        try:
            pins.fetch(field, shown, open_store(store_url), key, copy)
        except ObjectNotFoundError as error:
            raise DataError(f"{shown}: there is no such object") from error
        return SourceFile(copy, shown, key, is_copy=True)
    if not place.is_file():
        raise DataError(f"{shown}: there is no such file")
    pins.read_in_place(field, shown, place.stat().st_size)
    return SourceFile(place, shown, place.name, is_copy=False)


def _local_files(
    place: Path, shown: str, field: str, suffixes: Sequence[str], pins: ObjectPins
) -> tuple[SourceFile, ...]:
    keys = [path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()]
    files = []
    for key in sorted(_chosen(keys, suffixes)):
        file = SourceFile(place / key, f"{shown.rstrip('/')}/{key}", key, is_copy=False)
        pins.read_in_place(f"{field}/{key}", file.shown, file.path.stat().st_size)
        files.append(file)
    return tuple(files)


def _objects(  # noqa: PLR0913, PLR0917 - `source_files` without its first argument
    url: str, shown: str, field: str, suffixes: Sequence[str], folder: Path, pins: ObjectPins
) -> tuple[SourceFile, ...]:
    store = open_store(url)
    keys = sorted(_chosen([entry.key for entry in store.list()], suffixes))
    pinned = [name.removeprefix(f"{field}/") for name in pins.pinned_fields(f"{field}/")]
    if pinned:
        newer = sorted(set(keys) - set(pinned))
        if newer:
            get_logger().warning("objects newer than the run are not read", location=shown, keys=newer[:10])
        keys = pinned
    files = []
    for number, key in enumerate(keys):
        copy = folder / f"{field}-{number:05d}-{PurePosixPath(key).name}"
        location = f"{shown.rstrip('/')}/{key}"
        try:
            pins.fetch(f"{field}/{key}", location, store, key, copy)
        except ObjectNotFoundError as error:
            raise DataError(f"{location}: there is no such object any more") from error
        files.append(SourceFile(copy, location, key, is_copy=True))
    return tuple(files)


def _chosen(keys: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """The keys of data, without markers and what other programs keep in folders of their own."""
    return [
        key
        for key in keys
        if key.lower().endswith(tuple(suffixes)) and not any(part.startswith(_MARKERS) for part in key.split("/"))
    ]
