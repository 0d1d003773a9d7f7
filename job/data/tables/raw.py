"""A table as files of typed columns, in the order of its rows: the numbers side by side, each column of strings alone.

Imports pyarrow.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, ArrayFile, SourceArray, map_array
from job.data.tables.columns import NUMERIC, Column, Roles
from job.data.tables.reading import Batch, TableFiles
from job.data.tables.row_hashes import hash_rows
from job.data.tables.values import UnreadableValueError, numbers_of, strings_of
from job.disk import require_space
from job.errors import DataError

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LISTED_ROWS = 10
# Rows are written as they come, then once more divided into splits; only then is the first copy deleted.
_COPIES = 2


@dataclass(frozen=True, slots=True, eq=False)
class TableRows:
    """Columns of some rows, memory-mapped read-only.

    Attributes:
        numbers: shape (rows, columns of numbers), float32, NaN where a value is missing.
        strings: by column, shape (rows,), '' where a value is missing.
    """

    numbers: NDArray[np.float32]
    strings: Mapping[str, AnyArray]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers)


@dataclass(frozen=True, slots=True, eq=False)
class RawTable:
    """A table, read.

    Attributes:
        columns: the features: those of numbers in the order of `features.numbers`, then those of strings.
        target: what is to be predicted, as it is in the source.
        weight: shape (rows,), float64; None where rows count alike.
        group: numbers or strings, shape (rows,); None where there is no such column.
        time: float64, shape (rows,); likewise.
        hashes: of each row's features and target, shape (rows,), uint64.
        missing: how many values of each feature are missing.
        paths: every file behind these arrays.
        shown: how messages name the table.
    """

    columns: tuple[Column, ...]
    features: TableRows
    target: SourceArray
    weight: NDArray[np.float64] | None
    group: AnyArray | None
    time: NDArray[np.float64] | None
    hashes: NDArray[np.uint64]
    missing: Mapping[str, int]
    paths: tuple[Path, ...]
    shown: str

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.hashes)

    def named_arrays(self) -> Iterator[tuple[str, AnyArray]]:
        """Every array that decides what is learned, by name, for a fingerprint."""
        yield "numbers", self.features.numbers
        yield from ((f"string {name}", values) for name, values in self.features.strings.items())
        yield "target", self.target.values
        for name, values in (("weight", self.weight), ("group", self.group), ("time", self.time)):
            if values is not None:
                yield name, values


def write_raw(  # noqa: PLR0913 - what a table is, and where it goes
    table: TableFiles,
    columns: Sequence[Column],
    roles: Roles,
    *,
    rows: int,
    missing: frozenset[str],
    folder: Path,
    field: str,
) -> RawTable:
    """Read a table's rows into files of typed columns.

    Args:
        table: the files.
        columns: of all roles, as `decide_columns` found them.
        roles: what they are for.
        rows: how many rows there are.
        missing: texts that stand for a missing value.
        folder: where to write.
        field: of the spec's `data` section; keeps the files of several tables apart.

    Raises:
        DataError: a value is not of its column's type, too large, or missing where none may be; names the file, the
            column and the row.
        StoreError: there is too little room on the disk.
        OSError: `folder` cannot be written.
    """
    plan = _Plan(table.shown, {column.name: column for column in columns}, roles, missing)
    dtypes = plan.dtypes()
    require_space(folder, _COPIES * rows * sum(width * dtype.itemsize for dtype, width in dtypes.values()))
    paths = {name: folder / f"{field}-{name}.npy" for name in dtypes}
    with ExitStack() as opened:
        files = {
            name: opened.enter_context(ArrayFile(paths[name], dtype, (rows, width) if name == _NUMBERS else (rows,)))
            for name, (dtype, width) in dtypes.items()
        }
        for batch in table.batches(roles.all):
            for name, piece in plan.convert(batch).items():
                files[name].write(piece)
    plan.refuse_missing()
    return plan.table(paths)


_NUMBERS, _HASHES, _TARGET = "numbers", "hashes", "target"
# May not be missing in any row, as the target may not.
_ROLES = ("weight", "group", "time")


class _Plan:
    """How batches become pieces of files, and what is noticed on the way."""

    def __init__(self, shown: str, columns: Mapping[str, Column], roles: Roles, missing: frozenset[str]) -> None:
        self._shown, self._columns, self._roles, self._missing_texts = shown, columns, roles, missing
        features = [columns[name] for name in roles.features]
        self._numeric = [column for column in features if column.type in NUMERIC]
        self._strings = [column for column in features if column.type not in NUMERIC]
        self._missing = dict.fromkeys(roles.features, 0)
        self._places: dict[str, list[tuple[str, int]]] = {}
        self._count_of_places: dict[str, int] = {}

    def dtypes(self) -> dict[str, tuple[np.dtype[Any], int]]:
        """The files: the dtype of each, and how many values a row has in it."""
        dtypes: dict[str, tuple[np.dtype[Any], int]] = {
            _NUMBERS: (np.dtype(np.float32), len(self._numeric)),
            _HASHES: (np.dtype(np.uint64), 1),
            _TARGET: (self._target_dtype(), 1),
        }
        dtypes |= {_file_of(number): (_text(column), 1) for number, column in enumerate(self._strings)}
        for role in _ROLES:
            column = self._column_of(role)
            if column is not None:
                is_text = role == "group" and column.type == "string"
                dtypes[role] = (_text(column) if is_text else np.dtype(np.float64), 1)
        return dtypes

    def convert(self, batch: Batch) -> dict[str, AnyArray]:
        """A piece for each of the files."""
        numbers = np.empty((batch.rows.num_rows, len(self._numeric)), dtype=np.float32)
        for position, column in enumerate(self._numeric):
            numbers[:, position] = self._numbers(batch, column)
            self._missing[column.name] += int(np.isnan(numbers[:, position]).sum())
        pieces: dict[str, AnyArray] = {_NUMBERS: numbers}
        for number, column in enumerate(self._strings):
            texts = strings_of(batch.rows.column(column.name), self._missing_texts)
            self._missing[column.name] += int((texts == "").sum())
            pieces[_file_of(number)] = texts
        pieces[_TARGET] = self._target(batch)
        for role in _ROLES:
            column_of_role = self._column_of(role)
            if column_of_role is not None:
                pieces[role] = self._role(batch, role, column_of_role)
        hashed = [pieces[_file_of(number)] for number in range(len(self._strings))]
        pieces[_HASHES] = hash_rows([*numbers.T, *hashed, pieces[_TARGET]])
        return pieces

    def refuse_missing(self) -> None:
        """End with all rows that lack a target, weight, group or time."""
        problems = [
            f"column {getattr(self._roles, role)!r} (data.{role}) is missing in {self._count_of_places[role]} rows: "
            f"{_places_in_words(places, self._count_of_places[role])}"
            for role, places in self._places.items()
        ]
        if problems:
            raise DataError(f"{self._shown}: {'; and '.join(problems)}", advice="Complete these rows or remove them.")

    def table(self, paths: Mapping[str, Path]) -> RawTable:
        """The finished files."""
        arrays = {name: map_array(path) for name, path in paths.items()}
        target = SourceArray(self._shown, self._roles.target, arrays[_TARGET], paths[_TARGET], noun="column")
        weight = arrays.get("weight")
        if weight is not None and not (weight > 0).any():
            raise DataError(f"{self._shown}: column {self._roles.weight!r} (data.weight) is 0 in all rows")
        strings = {column.name: arrays[_file_of(number)] for number, column in enumerate(self._strings)}
        return RawTable(
            columns=(*self._numeric, *self._strings),
            features=TableRows(arrays[_NUMBERS], strings),
            target=target,
            weight=weight,
            group=arrays.get("group"),
            time=arrays.get("time"),
            hashes=arrays[_HASHES],
            missing=self._missing,
            paths=tuple(paths.values()),
            shown=self._shown,
        )

    def _column_of(self, role: str) -> Column | None:
        name = getattr(self._roles, role)
        return None if name is None else self._columns[name]

    def _target_dtype(self) -> np.dtype[Any]:
        column = self._columns[self._roles.target]
        if column.type == "string":
            return _text(column)
        if column.type == "boolean":
            return np.dtype(np.bool_)
        return np.dtype(np.int64 if column.whole else np.float64)

    def _target(self, batch: Batch) -> AnyArray:
        column = self._columns[self._roles.target]
        if column.type == "string":
            values: AnyArray = strings_of(batch.rows.column(column.name), self._missing_texts)
            self._note_missing(batch, "target", values == "")
            return values
        numbers = self._numbers(batch, column)
        self._note_missing(batch, "target", np.isnan(numbers))
        # A missing one ends the reading anyway; until then it must be some whole number.
        return np.nan_to_num(numbers).astype(self._target_dtype())

    def _role(self, batch: Batch, role: str, column: Column) -> AnyArray:
        if column.type == "string" and role == "group":
            texts = strings_of(batch.rows.column(column.name), self._missing_texts)
            self._note_missing(batch, role, texts == "")
            return texts
        if column.type == "string":
            wanted = "numbers, dates or times" if role == "time" else "numbers"
            raise DataError(f"{self._shown}: column {column.name!r} (data.{role}) has texts: {wanted} are expected")
        numbers = self._numbers(batch, column)
        self._note_missing(batch, role, np.isnan(numbers))
        if role == "weight" and (numbers < 0).any():
            row = int(np.argmax(numbers < 0))
            raise DataError(f"{batch.place(row)}: column {column.name!r} (data.weight) is {numbers[row]:g}, below 0")
        return numbers

    def _numbers(self, batch: Batch, column: Column) -> NDArray[np.float64]:
        values = batch.rows.column(column.name)
        try:
            numbers = numbers_of(values, column.type, self._missing_texts, column.form)
        except UnreadableValueError as error:
            raise DataError(
                f"{batch.place(error.row)}: column {column.name!r} has {error.value!r}, which is no {column.type}",
                advice="data.missing_values names texts that stand for a missing value.",
            ) from error
        too_large = np.abs(numbers) > _FLOAT32_MAX
        if too_large.any():
            row = int(np.argmax(too_large))
            raise DataError(
                f"{batch.place(row)}: column {column.name!r} has {numbers[row]:g}: a finite number that float32 can "
                "hold is expected",
                advice="Leave the value empty where it is not known.",
            )
        return numbers

    def _note_missing(self, batch: Batch, role: str, missing: NDArray[np.bool_]) -> None:
        if not missing.any():
            return
        places = self._places.setdefault(role, [])
        rows = np.flatnonzero(missing)
        places += [(batch.file.shown, batch.number(int(row))) for row in rows[: _LISTED_ROWS - len(places)]]
        self._count_of_places[role] = self._count_of_places.get(role, 0) + len(rows)


def _places_in_words(places: Sequence[tuple[str, int]], count: int) -> str:
    """`a.csv, rows 3, 17; b.csv, rows 1 …`."""
    by_file: dict[str, list[str]] = {}
    for file, row in places:
        by_file.setdefault(file, []).append(str(row))
    words = "; ".join(f"{file}, rows {', '.join(rows)}" for file, rows in by_file.items())
    return f"{words} …" if count > len(places) else words


def _text(column: Column) -> np.dtype[Any]:
    return np.dtype(f"<U{max(1, column.longest)}")


def _file_of(number: int) -> str:
    """The file of a column of strings: its name may hold anything."""
    return f"string-{number}"
