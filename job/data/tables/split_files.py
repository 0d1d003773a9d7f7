"""The rows of a split, gathered from the tables into files of their own. Pure NumPy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, ArrayFile, write_array
from job.data.dataset import Split
from job.data.tables.preparation import TablePreparation
from job.data.tables.raw import RawTable, TableRows

# Rows pass through memory in pieces of so many values.
_PIECE_VALUES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class ChosenRows:
    """Some rows of one table.

    Attributes:
        y: encoded targets of all rows of the table.
        rows: which rows, ascending.
    """

    table: RawTable
    y: AnyArray
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SplitRows:
    """Rows as they are in the source, in files of their own.

    Attributes:
        y: encoded targets.
        weight: float32; None where rows count alike.
    """

    features: TableRows
    y: AnyArray
    weight: NDArray[np.float32] | None

    def split(self, preparation: TablePreparation) -> Split:
        """The columns by the names of the published model's inputs; numbers are views of one array."""
        columns: dict[str, AnyArray] = {
            column.input: self.features.numbers[:, position] for position, column in enumerate(preparation.numbers)
        }
        columns |= {column.input: self.features.strings[column.name] for column in preparation.strings}
        return Split(columns, self.y, self.weight)

    def part(self, rows: slice) -> TableRows:
        """A view of some rows."""
        strings = {name: values[rows] for name, values in self.features.strings.items()}
        return TableRows(self.features.numbers[rows], strings)


def write_split_rows(folder: Path, name: str, parts: Sequence[ChosenRows]) -> SplitRows:
    """Write rows of tables with the same columns, one part after the other.

    Args:
        folder: exists.
        name: of the split.
        parts: the rows, in order.
    """
    rows = sum(len(part.rows) for part in parts)
    first = parts[0].table

    def gathered(stem: str, arrays: Sequence[AnyArray], dtype: np.dtype[np.generic]) -> AnyArray:
        pieces = (
            array[piece] for array, part in zip(arrays, parts, strict=True) for piece in _pieces(part.rows, array)
        )
        return write_array(folder / f"{stem}_{name}.npy", dtype, (rows, *arrays[0].shape[1:]), pieces)

    strings = {}
    for number, column in enumerate(first.features.strings):
        arrays = [part.table.features.strings[column] for part in parts]
        strings[column] = gathered(f"string-{number}", arrays, max((array.dtype for array in arrays), key=_width))
    weights = [part.table.weight for part in parts]
    weight = None
    if weights[0] is not None:
        weight = gathered("weight", [w for w in weights if w is not None], np.dtype(np.float32))
    return SplitRows(
        TableRows(gathered("numbers", [part.table.features.numbers for part in parts], np.dtype(np.float32)), strings),
        gathered("y", [part.y for part in parts], parts[0].y.dtype),
        weight,
    )


def write_prepared(path: Path, features: TableRows, preparation: TablePreparation) -> AnyArray:
    """Prepare rows into a file, in pieces."""
    file = ArrayFile(path, np.dtype(np.float32), (features.rows, preparation.width))
    step = _step(preparation.width)
    with file:
        for start in range(0, features.rows, step):
            rows = slice(start, start + step)
            strings = [features.strings[column.name][rows] for column in preparation.strings]
            file.write(preparation.prepare_columns(features.numbers[rows], strings))
    return file.mapped()


def count_missing(features: TableRows, numeric: Sequence[str]) -> Mapping[str, int]:
    """How many values of each column are missing."""
    counts = np.zeros(len(numeric), dtype=np.int64)
    step = _step(len(numeric))
    for start in range(0, features.rows, step):
        counts += np.isnan(features.numbers[start : start + step]).sum(axis=0)
    missing = {name: int(count) for name, count in zip(numeric, counts, strict=True)}
    return missing | {name: int((values == "").sum()) for name, values in features.strings.items()}


def _pieces(rows: NDArray[np.int64], array: AnyArray) -> Iterator[NDArray[np.int64]]:
    step = _step(max(1, array[:1].nbytes // 4))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _step(width: int) -> int:
    return max(1, _PIECE_VALUES // max(1, width))


def _width(dtype: np.dtype[np.generic]) -> int:
    return dtype.itemsize
