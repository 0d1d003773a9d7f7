"""Which arrays of which files are the training, validation and test rows."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from job.data.arrays import SourceArray
from job.data.builtin import choices, load_built_in
from job.data.images import read_images
from job.data.npz import NpzArchive
from job.data.pins import ObjectPins
from job.data.records import read_records
from job.data.source_rows import LabelledRows, Sources
from job.disk import require_space
from job.errors import DataError, ObjectNotFoundError
from job.redaction import redact_text
from job.spec import DataSpec
from job.spec.datasets import DATASETS
from job.spec.sources import SourceKind, source_kind
from job.store import open_store, split_object_url

_TRAIN = (("x_train", "y_train"), ("x", "y"))
_VALIDATION = (("x_validation", "y_validation"), ("x_val", "y_val"))
_TEST = (("x_test", "y_test"),)
_PLAIN = (("x", "y"),)
_KNOWN = frozenset(name for pairs in (_TRAIN, _VALIDATION, _TEST) for pair in pairs for name in pair)
# Arrays are extracted, then divided into splits; only then is the first copy deleted.
_COPIES = 2
_EXPECTED = (
    "x and y, or x_train and y_train, each with x_test and y_test, x_validation and y_validation where there "
    "are such rows"
)
# What is no file of arrays has a reader of its own.
_READERS: dict[SourceKind, Callable[[DataSpec, Path, ObjectPins], Sources]] = {
    "images": read_images,
    "tfrecord": read_records,
}


class _Archive(Protocol):
    file: str

    @property
    def names(self) -> tuple[str, ...]: ...

    def extract(self, name: str, path: Path) -> SourceArray: ...


def read_sources(spec: DataSpec, folder: Path, pins: ObjectPins) -> Sources:
    """Read the arrays that the spec names into memory-mapped files in `folder`.

    Args:
        spec: what to read.
        folder: where to.
        pins: which versions to read; told of what is read.

    Raises:
        DataError: a file or array is missing, cannot be used, or belongs to no split.
        AccessError, StoreError: the object store refuses or fails, or there is too little room on the disk.
        OSError: `folder` cannot be written.
    """
    read = _READERS.get(source_kind(spec) or "npz")
    if read is not None:
        return read(spec, folder, pins)
    notes: list[str] = []
    with _open_source(spec.source, folder, pins) as archive:
        _check_names(archive)
        train = _read_pair(archive, _TRAIN, folder, "source")
        if train is None:
            raise _incomplete(archive, "no training rows")
        validation_given, test_given = spec.validation_source is not None, spec.test_source is not None
        validation = None if validation_given else _read_pair(archive, _VALIDATION, folder, "source")
        test = None if test_given else _read_pair(archive, _TEST, folder, "source")
        notes += _unused(archive, "data.validation_source", _VALIDATION if validation_given else ())
        notes += _unused(archive, "data.test_source", _TEST if test_given else ())
    if spec.validation_source is not None:
        validation = _read_extra(spec.validation_source, (*_VALIDATION, *_PLAIN), folder, "validation_source", pins)
    if spec.test_source is not None:
        test = _read_extra(spec.test_source, (*_TEST, *_PLAIN), folder, "test_source", pins)
    for name, fraction, rows in (
        ("validation_fraction", spec.validation_fraction, validation),
        ("test_fraction", spec.test_fraction, test),
    ):
        if fraction is not None and rows is not None:
            notes.append(f"data.{name} {fraction} is not used: {rows.x} gives these rows")
    return Sources(train, validation, test, tuple(notes))


@contextmanager
def _open_source(source: str, folder: Path, pins: ObjectPins) -> Iterator[_Archive]:
    built_in = load_built_in(source)
    if built_in is not None:
        yield built_in
    else:
        with _open_npz(source, folder, "source", pins) as archive:
            yield archive


@contextmanager
def _open_npz(source: str, folder: Path, field: str, pins: ObjectPins) -> Iterator[NpzArchive]:
    shown = redact_text(source)
    if "://" not in source:
        with _open_path(source, shown) as archive:
            pins.read_in_place(field, shown, archive.size)
            require_space(folder, _COPIES * archive.extracted_size)
            yield archive
        return
    try:
        store_url, key = split_object_url(source)
        store = open_store(store_url)
    except ValueError as error:
        raise DataError(f"{shown}: {redact_text(str(error))}") from error
    copy = folder / "download.npz"
    try:
        try:
            pins.fetch(field, shown, store, key, copy)
        except ObjectNotFoundError as error:
            raise DataError(f"{shown}: there is no such object") from error
        with NpzArchive(copy, shown) as archive:
            require_space(folder, _COPIES * archive.extracted_size)
            yield archive
    finally:
        copy.unlink(missing_ok=True)


def _open_path(source: str, shown: str) -> NpzArchive:
    try:
        return NpzArchive(Path(source).expanduser(), shown)
    except FileNotFoundError as error:
        raise DataError(f"{shown}: there is no such file", advice=_advice_for(source)) from error
    except RuntimeError as error:  # `~` of an unknown user, or no home folder
        raise DataError(f"{shown}: {error}") from error


def _advice_for(source: str) -> str:
    close = difflib.get_close_matches(source, DATASETS, n=1)
    return f"Did you mean {close[0]!r}? {choices()}" if close else choices()


def _read_extra(
    source: str, pairs: Sequence[tuple[str, str]], folder: Path, field: str, pins: ObjectPins
) -> LabelledRows:
    with _open_npz(source, folder, field, pins) as archive:
        rows = _read_pair(archive, pairs, folder, field)
        if rows is None:
            expected = " or ".join(f"{x} and {y}" for x, y in pairs)
            raise DataError(f"{archive.file}: {expected} are expected, found {_listed(archive.names)}")
        return rows


def _read_pair(archive: _Archive, pairs: Sequence[tuple[str, str]], folder: Path, field: str) -> LabelledRows | None:
    """The first pair that is there, extracted; None where there is none. `field` keeps the files apart."""
    for x, y in pairs:
        present = [name for name in (x, y) if name in archive.names]
        if len(present) == 1:
            raise _incomplete(archive, f"{present[0]} has no {y if present[0] == x else x}")
        if present:
            return LabelledRows(
                archive.extract(x, folder / f"{field}-{x}.npy"), archive.extract(y, folder / f"{field}-{y}.npy")
            )
    return None


def _check_names(archive: _Archive) -> None:
    unknown = [name for name in archive.names if name not in _KNOWN]
    if unknown:
        # A misspelt x_test that is ignored would be tested on other rows than those meant.
        raise _incomplete(archive, f"{_listed(unknown)} belongs to no split")
    for pairs in (_TRAIN, _VALIDATION):
        found = [x for x, y in pairs if x in archive.names or y in archive.names]
        if len(found) > 1:
            raise _incomplete(archive, f"{' and '.join(found)} are the same rows twice")


def _incomplete(archive: _Archive, problem: str) -> DataError:
    return DataError(
        f"{archive.file}: {problem}; found {_listed(archive.names)}; expected {_EXPECTED}",
        advice="numpy.savez_compressed(path, x=…, y=…) writes such a file.",
    )


def _unused(archive: _Archive, field: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [
        f"{name} of {archive.file} is not used: {field} takes its place"
        for pair in pairs
        for name in pair
        if name in archive.names
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no arrays"
