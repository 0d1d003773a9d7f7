"""From a spec that names a table to a `Dataset`: read, check, split and prepare, in bounded memory. Imports pyarrow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from job.data.arrays import AnyArray, fingerprint
from job.data.dataset import Dataset
from job.data.folds import FoldFile, write_folds
from job.data.pins import ObjectPins
from job.data.row_files import RowFiles
from job.data.source_files import SourceFile, source_files
from job.data.split_folders import files_of_splits
from job.data.tables.column_types import decide_columns
from job.data.tables.columns import Column, roles_of
from job.data.tables.dividing import DividedBy, divide, divide_in_folds, split_kind
from job.data.tables.fitting import fit_preparation
from job.data.tables.indexes import notes_on_counters, without_indexes
from job.data.tables.profile import profile_of
from job.data.tables.raw import RawTable, write_raw
from job.data.tables.reading import CsvForm, TableFiles, TableKind
from job.data.tables.row_hashes import repeated
from job.data.tables.split_files import ChosenRows, SplitRows, count_missing, write_prepared, write_split_rows
from job.data.targets import EncodedTargets, class_values, decide_task, encode_targets, scale_notes, with_scale
from job.disk import require_space
from job.errors import DataError
from job.redaction import redact_text
from job.spec import DataSpec
from job.spec.sections import ColumnSpec
from job.target import Target, Task

_SUFFIXES: Mapping[TableKind, tuple[str, ...]] = {"csv": (".csv", ".csv.gz"), "parquet": (".parquet",)}
_FLOAT_BYTES = 4
_BOTH = "train_and_validation"

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """The tables of a spec, as they are in their files, by field: `source`, `validation_source`, `test_source`.

    Attributes:
        kept: the rows that are used of each: without duplicates where those are dropped.
        duplicates: rows that are the same as one before them.
    """

    tables: Mapping[str, RawTable]
    kept: Mapping[str, Indices]
    duplicates: int
    notes: tuple[str, ...]

    @property
    def source(self) -> RawTable:
        return self.tables["source"]

    def fingerprint(self) -> str:
        """Of all rows, whatever files they came in."""
        return fingerprint(
            (f"{field} {name}", values) for field, table in self.tables.items() for name, values in table.named_arrays()
        )

    def remove(self) -> None:
        """Give the disk space back."""
        for table in self.tables.values():
            for path in table.paths:
                path.unlink()


def load_table(  # noqa: PLR0913 - what a data set is made of
    spec: DataSpec,
    kind: TableKind,
    *,
    seed: int,
    folder: Path,
    pins: ObjectPins,
    own_model: bool = False,
    leaning: Task | None = None,
) -> Dataset:
    """Read, check, split and prepare a table; see `job.data.load_dataset`.

    Args:
        spec: the `data` section, with a target.
        kind: of all files.
        seed: the job's.
        folder: exists; files are written to it.
        pins: which versions of objects to read; told of what is read.
        own_model: whether a model of the user's own is to learn it: labels that are numbers then stay what they are.
        leaning: see `decide_task`.

    Raises:
        DataError: the table cannot be used; names the file, the column and the row.
        AccessError, StoreError: the object store refuses or fails, or there is too little room on the disk.
        OSError: `folder` cannot be written.
    """
    read = _read(spec, kind, folder, pins)
    tables = read.tables
    extra = [tables.get(field) for field in ("validation_source", "test_source")]
    encoded = encode_targets(
        decide_task(read.source.target, spec.task, leaning),
        read.source.target,
        [None if table is None else table.target for table in extra],
    )
    chosen = _divide(spec, seed, read, encoded)
    target = with_scale(encoded.target, encoded.train[chosen["train"].rows])
    if own_model and target.class_names is not None:
        target, chosen = _with_numbers(target, chosen, read.source.target.values)
    both = write_split_rows(folder, _BOTH, [chosen["train"], chosen["validation"]])
    test = write_split_rows(folder, "test", [chosen["test"]])
    identity, columns, shown = read.fingerprint(), read.source.columns, read.source.shown
    folds = _write_folds(spec, seed, read, encoded, chosen["train"].rows, folder)
    split = split_kind(spec, target, shown)
    # The splits hold every row: give the disk space back before the rows are written once more, prepared.
    read.remove()
    train_rows = len(chosen["train"].rows)
    missing = _missing(spec, columns, both, test, shown)
    preparation, fitting_notes = fit_preparation(spec, columns, both.part(slice(train_rows)))
    require_space(folder, both.features.rows * preparation.width * _FLOAT_BYTES)
    prepared_file = folder / f"prepared_{_BOTH}.npy"
    prepared = write_prepared(prepared_file, both.features, preparation)
    classes = {"training": both.y[:train_rows], "validation": both.y[train_rows:], "test": test.y}
    return Dataset(
        train_and_validation=both.split(preparation),
        test=test.split(preparation),
        train_rows=train_rows,
        prepared=prepared,
        files=RowFiles(
            x=prepared_file,
            y=folder / f"y_{_BOTH}.npy",
            sample_weight=None if both.weight is None else folder / f"weight_{_BOTH}.npy",
            train_rows=train_rows,
            folds=folds,
        ),
        preparation=preparation,
        target=target,
        fingerprint=identity,
        source=redact_text(spec.source),
        notes=(
            *read.notes,
            *encoded.notes,
            *scale_notes(target),
            *_notes_on_classes(target, classes),
            *_notes_on_duplicates(spec, read.duplicates),
            *fitting_notes,
        ),
        source_profile=profile_of(
            columns,
            preparation,
            missing=missing,
            duplicates=read.duplicates,
            dropped=spec.drop_duplicates,
            split=split,
        ),
    )


def _read(spec: DataSpec, kind: TableKind, folder: Path, pins: ObjectPins) -> _Read:
    tables: dict[str, RawTable] = {}
    notes: list[str] = []
    stated = dict(spec.columns)

    def files_of(location: str, field: str) -> tuple[SourceFile, ...]:
        return source_files(location, field=field, suffixes=_SUFFIXES[kind], folder=folder, pins=pins)

    splits = files_of_splits(spec, files_of, lambda _: True, notes)
    for split, field in (("train", "source"), ("validation", "validation_source"), ("test", "test_source")):
        if split not in splits:
            continue
        tables[field], columns, found = _read_one(spec, kind, field, splits[split], stated, folder)
        if field == "source":
            # The columns that are left out of the source are left out everywhere.
            spec = spec.model_copy(update={"features": tuple(column.name for column in tables[field].columns)})
            notes += [*found, *(column.note for column in columns if column.note is not None)]
            # What the source's columns are, those of the other tables must be.
            stated = {
                column.name: ColumnSpec(type=column.type, date_format=column.form.date_format) for column in columns
            }
    pa.default_memory_pool().release_unused()
    # The first of equal rows is kept; those given apart come before the source's, so that none is trained on, too.
    order = sorted(tables, key=("test_source", "validation_source", "source").index)
    same = dict(zip(order, repeated([tables[field].hashes for field in order]), strict=True))
    kept = {
        field: np.flatnonzero(~same[field]) if spec.drop_duplicates else np.arange(table.rows)
        for field, table in tables.items()
    }
    for field, rows in kept.items():
        if not len(rows):
            raise DataError(f"{tables[field].shown}: no row of data.{field} is left without duplicates")
    return _Read(tables, kept, sum(int(found.sum()) for found in same.values()), tuple(notes))


def _read_one(  # noqa: PLR0913, PLR0917 - what a table is, and where it goes
    spec: DataSpec,
    kind: TableKind,
    field: str,
    files: tuple[SourceFile, ...],
    stated: Mapping[str, ColumnSpec],
    folder: Path,
) -> tuple[RawTable, tuple[Column, ...], tuple[str, ...]]:
    table = TableFiles(files, kind, CsvForm(spec.delimiter, spec.text_encoding))
    roles, notes = without_indexes(spec, table, roles_of(spec, table.header, table.shown))
    texts = frozenset(spec.missing_values)
    columns, rows = decide_columns(table, roles.all, spec, stated)
    raw = write_raw(table, columns, roles, rows=rows, missing=texts, folder=folder, field=field)
    for file in files:
        if file.is_copy:
            file.path.unlink()
    return raw, columns, (*notes, *notes_on_counters(raw))


def _divide(spec: DataSpec, seed: int, read: _Read, encoded: EncodedTargets) -> dict[str, ChosenRows]:
    """The rows of each split."""
    source = read.source
    divided = divide(
        spec,
        seed,
        read.kept["source"],
        _divided_by(read, encoded),
        validation_given="validation_source" in read.tables,
        test_given="test_source" in read.tables,
        shown=source.shown,
    )
    chosen = {"train": ChosenRows(source, encoded.train, divided.train)}
    for split, rows, y in zip(("validation", "test"), (divided.validation, divided.test), encoded.others, strict=True):
        field = f"{split}_source"
        if rows is not None:
            chosen[split] = ChosenRows(source, encoded.train, rows)
        elif y is not None:
            chosen[split] = ChosenRows(read.tables[field], y, read.kept[field])
    return chosen


def _with_numbers(
    target: Target, chosen: dict[str, ChosenRows], source: AnyArray
) -> tuple[Target, dict[str, ChosenRows]]:
    """Classes as they are in the source's column, where they are numbers."""
    if source.dtype.kind not in "iuf":
        return target, chosen
    values = np.unique(source)
    given = values.astype(np.float32) if values.dtype.kind == "f" else values
    target = replace(target, class_values=class_values(values))
    return target, {name: replace(rows, y=given[rows.y]) for name, rows in chosen.items()}


