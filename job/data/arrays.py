"""Arrays as memory-mapped `.npy` files: written in pieces, gathered, hashed."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

AnyArray = NDArray[Any]

# Arrays pass through memory in pieces of about this size.
_CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class SourceArray:
    """One array as it is in the source, laid out in C order and native byte order.

    Attributes:
        file: the file or data set that it comes from, as messages name it.
        name: its name there.
        values: memory-mapped, read-only.
        path: the scratch file behind `values`.
        noun: what messages call it.
    """

    file: str
    name: str
    values: AnyArray
    path: Path
    noun: str = "array"

    def __str__(self) -> str:
        return f"{self.file}: {self.noun} {self.name!r}"


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Some rows of an array, in this order; every row where `rows` is None."""

    array: SourceArray
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.array.values if self.rows is None else self.rows)


def chunks(array: AnyArray, rows: NDArray[np.int64] | None = None) -> Iterator[AnyArray]:
    """The rows of an array, or the rows at these indices, in pieces of bounded size."""
    row_bytes = max(1, array[:1].nbytes)
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, len(array if rows is None else rows), step):
        piece = slice(start, start + step)
        yield array[piece] if rows is None else array[rows[piece]]


def write_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], pieces: Iterable[AnyArray]) -> AnyArray:
    """Write pieces one after the other as an `.npy` file and map it.

    Args:
        path: appears, or is replaced, only when it is whole.
        dtype: the file's; pieces of another dtype are cast.
        shape: the file's, at least one row; the pieces' rows add up to `shape[0]`.
        pieces: consecutive rows.

    Returns:
        The file's array, memory-mapped read-only.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    file = ArrayFile(path, dtype, shape)
    with file:
        for piece in pieces:
            file.write(piece)
    return file.mapped()


class ArrayFile:
    """An `.npy` file that is written piece by piece; a context manager. See `write_array`.

    Args:
        path: appears, or is replaced, only when the context ends without an error.
        dtype: the file's; pieces of another dtype are cast.
        shape: the file's; the pieces' rows add up to `shape[0]`.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._path = path
        self._dtype = dtype
        self._unfinished = path.with_name(path.name + ".unfinished")
        # Written, not mapped: a write to a full disk raises OSError, a store to a mapped page ends in SIGBUS.
        self._file = self._unfinished.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, piece: AnyArray) -> None:
        """Add rows."""
        self._file.write(_bytes_of(piece, self._dtype))

    def mapped(self) -> AnyArray:
        """The finished file's array, memory-mapped read-only."""
        return map_array(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            self._unfinished.replace(self._path)
        else:
            self._unfinished.unlink(missing_ok=True)


def map_array(path: Path) -> AnyArray:
    """Map an `.npy` file read-only; raises ValueError where it holds Python objects or is too short."""
    array: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def write_selections(path: Path, dtype: np.dtype[Any], *selections: Selection) -> AnyArray:
    """Write selections of equal row shape one after the other; see `write_array`."""
    shape = (sum(len(selection) for selection in selections), *selections[0].array.values.shape[1:])
    pieces = (piece for s in selections for piece in chunks(s.array.values, s.rows))
    return write_array(path, dtype, shape, pieces)


def fingerprint(arrays: Iterable[tuple[str, AnyArray]]) -> str:
    """Hex SHA-256 over names, dtypes, shapes and values, in the order of the names.

    How the arrays were compressed, laid out in memory and ordered by byte does not count.
    """
    digest = hashlib.sha256()
    for name, array in sorted(arrays, key=lambda item: item[0]):
        # Little-endian: the same on every machine.
        dtype = array.dtype.newbyteorder("<")
        digest.update(f"{name}\n{dtype.str}\n{array.shape}\n".encode())
        for piece in chunks(array):
            digest.update(_bytes_of(piece, dtype))
    return digest.hexdigest()


def _bytes_of(piece: AnyArray, dtype: np.dtype[Any]) -> memoryview:
    # As plain bytes: not every dtype lends its buffer otherwise.
    return np.ascontiguousarray(piece, dtype=dtype).view(np.uint8).data
