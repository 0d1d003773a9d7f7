"""Rows that stay in files: read window after window, in an order that costs neither memory nor random reads.

A full shuffle of rows larger than memory would read a page from the disk for every row. Instead blocks of consecutive
rows are taken in a random order, and the rows of each window of several blocks are shuffled among themselves. Rows that
lie in one block stay within one window; files whose rows are sorted should be shuffled once when they are written.
"""

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from job.seeds import derive_seed
from job.training.rows import DeviceRows, Nested

# What is read at a time from consecutive places, and what is in memory of each split.
_BLOCK_BYTES = 1 << 20
_WINDOW_BLOCKS = 32


@dataclass(frozen=True, slots=True)
class WindowShape:
    """How rows are divided: into blocks of whole batches, and windows of whole blocks.

    Attributes:
        rows: how many there are.
        block_rows: a multiple of the batch size; the last block may have fewer rows.
        window_blocks: blocks that are in memory at a time.
    """

    rows: int
    block_rows: int
    window_blocks: int = _WINDOW_BLOCKS

    @classmethod
    def of(cls, rows: int, row_bytes: int, batch_size: int) -> "WindowShape":
        """The shape for rows of a size: a function of its arguments alone."""
        batches = max(1, _BLOCK_BYTES // max(1, row_bytes * batch_size))
        return cls(rows, batches * batch_size)

    @property
    def window_rows(self) -> int:
        """Rows of every window but the last."""
        return self.block_rows * self.window_blocks

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return -(-self.rows // self.window_rows)

    def block(self, number: int) -> slice:
        """The rows of a block."""
        return slice(number * self.block_rows, min(self.rows, (number + 1) * self.block_rows))

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-self.rows // self.block_rows)


@dataclass(frozen=True, slots=True)
class WindowOrder:
    """The order in which a lineage sees the rows of an epoch; depends on its seed, the epoch and the shape alone.

    Attributes:
        seed: of the lineage; None for the rows' own order, as in validation.
        epoch: from 0.
    """

    shape: WindowShape
    seed: int | None = None
    epoch: int = 0

    def blocks_of(self, window: int) -> npt.NDArray[np.int64]:
        """The blocks of a window, in the order in which they are read. The block that is not full comes last of all."""
        shape = self.shape
        chosen = slice(window * shape.window_blocks, (window + 1) * shape.window_blocks)
        blocks = np.arange(shape.blocks)
        if self.seed is not None:
            full = shape.rows // shape.block_rows
            blocks[:full] = _generator(self.seed, "block order", self.epoch).permutation(full)
        return blocks[chosen]

    def within(self, window: int, rows: int) -> npt.NDArray[np.int64] | None:
        """The order of the rows that a window holds; None to leave them as they are."""
        if self.seed is None:
            return None
        return _generator(self.seed, "window order", self.epoch, window).permutation(rows)


class WindowReader:
    """Reads windows of rows.

    Args:
        rows: on the host: arrays, or mapped files, which are read by position and never through the mapping: of mapped
            pages as many stay resident as there is room for.
        shape: how they are divided.
    """

    def __init__(self, rows: DeviceRows, shape: WindowShape) -> None:
        self._shape = shape
        # Rows may be some of those in the files: those of a fold.
        self._numbers = rows.numbers
        self._rows = rows

    def read(self, order: WindowOrder, window: int) -> tuple[Nested, ...]:
        """The rows of a window as `train_step` takes them, in their order: `(x,)`, `(x, y)` or with sample weights."""
        blocks = order.blocks_of(window)
        slices = [self._shape.block(int(block)) for block in blocks]
        within = order.within(window, sum(part.stop - part.start for part in slices))

        def gather(leaf: npt.NDArray[Any], _: object) -> npt.NDArray[Any]:
            read = reader_of(leaf)
            found = np.concatenate([self._part(read, part) for part in slices])
            return found if within is None else found[within]

        return self._rows.batch(gather, None)

    def _part(self, read: Callable[[int, int], npt.NDArray[Any]], part: slice) -> npt.NDArray[Any]:
        if self._numbers is None:
            return read(part.start, part.stop)
        numbers = self._numbers[part]
        first = int(numbers.min())
        return read(first, int(numbers.max()) + 1)[numbers - first]


def reader_of(leaf: npt.NDArray[Any]) -> Callable[[int, int], npt.NDArray[Any]]:
    """What reads rows `start` to before `stop` of an array: of a mapped file by position, of others as they are."""
    mapped = _mapped(leaf)
    row_bytes = leaf[:1].nbytes
    if mapped is None or not leaf.flags.c_contiguous or leaf.dtype.hasobject:
        return lambda start, stop: leaf[start:stop]
    offset = _offset(leaf, mapped)

    def read(start: int, stop: int) -> npt.NDArray[Any]:
        rows = np.empty((stop - start, *leaf.shape[1:]), dtype=leaf.dtype)
        with _opened(str(mapped.filename)) as descriptor:
            left, place = rows.reshape(-1).view(np.uint8).data, offset + start * row_bytes
            while left:
                count = os.preadv(descriptor, [left], place)
                if count == 0:
                    raise OSError(f"{mapped.filename} has become shorter")
                left, place = left[count:], place + count
        return rows

    return read


def row_bytes_of(rows: DeviceRows) -> int:
    """Bytes of one row: inputs, targets and weights."""
    return sum(int(leaf[:1].nbytes) for part in rows.batch(lambda leaf, _: leaf, None) for leaf in _flat(part))


def _flat(part: Nested) -> list[npt.NDArray[Any]]:
    return [leaf for leaf in keras.tree.flatten(part) if leaf is not None]


def _mapped(leaf: npt.NDArray[Any]) -> Any:  # noqa: ANN401 - NumPy's map of a file, or None
    array: Any = leaf
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array


def _offset(leaf: npt.NDArray[Any], mapped: Any) -> int:  # noqa: ANN401 - see above
    """Where in the file the first row of a view lies."""
    inside = leaf.__array_interface__["data"][0] - mapped.__array_interface__["data"][0]
    # A slice of a map keeps the offset of the map that it was cut from.
    root = mapped
    while isinstance(root.base, np.memmap):
        root = root.base
    return int(root.offset + inside + mapped.__array_interface__["data"][0] - root.__array_interface__["data"][0])


@contextmanager
def _opened(path: str) -> Any:  # noqa: ANN401 - a context of a descriptor
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(derive_seed(seed, purpose, *numbers)))
