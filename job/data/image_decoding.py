"""Images decoded and resized into one array, in a process of its own: `python -m job.data.image_decoding FOLDER`.

TensorFlow's decoders would start TensorFlow in the job's own process before its threads are set, and a damaged file may
bring a decoder down.
"""

import importlib
import io
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from job.child_process import end_with_parent, last_words, reading_patience, run_module
from job.data.arrays import write_array
from job.data.image_headers import DEEP_BITS, read_image_header
from job.errors import DataError

Image = NDArray[np.unsignedinteger[Any]]
PixelType = Literal["uint8", "uint16"]

_REQUEST, _ANSWER, _OUTPUT = "decoding-request.json", "decoding-answer.json", "decoding-output.txt"
# Images that are decoded before they are written: what is in memory at a time.
_BATCH = 256
# White of 8 bits becomes white of 16.
_WIDENED = 257
# Images of 16 bits that stay below use the lower bits alone, as cameras of 10, 12 and 14 bits write them.
_LEAST_BRIGHT = 2**14


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageArray(_Message):
    """Image files that become one `.npy` file of shape (files, height, width, channels)."""

    target: Path
    files: tuple[Path, ...]


class _Request(_Message):
    arrays: tuple[ImageArray, ...]
    height: int
    width: int
    channels: int
    dtype: PixelType
    threads: int


class DamagedImage(_Message):
    """A file that could not be decoded, and what the decoder says."""

    file: Path
    reason: str


class DecodedImages(_Message):
    """What became of image files.

    Attributes:
        damaged: the files that could not be decoded; the arrays are of no use unless there are none.
        brightest: the greatest value in images of 16 bits.
    """

    damaged: tuple[DamagedImage, ...]
    brightest: int


