"""The rows that trials are trained and scored on, as files that every process maps for itself."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import map_array
from job.data.folds import FoldFile
from job.data.nested import Nested, leaves, map_leaves


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Prepared rows, memory-mapped read-only.

    Attributes:
        x: inputs, nested; each leaf (rows, …), floating-point ones float32.
        y: targets, nested; None where a model needs none.
        sample_weight: (rows,) float32; None where all rows count alike.
        together: bytes of all rows of the same files: training and validation rows are in memory together, or neither.
    """

    x: Nested
    y: Nested
    sample_weight: NDArray[np.float32] | None = None
    together: int = 0

    def part(self, rows: slice | NDArray[np.int64]) -> "Rows":
        """Some of the rows; a slice is a view."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return replace(
            self,
            x=map_leaves(lambda leaf: leaf[rows], self.x),
            y=map_leaves(lambda leaf: leaf[rows], self.y),
            sample_weight=weight,
        )


@dataclass(frozen=True, slots=True)
class RowFiles:
    """`.npy` files of `Rows`: the training rows and, after them, the validation rows.

    A pickled memory map is a full copy; this is what travels between processes instead.

    Attributes:
        x, y: paths, nested as the arrays are; `y` None where there are no targets.
        sample_weight: a path; None where all rows count alike.
        train_rows: how many of the rows are training rows.
        folds: how the training rows, which are then all there are, are divided for cross-validation; None where they
            are not.
    """

    x: Nested
    y: Nested
    sample_weight: Path | None
    train_rows: int
    folds: FoldFile | None = None

    @property
    def rows_per_training(self) -> int:
        """How many rows one training sees; the mean where folds differ."""
        if self.folds is None:
            return self.train_rows
        folds = self.folds.open()
        return round(sum(len(folds.train(number)) for number in range(folds.count)) / folds.count)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in leaves([self.x, self.y, self.sample_weight]))

    def open(self) -> Rows:
        """Map all rows."""
        weight = None if self.sample_weight is None else map_array(self.sample_weight)
        return Rows(map_leaves(map_array, self.x), map_leaves(map_array, self.y), weight, self.size)

    def open_train(self) -> Rows:
        """Map the training rows."""
        return self.open().part(slice(None, self.train_rows))

    def open_validation(self) -> Rows:
        """Map the validation rows."""
        return self.open().part(slice(self.train_rows, None))
