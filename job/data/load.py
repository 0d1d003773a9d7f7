"""From the spec's `data` section to a `Dataset`: read, check, split, prepare."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import (
    AnyArray,
    Selection,
    SourceArray,
    chunks,
    fingerprint,
    write_array,
    write_selections,
)
from job.data.dataset import Dataset, Split
from job.data.folds import FoldFile, Folds, random_folds, stratified_folds, write_folds
from job.data.inputs import check_alike, check_inputs, check_lengths
from job.data.own import nested_dataset, own_parts, plain_sources, unused_fractions
from job.data.own_arrays import read_own_arrays
from job.data.pins import ObjectPins
from job.data.preparation import Origin, Preparation, layout_notes
from job.data.row_files import RowFiles
from job.data.source_rows import Sources
from job.data.sources import read_sources
from job.data.splits import Draw, UndrawableError, draw_random, draw_stratified
from job.data.standardisation import array_preparation
from job.data.targets import decide_task, encode_targets, scale_notes, with_scale
from job.disk import clear_disk_errors
from job.errors import DataError
from job.redaction import redact_text
from job.spec import DataSpec
from job.spec.file_checks import features_of, is_image
from job.spec.sections import DEFAULT_TEST_FRACTION, DEFAULT_VALIDATION_FRACTION
from job.spec.sources import source_kind
from job.target import Target, Task

_FOLDER = "data"
_BOTH = "train_and_validation"

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Rows of one split, or on the way to becoming some: where the inputs are, and the encoded targets."""

    x: Selection
    y: AnyArray


@dataclass(frozen=True, slots=True, eq=False)
class _Divided:
    """Checked sources, divided into splits."""

    train: _Part
    validation: _Part
    test: _Part
    target: Target
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """The splits in files of their own, as they are in the source."""

    train_and_validation: Split
    test: Split
    train_rows: int
    target: Target
    fingerprint: str
    notes: tuple[str, ...]


def load_dataset(  # noqa: PLR0913 - what a data set is made of, and for
    spec: DataSpec,
    *,
    seed: int,
    scratch: Path,
    pins: ObjectPins | None = None,
    own_model: bool = False,
    leaning: Task | None = None,
) -> Dataset:
    """Read, check, split and prepare the data.

    `test_fraction` is a share of the source's own rows (`x`, or `x_train`); `validation_fraction` is a share of what
    the test split leaves of them. Rows that a file, `validation_source` or `test_source` gives count for
    neither. With `folds` no validation rows are kept apart: those that a file gives are among the training rows.
    Equal spec, seed and data give equal splits, on every machine.

    Args:
        spec: the job spec's `data` section.
        seed: the job's; draws the splits.
        scratch: a local folder; files are written under `data/` in it and must outlive the result.
        pins: which versions of objects to read, and told of what is read; None reads the newest.
        own_model: whether a model of the user's own is to learn it: arrays then stay as they are in the source.
        leaning: what else in the job spec tells of the task; it decides of whole numbers, which may be either.

    Raises:
        DataError: the data cannot be used, or cannot be written to `scratch`; names the file and the array.
        AccessError, StoreError: the object store refuses or fails, or the data does not fit into `scratch`.
    """
    folder = scratch / _FOLDER
    with _clear_scratch_errors(folder), clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        kind, pins = source_kind(spec), pins or ObjectPins()
        if kind in {"csv", "parquet"}:
            # pyarrow takes a quarter of a second to import: only who uses it pays for it.
            from job.data.tables.loading import load_table  # noqa: PLC0415

            return load_table(spec, kind, seed=seed, folder=folder, pins=pins, own_model=own_model, leaning=leaning)
        origin = _origin(spec, own_model=own_model)
        if kind == "python":
            parts = read_own_arrays(spec, folder, pins)
            sources = None if own_model else plain_sources(parts, spec)
            notes = unused_fractions(parts, spec)
        else:
            sources = read_sources(spec, folder, pins)
            parts, notes = own_parts(sources), sources.notes
        if own_model or sources is None:
            return nested_dataset(
                parts, spec, seed=seed, folder=folder, origin=origin, own_model=own_model, leaning=leaning, notes=notes
            )
        raw = _read(spec, seed, folder, sources, leaning)
        rows = raw.train_and_validation.x
        preparation, reason = array_preparation(spec.rescale, rows[: raw.train_rows], origin)
        prepared_file, prepared = _prepare(folder, rows, preparation, spec)
    return Dataset(
        train_and_validation=raw.train_and_validation,
        test=raw.test,
        train_rows=raw.train_rows,
        prepared=prepared,
        files=RowFiles(
            x=prepared_file,
            y=_path(folder, "y", _BOTH),
            sample_weight=None,
            train_rows=raw.train_rows,
            folds=_write_folds(spec, raw, seed, folder),
        ),
        preparation=preparation,
        target=raw.target,
        fingerprint=raw.fingerprint,
        source=redact_text(spec.source),
        notes=(*raw.notes, reason, *layout_notes(rows.shape[1:])),
    )