def decode_images(  # noqa: PLR0913 - what is decoded, into what, and where
    arrays: Sequence[ImageArray],
    *,
    size: tuple[int, int],
    channels: int,
    dtype: PixelType,
    threads: int,
    folder: Path,
) -> DecodedImages:
    """Decode image files, resize them, and write them as arrays.

    Images of another size are resized with bilinear interpolation, over all pixels that a new one covers (antialias),
    and rounded. The same files give the same bytes, whatever the number of threads.

    Args:
        arrays: what to decode, and where to.
        size: height and width.
        channels: 1 or 3.
        dtype: of the arrays; as uint16, images of 8 bits are widened, and as uint8 those of 16 lose their lower bits.
        threads: how many images are decoded at a time.
        folder: for what goes between the processes.

    Raises:
        DataError: decoding ended otherwise.
    """
    request = _Request(
        arrays=tuple(arrays), height=size[0], width=size[1], channels=channels, dtype=dtype, threads=threads
    )
    (folder / _REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
    answer, output = folder / _ANSWER, folder / _OUTPUT
    answer.unlink(missing_ok=True)
    patience = reading_patience(file for array in arrays for file in array.files)
    code = run_module(
        "job.data.image_decoding", folder, output=output, environment=DECODING_ENVIRONMENT, timeout=patience
    )
    if code != 0 or not answer.exists():
        raise DataError(f"decoding images ended with {code}: {last_words(output)}")
    return DecodedImages.model_validate_json(answer.read_bytes())


# Decoding needs no GPU; TensorFlow's messages would hide the error that matters.
DECODING_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def load_tensorflow() -> Any:  # noqa: ANN401 - TensorFlow has no annotations
    """Import TensorFlow; by name, because nothing of `job.data` may import it into the job's own process."""
    return importlib.import_module("tensorflow")


class ImageDecoder:
    """A function from a file's bytes to an image of shape (height, width, channels). Imports TensorFlow.

    It may be called by several threads.

    Attributes:
        brightest: the greatest value so far in images of 16 bits.
    """

    def __init__(self, height: int, width: int, channels: int, dtype: PixelType) -> None:
        self.brightest = 0
        self._lock = threading.Lock()
        self._tf = load_tensorflow()
        self._size, self._channels, self._dtype = (height, width), channels, self._tf.as_dtype(dtype)
        signature = [self._tf.TensorSpec((), self._tf.string)]
        self._decoders = {
            name: self._tf.function(decode, input_signature=signature)
            for name, decode in (("png", self._png), ("jpeg", self._jpeg), ("inks", self._inks))
        }

    def __call__(self, data: bytes) -> Image:
        """Decode; raises ValueError for bytes that cannot be."""
        header = read_image_header(io.BytesIO(data))
        # The decoder makes colours of inks, but not grey.
        kind = "inks" if header.is_of_inks and self._channels == 1 else header.kind
        try:
            image: Image = self._decoders[kind](self._tf.constant(data)).numpy()
        except self._tf.errors.InvalidArgumentError as error:
            # What TensorFlow says names its own operations, and nothing of the file.
            raise ValueError(f"its {header.kind.upper()} data is damaged or cut short") from error
        if header.bits == DEEP_BITS:
            with self._lock:
                self.brightest = max(self.brightest, int(image.max()))
        return image

    def _png(self, data: Any) -> Any:  # noqa: ANN401 - TensorFlow has no annotations
        return self._resized(self._tf.io.decode_png(data, channels=self._channels, dtype=self._dtype))

    def _jpeg(self, data: Any) -> Any:  # noqa: ANN401 - likewise
        return self._resized(self._widened(self._eight_bits(data, self._channels)))

    def _inks(self, data: Any) -> Any:  # noqa: ANN401 - likewise
        return self._resized(self._widened(self._tf.image.rgb_to_grayscale(self._eight_bits(data, 3))))

    def _eight_bits(self, data: Any, channels: int) -> Any:  # noqa: ANN401 - likewise
        # The accurate transform: the fast one differs between builds of the library.
        return self._tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")

    def _widened(self, image: Any) -> Any:  # noqa: ANN401 - likewise
        return image if self._dtype == self._tf.uint8 else self._tf.cast(image, self._dtype) * _WIDENED

    def _resized(self, image: Any) -> Any:  # noqa: ANN401 - likewise
        tf = self._tf

        def smaller_or_larger() -> Any:  # noqa: ANN401 - likewise
            exact = tf.image.resize(image, self._size, method="bilinear", antialias=True)
            return tf.cast(tf.clip_by_value(tf.round(exact), 0.0, float(self._dtype.max)), self._dtype)

        is_of_size = tf.reduce_all(tf.equal(tf.shape(image), (*self._size, self._channels)))
        return tf.cond(is_of_size, lambda: image, smaller_or_larger)


def pixel_type(deep: int) -> PixelType:
    """Return the dtype that holds all images, of which so many have 16 bits per channel."""
    return "uint16" if deep else "uint8"


def depth_note(deep: int, count: int, brightest: int) -> str | None:
    """Return what the log should say of images of 16 bits; None where there are none.

    Args:
        deep: how many images have 16 bits per channel.
        count: how many images there are.
        brightest: the greatest value in those of 16 bits.

    Raises:
        ValueError: images of 8 bits are among them, and cannot be brought to the same brightness.
    """
    if not deep:
        return None
    found = f"{deep} of {count} images have 16 bits per channel"
    if deep == count:
        return f"{found}: rows are uint16"
    if brightest < _LEAST_BRIGHT:
        raise ValueError(
            f"{found} and use {max(brightest.bit_length(), 1)} of them, with values to {brightest}; how bright they "
            "are beside images of 8 bits cannot be told"
        )
    return f"{found}: rows are uint16, and those of 8 bits are widened (times {_WIDENED})"


def _main(folder: Path) -> None:
    end_with_parent()
    request = _Request.model_validate_json((folder / _REQUEST).read_bytes())
    tf = load_tensorflow()
    # The threads here decode images; one operation has nothing to share between threads of its own.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    decode = ImageDecoder(request.height, request.width, request.channels, request.dtype)
    damaged: list[DamagedImage] = []
    shape = (request.height, request.width, request.channels)
    with ThreadPoolExecutor(request.threads) as pool:
        for array in request.arrays:
            pieces = (
                _batch(array.files[start : start + _BATCH], decode, np.zeros(shape, request.dtype), pool, damaged)
                for start in range(0, len(array.files), _BATCH)
            )
            write_array(array.target, np.dtype(request.dtype), (len(array.files), *shape), pieces)
    answer = DecodedImages(damaged=tuple(damaged), brightest=decode.brightest)
    (folder / _ANSWER).write_text(answer.model_dump_json(), encoding="utf-8")


def _batch(
    files: Sequence[Path], decode: ImageDecoder, blank: Image, pool: ThreadPoolExecutor, damaged: list[DamagedImage]
) -> Image:
    def one(file: Path) -> Image:
        try:
            return decode(file.read_bytes())
        except (ValueError, OSError) as error:
            damaged.append(DamagedImage(file=file, reason=str(error)))
            return blank

    return np.stack(list(pool.map(one, files)))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
