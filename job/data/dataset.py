"""What the rest of the job trains on: three splits of labelled rows, and those to train on prepared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray
from job.data.preparation import Preparation
from job.records import DataSummary, SplitSummary

# A log line names every class up to this many; of more, the extremes.
_LOGGED_CLASSES = 100


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Labelled rows as they are in the source, in its order, memory-mapped read-only.

    Attributes:
        x: shape (rows, *input_shape), in the source's dtype and native byte order.
        y: shape (rows,), int64 indices into the data set's class names.
    """

    x: AnyArray
    y: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.y)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Checked, split and prepared data.

    Training and validation rows lie one after the other in one file each for x and y, so that training on
    both needs no copy. All arrays are memory-mapped read-only: a process that forks shares them, a worker
    opens `prepared_file` and `labels_file` anew (a pickled memory map is a full copy).

    Attributes:
        train_and_validation: every row but the test split's, training rows first.
        test: rows as they are in the source, which the published model takes.
        train_rows: how many of `train_and_validation` are training rows.
        prepared: the rows of `train_and_validation`, float32, shape (rows, *input_shape).
        prepared_file, labels_file: `.npy` files of `prepared` and of `train_and_validation.y`.
        preparation: how `prepared` came from the rows.
        class_names: in output order.
        fingerprint: hex SHA-256 of the source's arrays, whatever their compression and the split.
        source: where the rows came from, without credentials.
        notes: what the log should say of choices made and settings without effect.
    """

    train_and_validation: Split
    test: Split
    train_rows: int
    prepared: NDArray[np.float32]
    prepared_file: Path
    labels_file: Path
    preparation: Preparation
    class_names: tuple[str, ...]
    fingerprint: str
    source: str
    notes: tuple[str, ...]

    @property
    def train(self) -> Split:
        """What trials are trained on."""
        return Split(self.train_and_validation.x[: self.train_rows], self.train_and_validation.y[: self.train_rows])

    @property
    def validation(self) -> Split:
        """What trials are scored on."""
        return Split(self.train_and_validation.x[self.train_rows :], self.train_and_validation.y[self.train_rows :])

    @property
    def prepared_train(self) -> NDArray[np.float32]:
        """`train.x`, prepared."""
        return self.prepared[: self.train_rows]

    @property
    def prepared_validation(self) -> NDArray[np.float32]:
        """`validation.x`, prepared."""
        return self.prepared[self.train_rows :]

    @property
    def prepared_train_and_validation(self) -> NDArray[np.float32]:
        """`train_and_validation.x`, prepared."""
        return self.prepared

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return self.train_and_validation.rows + self.test.rows

    def summary(self) -> DataSummary:
        """The manifest's account of the data."""
        return DataSummary(
            source=self.source,
            fingerprint=self.fingerprint,
            rows=self.rows,
            splits={name: SplitSummary(rows=split.rows) for name, split in self.splits.items()},
        )

    def class_counts(self, split: Split) -> dict[str, int]:
        """How many rows of a split each class has, in output order."""
        counts = np.bincount(split.y, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, counts, strict=True))

    def profile(self) -> dict[str, Any]:
        """The fields of a log event: rows of each split, input shape and dtype, rows per class."""
        classes = dict.fromkeys(self.class_names, 0)
        for split in self.splits.values():
            for name, count in self.class_counts(split).items():
                classes[name] += count
        fields: dict[str, Any] = {
            "source": self.source,
            "rows": {name: split.rows for name, split in self.splits.items()},
            "input_shape": self.preparation.input_shape,
            "input_dtype": self.preparation.input_dtype,
            "classes": len(classes),
        }
        if len(classes) <= _LOGGED_CLASSES:
            return fields | {"rows_per_class": classes}
        return fields | {"rows_per_class": {"fewest": min(classes.values()), "most": max(classes.values())}}
