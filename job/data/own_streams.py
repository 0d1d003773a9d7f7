"""A `tf.data.Dataset` of the user's own as arrays in files, a few rows in memory at a time.

TensorFlow is there already: the user's code has imported it, into a process of its own.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from job.data.arrays import AnyArray, map_array
from job.data.nested import Nested, leaves, map_leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

# What `tf.data.Dataset.cardinality` says of a data set that never ends.
_INFINITE = -1


def is_dataset(thing: object) -> bool:
    """Whether something is a `tf.data.Dataset`, without importing TensorFlow."""
    return any(
        kind.__name__ == "DatasetV2" and kind.__module__.startswith("tensorflow.") for kind in type(thing).__mro__
    )


def arrays_of_dataset(dataset: Any, folder: Path) -> tuple[Nested, ...]:  # noqa: ANN401 - TensorFlow has no annotations
    """Return `(x,)`, `(x, y)` or `(x, y, sample_weight)` of all rows, in the order in which they come.

    Args:
        dataset: of such tuples, row by row or in batches; what is no tuple is `x`.
        folder: for arrays of numbers, which are mapped; strings are in memory.

    Raises:
        ValueError: the data set never ends, is empty, or it cannot be told whether it has batches.
    """
    if int(dataset.cardinality()) == _INFINITE:
        raise ValueError("it never ends: leave out repeat()")
    if not _is_batched(dataset):
        dataset = dataset.batch(1024)
    folder.mkdir(parents=True)
    columns: list[_GrowingArray] = []
    structure: Nested = None
    for element in dataset.as_numpy_iterator():
        parts = element if isinstance(element, tuple) else (element,)
        if not columns:
            structure = parts
            columns = [_GrowingArray(folder / f"{number}.npy", leaf) for number, leaf in enumerate(leaves(parts))]
        for column, leaf in zip(columns, leaves(parts), strict=True):
            column.add(leaf)
    if not columns:
        raise ValueError("it has no rows")
    finished: Iterator[AnyArray] = iter([column.finish() for column in columns])
    return tuple(map_leaves(lambda _: next(finished), part) for part in structure)


def _is_batched(dataset: Any) -> bool:  # noqa: ANN401 - likewise
    shapes = [leaf.shape for leaf in leaves(dataset.element_spec)]
    if any(shape.rank is None for shape in shapes):
        return _batches_somewhere(dataset)
    if any(shape.rank == 0 for shape in shapes):
        return False
    first = {shape[0] for shape in shapes}
    return first == {None} or (len(first) == 1 and _batches_somewhere(dataset))


def _batches_somewhere(dataset: Any) -> bool:  # noqa: ANN401 - likewise
    """Whether the last step that makes or takes apart batches makes them."""
    one = dataset
    while one is not None:
        name = type(one).__name__
        if "Batch" in name:
            return True
        if "Unbatch" in name:
            return False
        one = getattr(one, "_input_dataset", None)
    return False


class _GrowingArray:
    """An `.npy` file whose number of rows is known at its end: NumPy leaves room for it in the header."""

    def __init__(self, path: Path, first: AnyArray) -> None:
        self._path, self._dtype, self._shape = path, first.dtype, first.shape[1:]
        self._rows = 0
        self._texts: list[AnyArray] = []
        if self._dtype.kind != "O":
            with path.open("wb") as file:
                self._write_header(file)

    def add(self, rows: AnyArray) -> None:
        """Add rows of the first one's shape; raises ValueError for others."""
        if rows.shape[1:] != self._shape:
            raise ValueError(f"rows have shapes {self._shape} and {rows.shape[1:]}: one shape is expected")
        self._rows += len(rows)
        if self._dtype.kind == "O":
            self._texts.append(rows)
        else:
            with self._path.open("ab") as file:
                file.write(np.ascontiguousarray(rows).data)

    def finish(self) -> AnyArray:
        """Return all rows; those of numbers mapped."""
        if self._dtype.kind == "O":
            return _decoded(np.concatenate(self._texts))
        with self._path.open("r+b") as file:
            self._write_header(file)
        return map_array(self._path)

    def _write_header(self, file: Any) -> None:  # noqa: ANN401 - a binary file
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, header | {"shape": (self._rows, *self._shape)})


def _decoded(texts: AnyArray) -> AnyArray:
    values = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in texts.reshape(-1)]
    return np.array(values).reshape(texts.shape)
