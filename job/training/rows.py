"""The rows of a split as a model takes them: nested inputs and targets, and optionally weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from job.data import Rows
from job.data.nested import Nested, as_tuples
from job.resources import memory_limit

__all__ = ["DeviceRows", "Nested", "class_sample_weights", "gathered", "place_rows", "rows_fit"]

# Rows are copied while they are placed, and a worker holds more than rows.
_SHARE_OF_MEMORY = 1 / 3


def rows_fit(rows_bytes: int, memory: int) -> bool:
    """Whether rows of this size may be resident; both in bytes."""
    return rows_bytes <= memory * _SHARE_OF_MEMORY


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """Rows on the device, or on the host where they are too large for it.

    Attributes:
        x: inputs, each leaf (rows, …); floating-point leaves are float32.
        y: targets, each leaf (rows, …); None for a model that needs none.
        sample_weight: (rows,) float32, or one such leaf per target; None where all rows count alike.
        numbers: (count,) of the rows that are meant; None for all of them.
    """

    x: Nested
    y: Nested
    sample_weight: Nested = None
    numbers: npt.NDArray[np.int64] | None = None

    @classmethod
    def place(  # noqa: PLR0913 - three parts of the rows, and what decides where they go
        cls,
        x: Nested,
        y: Nested,
        sample_weight: Nested = None,
        *,
        class_weight: Mapping[int, float] | None = None,
        memory: int | None = None,
        together: int = 0,
    ) -> "DeviceRows":
        """Copy arrays, memory-mapped or not, to the device.

        Args:
            x: inputs, nested arrays.
            y: targets, nested arrays, or None.
            sample_weight: one array for all targets, or one for each.
            class_weight: what the rows of each class count; classes that are not named count 1. As in Keras.
            memory: bytes that there are; the container's limit by default. Larger rows stay where they are.
            together: bytes of all rows that these are in memory together with, and of these.

        Raises:
            ValueError: both weights are given, or class weights for several targets.
        """
        x, y, sample_weight = (as_tuples(part) for part in (x, y, sample_weight))
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("expected class weights or sample weights, not both")
            sample_weight = class_sample_weights(y, class_weight)
        elif sample_weight is not None and keras.tree.is_nested(y) and not keras.tree.is_nested(sample_weight):
            weights = sample_weight
            sample_weight = keras.tree.map_structure(lambda _: weights, y)
        rows = cls(*(_leaves(_as_keras_casts, part) for part in (x, y, sample_weight)))
        limit = memory_limit() if memory is None else memory
        return rows.on_device() if rows_fit(max(rows.size, together), limit) else rows

    def on_device(self) -> "DeviceRows":
        """All leaves as tensors; those that are stay what they are."""
        return self._changed(tf.convert_to_tensor)

    def on_host(self) -> "DeviceRows":
        """All leaves as NumPy arrays, without a copy where TensorFlow allows it."""
        return self._changed(np.asarray)

    def _changed(self, change: Callable[[Nested], Nested]) -> "DeviceRows":
        x, y, sample_weight = (_leaves(change, part) for part in self._parts)
        return DeviceRows(x, y, sample_weight, self.numbers)

    def with_weights(self, sample_weight: npt.NDArray[np.float32] | None) -> "DeviceRows":
        """The same inputs and targets, where they are, with other weights; one array for all targets."""
        placed = DeviceRows.place((), self.y, sample_weight) if sample_weight is not None else None
        return replace(self, sample_weight=None if placed is None else placed.sample_weight)

    def select(self, numbers: npt.NDArray[np.int64]) -> "DeviceRows":
        """Some of these rows, which stay where they are: a fold needs no copy."""
        return replace(self, numbers=numbers)

    def in_order(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers of the rows at these places, 0 to `count` - 1, of those that are meant."""
        return order if self.numbers is None else self.numbers[order]

    def shares_leaves_of(self, other: "DeviceRows") -> bool:
        """Whether both are chosen from the same rows, which are then there once."""
        return self.x is other.x

    def batch(self, gather: Callable[[Nested, Nested], Nested], chosen: Nested) -> tuple[Nested, ...]:
        """The rows numbered `chosen` as `train_step` takes them: `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
        used = 3 if self.sample_weight is not None else 2 if self.y is not None else 1
        return tuple(_leaves(lambda leaf: gather(leaf, chosen), part) for part in self._parts[:used])

    @property
    def count(self) -> int:
        """Number of rows that are meant."""
        if self.numbers is not None:
            return len(self.numbers)
        return int(keras.tree.flatten(self.x)[0].shape[0])

    @property
    def size(self) -> int:
        """Bytes of all leaves, whichever of their rows are meant; strings count as references."""
        leaves = [leaf for leaf in keras.tree.flatten(list(self._parts)) if leaf is not None]
        return sum(int(np.prod(leaf.shape)) * (_item_size(leaf.dtype)) for leaf in leaves)

    @property
    def _parts(self) -> tuple[Nested, Nested, Nested]:
        return self.x, self.y, self.sample_weight


def place_rows(rows: Rows, *, class_weight: Mapping[int, float] | None = None, memory: int | None = None) -> DeviceRows:
    """Copy mapped rows to the device; see `DeviceRows.place`.

    A row counts the product of its own weight and that of its class.
    """
    weight = rows.sample_weight
    if class_weight is not None:
        by_class = class_sample_weights(rows.y, class_weight)
        weight = by_class if weight is None else by_class * weight
    return DeviceRows.place(rows.x, rows.y, weight, memory=memory, together=rows.together)


def gathered(leaf: Nested, chosen: Nested) -> Nested:
    """Return rows of an array as Keras takes them: strings as a tensor, because it knows none of NumPy's."""
    rows = leaf[chosen]
    return tf.constant(rows) if isinstance(rows, np.ndarray) and rows.dtype.kind in "USO" else rows


def class_sample_weights(y: Nested, class_weight: Mapping[int, float]) -> npt.NDArray[np.float32]:
    """One weight per row from its class, as `model.fit` makes them.

    Args:
        y: class numbers, (rows,) or (rows, 1), or one-hot, (rows, classes).
        class_weight: by class number; classes that are not named count 1.

    Raises:
        ValueError: there are several targets, for which Keras defines no class weights.
    """
    if keras.tree.is_nested(y):
        raise ValueError("class weights need a model with a single output")
    labels = np.asarray(y)
    if labels.ndim > 1:
        labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(axis=-1)
    classes, positions = np.unique(np.round(labels).astype(np.int64), return_inverse=True)
    weights = np.array([class_weight.get(int(number), 1.0) for number in classes], np.float32)
    return weights[positions]


def _leaves(change: Callable[[Nested], Nested], part: Nested) -> Nested:
    """Change every leaf; None, which Keras allows among weights, stays."""
    return keras.tree.map_structure(lambda leaf: None if leaf is None else change(leaf), part)


def _as_keras_casts(leaf: Nested) -> Nested:
    """`fit` hands floating-point arrays over as float32."""
    if tf.is_tensor(leaf):
        return tf.cast(leaf, tf.float32) if leaf.dtype.is_floating else leaf
    # Not asarray: it would lose that a file is mapped, not read.
    array = leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf)
    return array.astype(np.float32, copy=False) if np.issubdtype(array.dtype, np.floating) else array


def _item_size(dtype: Any) -> int:  # noqa: ANN401 - TensorFlow's or NumPy's
    return int(getattr(dtype, "size", None) or np.dtype(getattr(dtype, "as_numpy_dtype", dtype)).itemsize)
