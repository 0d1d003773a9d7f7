"""The files of a source: one file, or all of a folder or prefix, each where it can be opened."""

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from job.data.pins import ObjectPins
from job.disk import require_space
from job.errors import DataError, ObjectNotFoundError
from job.logs import get_logger
from job.resolve.locations import folder_store
from job.spec.redaction import redact_text
from job.store import ObjectStore, open_store, split_object_url
from job.store.urls import LocalLocation, parse_store_url

# Each waits for the network nearly all the time; as many connections as botocore keeps open and some more would queue.
_FETCHERS = 10
# Folders of one of these names are splits, where the top of a folder has no others.
_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        name: what messages call it.
        key: its name relative to the folder, with `/` between; of a single file its name alone.
        path: where it can be opened.
    """

    name: str
    key: str
    path: Path

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders on the way, and the file's name."""
        return PurePosixPath(self.key).parts

    @property
    def suffix(self) -> str:
        """How its name ends, in small letters, such as `.png`."""
        return PurePosixPath(self.key).suffix.lower()


@contextmanager
def open_files(location: str, field: str, folder: Path, pins: ObjectPins) -> Iterator[tuple[SourceFile, ...]]:
    """The files of a source, sorted by key; hidden ones (`.name`, `_name`) are left out.

    Objects are copied, several at a time, and deleted at the end; local files are read where they are. Of a run that
    goes on, those are read that it started with, and their versions where the bucket keeps versions.

    Args:
        location: a file, a folder, an object's URL, or a prefix's.
        field: of the spec's `data` section.
        folder: for copies.
        pins: which versions to read; told of what is read, as `field`, or `field/key` for each object of a prefix.

    Raises:
        DataError: there is nothing there.
        AccessError, StoreError: the object store refuses or fails, or the copies do not fit.
    """
    shown = redact_text(location)
    copies = folder / f"{field}-files"
    try:
        files = _files(location, shown, field, copies, pins)
        if not files:
            raise DataError(f"{shown}: there are no files")
        yield files
    finally:
        shutil.rmtree(copies, ignore_errors=True)


def split_of(files: Sequence[SourceFile]) -> dict[str, tuple[SourceFile, ...]] | None:
    """The files by split, their keys without the split's folder; None where the folders at the top are no splits.

    They are where every file lies in a folder that is called like one, `train` among them.
    """
    by_split: dict[str, list[SourceFile]] = {}
    for file in files:
        first, *rest = file.parts
        split = _SPLITS.get(first.lower())
        if split is None or not rest:
            return None
        by_split.setdefault(split, []).append(SourceFile(file.name, "/".join(rest), file.path))
    return {split: tuple(found) for split, found in by_split.items()} if "train" in by_split else None


def _files(location: str, shown: str, field: str, copies: Path, pins: ObjectPins) -> tuple[SourceFile, ...]:
    try:
        prefix = folder_store(location)
        if prefix is None:
            return (_single(location, shown, field, copies, pins),)
        place = parse_store_url(prefix)
        if isinstance(place, LocalLocation):
            files = tuple(_local_files(place.path, shown.rstrip("/")))
            pins.read_in_place(field, shown, sum(file.path.stat().st_size for file in files))
            return files
        return _fetched(open_store(prefix), shown.rstrip("/"), field, copies, pins)
    except ValueError as error:
        raise DataError(f"{shown}: {redact_text(str(error))}") from error


def _single(location: str, shown: str, field: str, copies: Path, pins: ObjectPins) -> SourceFile:
    store_url, key = split_object_url(location) if "://" in location else (location, "")
    place = parse_store_url(store_url)
    if isinstance(place, LocalLocation):
        path = place.path / key
        try:
            pins.read_in_place(field, shown, path.stat().st_size)
        except OSError as error:
            raise DataError(f"{shown}: cannot be read: {error.strerror or error}") from error
        return SourceFile(shown, path.name, path)
    copies.mkdir(parents=True, exist_ok=True)
    name = PurePosixPath(key).name
    try:
        pins.fetch(field, shown, open_store(store_url), key, copies / "0")
    except ObjectNotFoundError as error:
        raise DataError(f"{shown}: there is no such object") from error
    return SourceFile(shown, name, copies / "0")


def _local_files(root: Path, shown: str) -> Iterator[SourceFile]:
    found = []
    # Not the store's listing: names that can be no keys would be left out in silence.
    for holder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        found += [Path(holder) / name for name in names if not _is_hidden(name)]
    for path in sorted(found, key=lambda one: one.relative_to(root).as_posix()):
        key = path.relative_to(root).as_posix()
        yield SourceFile(f"{shown}/{key}", key, path)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _fetched(store: ObjectStore, shown: str, field: str, copies: Path, pins: ObjectPins) -> tuple[SourceFile, ...]:
    listed = {one.key: one.size for one in store.list() if not any(map(_is_hidden, one.key.split("/")))}
    pinned = pins.keys_below(field)
    keys = sorted(pinned or listed)
    if pinned and set(listed) - set(pinned):
        get_logger().warning(
            "objects that the run did not start with are not read", location=shown, objects=len(set(listed) - pinned)
        )
    copies.mkdir(parents=True, exist_ok=True)
    require_space(copies, sum(listed.get(key, 0) for key in keys))

    def fetch(number: int) -> SourceFile:
        key = keys[number]
        # By number: keys may be too long for a file's name.
        path = copies / str(number)
        pins.fetch(f"{field}/{key}", f"{shown}/{key}", store, key, path)
        return SourceFile(f"{shown}/{key}", key, path)

    with ThreadPoolExecutor(_FETCHERS, thread_name_prefix="fetch") as pool:
        try:
            return tuple(pool.map(fetch, range(len(keys))))
        except ObjectNotFoundError as error:
            raise DataError(f"{error.message}: it was there when the run started") from error
        except BaseException:
            # Thousands may wait: what failed once need not be tried with each of them.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
