"""What the rest of the job trains on: three splits of labelled rows, and those to train on prepared."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.data.labels import class_codes
from job.data.nested import Nested, map_leaves, row_count
from job.data.preparation import Preparation
from job.data.row_files import RowFiles
from job.records import DataSummary, SplitSummary
from job.target import Target

# A log line names every class up to this many; of more, the extremes.
_LOGGED_CLASSES = 100
_LOGGED_COLUMNS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows as they are in the source, in its order, memory-mapped read-only.

    Attributes:
        x: shape (rows, *input_shape), in the source's dtype and native byte order; or such arrays, nested: the columns
            of a table by name, the several inputs of a user's own model.
        y: shape (rows,): int64 indices into the data set's class names, float32 numbers of a regression; for a
            user's own model as they are in the source.
        sample_weight: shape (rows,), float32; None where all rows count alike.
    """

    x: Nested
    y: Nested
    sample_weight: NDArray[np.float32] | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return row_count(self.x)

    def part(self, rows: slice) -> "Split":
        """A view of some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return Split(map_leaves(lambda leaf: leaf[rows], self.x), map_leaves(lambda leaf: leaf[rows], self.y), weight)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Checked, split and prepared data.

    Training and validation rows lie one after the other in one file each for x and y, so that training on
    both needs no copy. All arrays are memory-mapped read-only: a process that forks shares them, a worker
    opens `files` anew (a pickled memory map is a full copy).

    Attributes:
        train_and_validation: every row but the test split's, training rows first.
        test: rows as they are in the source, which the published model takes.
        train_rows: how many of `train_and_validation` are training rows.
        prepared: the rows of `train_and_validation`, float32, shape (rows, *prepared_shape); nested for a user's own
            data of several inputs.
        files: `prepared`, and the targets and weights that belong to it.
        preparation: how `prepared` came from the rows.
        target: what is to be predicted.
        fingerprint: hex SHA-256 of the source's arrays, whatever their compression and the split.
        source: where the rows came from, without credentials.
        notes: what the log should say of choices made and settings without effect.
        source_profile: what else is known of the source: the columns of a table, its missing values and duplicates.
    """

    train_and_validation: Split
    test: Split
    train_rows: int
    prepared: Nested
    files: RowFiles
    preparation: Preparation
    target: Target
    fingerprint: str
    source: str
    notes: tuple[str, ...]
    source_profile: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes in output order; None unless the task is a classification."""
        return self.target.class_names

    @property
    def prepared_shape(self) -> Nested:
        """Of one prepared row; nested as the inputs are."""
        return map_leaves(lambda leaf: tuple(leaf.shape[1:]), self.prepared)

    @property
    def train(self) -> Split:
        """What trials are trained on."""
        return self.train_and_validation.part(slice(None, self.train_rows))

    @property
    def validation(self) -> Split:
        """What trials are scored on."""
        return self.train_and_validation.part(slice(self.train_rows, None))

    @property
    def prepared_train(self) -> Nested:
        """`train.x`, prepared."""
        return map_leaves(lambda leaf: leaf[: self.train_rows], self.prepared)

    @property
    def prepared_validation(self) -> Nested:
        """`validation.x`, prepared."""
        return map_leaves(lambda leaf: leaf[self.train_rows :], self.prepared)

    @property
    def prepared_train_and_validation(self) -> Nested:
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
        """How many rows of a split each class has, in output order; empty unless the task is a classification."""
        names = self.class_names or ()
        if not names:
            return {}
        codes = class_codes(split.y, self.target)
        return dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True))

    def profile(self) -> dict[str, Any]:
        """For `metrics.json`: rows of each split, what inputs are, how targets are distributed, what the source is."""
        return {
            "source": self.source,
            "task": self.target.task,
            "rows": {name: split.rows for name, split in self.splits.items()},
            **self.preparation.profile(),
            **self._target_profile(),
            **self.source_profile,
        }

    def brief_profile(self) -> dict[str, Any]:
        """What a log event has room for: of each column of a table its type, of many their number by type."""
        profile = self.profile()
        columns = {name: column["type"] for name, column in profile.get("columns", {}).items()}
        if columns:
            profile["columns"] = columns if len(columns) <= _LOGGED_COLUMNS else dict(Counter(columns.values()))
        return profile

    def _target_profile(self) -> dict[str, Any]:
        if self.target.task == "regression":
            numbers = [np.reshape(split.y, -1) for split in self.splits.values()]
            return {"targets": _distribution(np.concatenate(numbers))}
        if self.class_names is None:
            return {}
        classes = dict.fromkeys(self.class_names, 0)
        for split in self.splits.values():
            for name, count in self.class_counts(split).items():
                classes[name] += count
        if len(classes) <= _LOGGED_CLASSES:
            return {"classes": len(classes), "rows_per_class": classes}
        few_and_many = {"fewest": min(classes.values()), "most": max(classes.values())}
        return {"classes": len(classes), "rows_per_class": few_and_many}


def _distribution(numbers: NDArray[np.float32]) -> dict[str, float]:
    values = numbers.astype(np.float64)
    quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    named = zip(("minimum", "lower_quartile", "median", "upper_quartile", "maximum"), quantiles, strict=True)
    return {"mean": float(values.mean()), "deviation": float(values.std()), **dict(named)}
