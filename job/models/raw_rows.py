"""Raw rows, nested as a published model takes them, batch by batch: what Keras takes of arrays in files."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from job.data import Split
from job.data.nested import Nested, as_tuples, map_leaves

__all__ = ["RawBatches", "as_model_input"]


class RawBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no annotations
    """The rows of a split for `evaluate` and `predict`; only one batch is in memory at a time.

    Args:
        split: raw rows.
        batch_rows: rows per batch; the last may have fewer.
    """

    def __init__(self, split: Split, batch_rows: int) -> None:
        super().__init__()
        self._split = split
        self._batch_rows = batch_rows

    def __len__(self) -> int:
        return math.ceil(self._split.rows / self._batch_rows)

    def __getitem__(self, number: int) -> tuple[Nested, ...]:
        part = self._split.part(slice(number * self._batch_rows, (number + 1) * self._batch_rows))
        x, y = as_model_input(part.x), as_tuples(part.y)
        return (x, y) if part.sample_weight is None else (x, y, part.sample_weight)


def as_model_input(x: Nested) -> Nested:
    """Rows as Keras takes them: strings as tensors, because it knows none of NumPy's; lists as tuples."""
    return map_leaves(_leaf, as_tuples(x))


def _leaf(values: Any) -> Any:  # noqa: ANN401 - an array, or TensorFlow's tensor
    return tf.constant(values) if values.dtype.kind in "USO" else np.ascontiguousarray(values)