def _origin(spec: DataSpec, *, own_model: bool) -> Origin:
    """What is known of inputs before they are looked at."""
    kind = source_kind(spec)
    is_image_record = kind == "tfrecord" and any(is_image(spec.record[name]) for name in features_of(spec))
    if kind in {"builtin", "images"} or is_image_record:
        return "images"
    return "own" if own_model or kind == "python" else "arrays"


def _read(spec: DataSpec, seed: int, folder: Path, sources: Sources, leaning: Task | None) -> _Raw:
    divided = _divide(sources, spec, seed, leaning)
    # Every split gets the dtype of the training rows, which is that of the model's input (see check_alike).
    dtype = sources.train.x.values.dtype
    raw = _Raw(
        train_and_validation=_write_split(folder, _BOTH, dtype, divided.train, divided.validation),
        test=_write_split(folder, "test", dtype, divided.test),
        train_rows=len(divided.train.y) + (len(divided.validation.y) if spec.folds else 0),
        target=divided.target,
        fingerprint=fingerprint((name, array.values) for name, array in sources.named_arrays()),
        notes=divided.notes,
    )
    # The splits hold every row: give the disk space back before the inputs are written once more, prepared.
    for _, array in sources.named_arrays():
        array.path.unlink()
    return raw


def _divide(sources: Sources, spec: DataSpec, seed: int, leaning: Task | None) -> _Divided:
    for given in (sources.train, sources.validation, sources.test):
        if given is not None:
            check_lengths(given.x, given.y)
            check_inputs(given.x)
            check_alike(sources.train.x, given.x)
    given_apart = [None if rows is None else rows.y for rows in (sources.validation, sources.test)]
    encoded = encode_targets(decide_task(sources.train.y, spec.task, leaning), sources.train.y, given_apart)
    stratified = _is_stratified(spec, encoded.target, sources.train.y)
    train = _Part(Selection(sources.train.x), encoded.train)
    validation_y, test_y = encoded.others
    if sources.test is not None and test_y is not None:
        test = _Part(Selection(sources.test.x), test_y)
    else:
        fraction = spec.test_fraction or DEFAULT_TEST_FRACTION
        train, test = _draw(train, "test", fraction, seed, stratified=stratified)
    if sources.validation is not None and validation_y is not None:
        validation = _Part(Selection(sources.validation.x), validation_y)
    elif spec.folds is not None:
        validation = _select(train, np.zeros(0, np.int64))
    else:
        fraction = spec.validation_fraction or DEFAULT_VALIDATION_FRACTION
        train, validation = _draw(train, "validation", fraction, seed, stratified=stratified)
    target = with_scale(encoded.target, train.y)
    parts = {"training": train, "validation": validation, "test": test}
    joined = spec.folds is not None and sources.validation is not None
    fold_notes = [f"data.folds {spec.folds} divides the validation rows as well, with the training rows"] * joined
    notes = (*sources.notes, *fold_notes, *encoded.notes, *scale_notes(target), *_notes_on_classes(target, parts))
    return _Divided(train, validation, test, target, notes)


