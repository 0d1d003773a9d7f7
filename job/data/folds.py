"""Which rows each fold of a cross-validation is trained and scored on. Pure, but for the file that carries it.

What goes into which fold depends on the seed and on what the rows are divided by, and on nothing else: rows are put in
order by the same random keys as in `job.data.splits`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import map_array, write_array
from job.data.splits import Indices, UndrawableError, row_keys
from job.errors import DataError

_PURPOSE = "folds"


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Rows in blocks, one for each fold to be scored on.

    Attributes:
        block: shape (rows,): the fold that scores on the row. With `in_time`, 0 for the oldest rows, which no fold
            scores on, and one more than the fold for the others.
        count: how many folds there are.
        in_time: a fold is trained on what is older than the rows that it is scored on, not on all others.
    """

    block: NDArray[np.int64]
    count: int
    in_time: bool = False

    def train(self, fold: int) -> Indices:
        """The rows to train a fold (from 0) on, ascending."""
        return self._rows(self.block <= fold if self.in_time else self.block != fold)

    def validation(self, fold: int) -> Indices:
        """The rows to score a fold on, ascending."""
        return self._rows(self.block == fold + self.in_time)

    @staticmethod
    def _rows(chosen: NDArray[np.bool_]) -> Indices:
        return np.flatnonzero(chosen).astype(np.int64)


@dataclass(frozen=True, slots=True)
class FoldFile:
    """`Folds` in a file: what travels between processes."""

    path: Path
    count: int
    in_time: bool

    @classmethod
    def write(cls, path: Path, folds: Folds) -> "FoldFile":
        """Write the blocks to an `.npy` file."""
        write_array(path, folds.block.dtype, folds.block.shape, [folds.block])
        return cls(path, folds.count, folds.in_time)

    def open(self) -> Folds:
        """Map the blocks."""
        return Folds(map_array(self.path), self.count, self.in_time)


def write_folds(divide: Callable[[], Folds], count: int, shown: str, folder: Path) -> FoldFile:
    """Divide rows and write how.

    Args:
        divide: one of the functions below, with its rows.
        count: how many folds, for the message.
        shown: the source's name in messages.
        folder: where the file goes.

    Raises:
        DataError: there are too few rows, groups or times.
    """
    try:
        folds = divide()
    except UndrawableError as error:
        raise DataError(
            f"{shown}: data.folds {count} is not possible: {error}",
            advice="Give more rows, or fewer data.folds; data.split: random divides rows whatever their class.",
        ) from error
    return FoldFile.write(folder / "folds.npy", folds)


def random_folds(rows: int, count: int, *, seed: int) -> Folds:
    """Folds of equal sizes, but for one row; which rows go where is drawn.

    Raises:
        UndrawableError: there are fewer rows than folds.
    """
    return stratified_folds(np.zeros(rows, np.int64), count, seed=seed)


def stratified_folds(labels: Indices, count: int, *, seed: int) -> Folds:
    """Folds of equal sizes, but for one row, with every class in proportion, but for one row.

    Args:
        labels: class indices from 0, one per row.
        count: how many folds; at least 2.
        seed: any whole number.

    Raises:
        UndrawableError: a class has fewer rows than there are folds.
    """
    counts = np.bincount(labels)
    few = np.flatnonzero((counts > 0) & (counts < count))
    if not len(labels) or len(few):
        have = f"class {few[0]} has {counts[few[0]]}" if len(few) and len(counts) > 1 else f"there are {len(labels)}"
        raise UndrawableError(f"{count} folds need {count} rows{' of each class' if len(counts) > 1 else ''}, {have}")
    # Class after class, each in the order of the keys, dealt out in turn: the next class goes on where one has ended.
    order = np.lexsort((row_keys(len(labels), seed, _PURPOSE), labels))
    return Folds(_dealt(order, np.arange(len(labels)) % count), count)


def grouped_folds(groups: Indices, count: int, *, seed: int) -> Folds:
    """Folds that no group is divided between: the largest groups first, each to the smallest fold so far.

    Args:
        groups: group indices from 0, one per row.
        count: how many folds; at least 2.
        seed: any whole number; decides between groups of the same size.

    Raises:
        UndrawableError: there are fewer groups than folds.
    """
    sizes = np.bincount(groups)
    present = np.flatnonzero(sizes)
    if len(present) < count:
        raise UndrawableError(f"{count} folds need {count} groups, there are {len(present)}")
    keys = row_keys(len(sizes), seed, _PURPOSE)
    fold_of, filled = np.zeros(len(sizes), np.int64), np.zeros(count, np.int64)
    for group in present[np.lexsort((keys[present], -sizes[present]))]:
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return Folds(fold_of[groups], count)


def folds_in_time(times: NDArray[np.generic], count: int) -> Folds:
    """Folds that are scored on one stretch of time each, and trained on all that is older.

    Rows of the same time stay together.

    Args:
        times: shape (rows,), anything that sorts.
        count: how many folds; at least 1.

    Raises:
        UndrawableError: there are too few different times for a stretch each, and one to begin with.
    """
    distinct, position, sizes = np.unique(times, return_inverse=True, return_counts=True)
    if len(distinct) <= count:
        raise UndrawableError(f"{count} folds in time need {count + 1} different times, there are {len(distinct)}")
    older = np.concatenate([[0], np.cumsum(sizes)])
    block = np.zeros(len(distinct), np.int64)
    begin = 0
    for number in range(1, count + 1):
        wanted = int(np.searchsorted(older, number * len(times) / (count + 1)))
        # Every stretch has a time: this one, those before it and those after it.
        begin = min(max(wanted, begin + 1), len(distinct) - (count + 1 - number))
        block[begin:] = number
    return Folds(block[position.reshape(-1)], count, in_time=True)


def _dealt(order: NDArray[np.intp], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    block = np.empty(len(order), np.int64)
    block[order] = folds
    return block