def _divided_by(read: _Read, encoded: EncodedTargets) -> DividedBy:
    return DividedBy(encoded.target, encoded.train, read.source.group, read.source.time)


def _write_folds(  # noqa: PLR0913, PLR0917 - what folds are divided by, and where they go
    spec: DataSpec, seed: int, read: _Read, encoded: EncodedTargets, rows: Indices, folder: Path
) -> FoldFile | None:
    count = spec.folds
    if count is None:
        return None
    by, shown = _divided_by(read, encoded), read.source.shown
    kind = split_kind(spec, by.target, shown)
    return write_folds(lambda: divide_in_folds(kind, count, seed, rows, by), count, shown, folder)


def _missing(
    spec: DataSpec, columns: tuple[Column, ...], both: SplitRows, test: SplitRows, shown: str
) -> dict[str, int]:
    """How many values of each column are missing; DataError where none may be."""
    numeric = [column.name for column in columns if column.name not in both.features.strings]
    counts = [count_missing(split.features, numeric) for split in (both, test)]
    missing = {column.name: sum(count[column.name] for count in counts) for column in columns}
    found = [f"{name!r} ({count})" for name, count in missing.items() if count]
    if found and spec.missing == "reject":
        raise DataError(
            f"{shown}: data.missing is reject, and values are missing in columns {', '.join(found)}",
            advice="data.missing: impute replaces them.",
        )
    return missing


def _notes_on_classes(target: Target, ys: Mapping[str, NDArray[np.generic]]) -> Iterator[str]:
    names = target.class_names or ()
    for split, y in ys.items():
        missing = len(names) - len(np.unique(y)) if names else 0
        # With folds there is no validation split.
        if missing and len(y):
            yield f"{missing} of {len(names)} classes have no row in the {split} split"


def _notes_on_duplicates(spec: DataSpec, duplicates: int) -> Iterator[str]:
    if duplicates and not spec.drop_duplicates:
        yield (
            f"{duplicates} rows are the same as another one in all features and the target, and may be in another "
            "split than that: data.drop_duplicates keeps the first"
        )