def _is_stratified(spec: DataSpec, target: Target, y: SourceArray) -> bool:
    if spec.split == "stratified" and target.class_names is None:
        raise DataError(
            f"data.split: stratified needs classes, but {y} are the targets of a {target.task}",
            advice="Leave data.split out, or set it to random.",
        )
    return target.class_names is not None and spec.split != "random"


def _notes_on_classes(target: Target, parts: Mapping[str, _Part]) -> Iterator[str]:
    names = target.class_names or ()
    for split, part in parts.items():
        missing = len(names) - len(np.unique(part.y)) if names else 0
        # With folds there is no validation split.
        if missing and len(part.y):
            yield f"{missing} of {len(names)} classes have no row in the {split} split"


def _write_folds(spec: DataSpec, raw: _Raw, seed: int, folder: Path) -> FoldFile | None:
    """Divide all rows but the test split's for cross-validation, if it is asked for."""
    if spec.folds is None:
        return None
    codes, count = raw.train_and_validation.y, spec.folds

    def divide() -> Folds:
        if raw.target.class_names is not None and spec.split != "random":
            return stratified_folds(codes, count, seed=seed)
        return random_folds(len(codes), count, seed=seed)

    return write_folds(divide, count, redact_text(spec.source), folder)


def _draw(source: _Part, split: str, fraction: float, seed: int, *, stratified: bool) -> tuple[_Part, _Part]:
    """The rest, and the rows drawn for a split."""
    try:
        draw = _drawn(source.y, fraction, seed, split, stratified=stratified)
    except UndrawableError as error:
        raise DataError(
            f"{source.x.array}: no {split} split with data.{split}_fraction {fraction}: {error}",
            advice=f"Give more rows, another fraction, or the rows themselves with data.{split}_source.",
        ) from error
    return _select(source, draw.kept), _select(source, draw.drawn)


def _drawn(y: AnyArray, fraction: float, seed: int, purpose: str, *, stratified: bool) -> Draw:
    if stratified:
        return draw_stratified(y, fraction, seed=seed, purpose=purpose)
    return draw_random(len(y), fraction, seed=seed, purpose=purpose)


def _select(source: _Part, rows: Indices) -> _Part:
    chosen = rows if source.x.rows is None else source.x.rows[rows]
    return _Part(Selection(source.x.array, chosen), source.y[rows])


def _write_split(folder: Path, name: str, dtype: np.dtype[Any], *parts: _Part) -> Split:
    labels = np.concatenate([part.y for part in parts])
    return Split(
        x=write_selections(_path(folder, "x", name), dtype, *(part.x for part in parts)),
        y=write_array(_path(folder, "y", name), labels.dtype, labels.shape, [labels]),
    )


def _prepare(folder: Path, raw: AnyArray, preparation: Preparation, spec: DataSpec) -> tuple[Path, NDArray[np.float32]]:
    if preparation.is_identity:
        return _path(folder, "x", _BOTH), raw
    path = _path(folder, "prepared", _BOTH)
    pieces = (_prepared(piece, preparation, spec) for piece in chunks(raw))
    return path, write_array(path, np.dtype(np.float32), raw.shape, pieces)


def _prepared(piece: AnyArray, preparation: Preparation, spec: DataSpec) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        rows: NDArray[np.float32] = preparation.prepare(piece)
    if not np.isfinite(rows).all():
        raise DataError(f"data.rescale {spec.rescale} makes inputs too large for float32")
    return rows


def _path(folder: Path, content: str, split: str) -> Path:
    return folder / f"{content}_{split}.npy"


@contextmanager
def _clear_scratch_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: the data cannot be written to scratch space: {error.strerror or error}",
            advice="Arrays are kept there: set JOB_SCRATCH to a folder that the job may write to.",
        ) from error
