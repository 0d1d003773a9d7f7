"""`.npz` files: a zip of `.npy` arrays, each streamed once into a memory-mapped file.

`numpy.load` would decompress an array into memory at every access. Pickled objects are never read.
"""

import lzma
import math
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from job.data.arrays import SourceArray, chunks, map_array, write_array
from job.errors import DataError

_COPY_BYTES = 1024 * 1024
_SUFFIX = ".npy"
# What zipfile, its decompressors and NumPy's header reader raise for bytes that are not what they should be.
# RuntimeError: an encrypted member; NotImplementedError: an unknown compression.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, RuntimeError)
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpzArchive:
    """The arrays of one `.npz` file; a context manager.

    Args:
        path: the file.
        file: how messages name it.

    Attributes:
        size: the file's bytes.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file cannot be read, or is no `.npz`.
    """

    def __init__(self, path: Path, file: str) -> None:
        self.file = file
        try:
            self.size = path.stat().st_size
            self._zip = zipfile.ZipFile(path)
            # Not `is_dir`, which fails for a member without a name.
            members = [member for member in self._zip.infolist() if not member.filename.endswith("/")]
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
        except _DAMAGE as error:
            raise DataError(
                f"{file}: is no .npz file, or is cut short ({error})",
                advice="numpy.savez_compressed(path, x=…, y=…) writes such files.",
            ) from error
        self._members = {member.filename.removesuffix(_SUFFIX): member for member in members}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays' names, in the file's order."""
        return tuple(self._members)

    @property
    def extracted_size(self) -> int:
        """Bytes of all arrays, decompressed, as the file states them."""
        return sum(member.file_size for member in self._members.values())

    def extract(self, name: str, path: Path) -> SourceArray:
        """Decompress an array into an `.npy` file at `path` and map it.

        Raises:
            DataError: the array is damaged, empty, or holds Python objects.
            OSError: `path` cannot be written.
        """
        self._check_header(name)
        extracted = path.with_name(path.name + ".extracted")
        with self._open(name) as stream, extracted.open("wb") as file:
            shutil.copyfileobj(stream, file, _COPY_BYTES)
        try:
            values = map_array(extracted)
        except ValueError as error:
            raise DataError(f"{self.file}: array {name!r} is damaged: {error}") from error
        native = values.dtype.newbyteorder("=")
        if values.flags.c_contiguous and values.dtype == native:
            extracted.replace(path)
        else:
            # Rows of a Fortran-ordered array are scattered over the whole file, and TensorFlow takes no
            # foreign byte order.
            values = write_array(path, native, values.shape, chunks(values))
            extracted.unlink()
        return SourceArray(self.file, name, values, path)

    def _check_header(self, name: str) -> None:
        """Refuse what cannot be used before gigabytes of it are decompressed."""
        where = f"{self.file}: array {name!r}"
        with self._open(name) as stream:
            shape, dtype = _read_header(stream)
            stated, held = math.prod(shape) * dtype.itemsize, self._members[name].file_size - stream.tell()
        if min(shape, default=1) < 0:
            raise DataError(f"{where} is damaged: its shape is {shape}")
        if stated > held and not dtype.hasobject:
            raise DataError(f"{where} is damaged: it is to have {stated} bytes and has {held}")
        if dtype.hasobject:
            raise DataError(
                f"{where} holds Python objects, which are stored as pickles and never read (allow_pickle)",
                advice="Convert it to numbers or strings: a list of rows of unequal length becomes objects too.",
            )
        if not shape:
            raise DataError(f"{where} is a single value: one row per example is expected")
        if 0 in shape:
            raise DataError(f"{where} is empty: its shape is {shape}")

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._zip.open(self._members[name]) as stream:
                yield stream
        except _DAMAGE as error:
            raise DataError(f"{self.file}: array {name!r} is damaged: {error}") from error


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    reader = _HEADER_READERS.get(version)
    if reader is None:
        # Version 3 exists for field names of structured arrays that are not Latin-1; inputs have no fields.
        raise ValueError(f".npy format version {version} is not supported")
    try:
        shape, _, dtype = reader(stream)
    except Exception as error:  # a header is Python, and fails in all the ways that Python can
        raise ValueError(f"its header cannot be read: {error}") from error
    return shape, dtype
