"""Images decoded and resized into one array, in a process of its own: `python -m job.data.image_decoding FOLDER`.

TensorFlow's decoders would start TensorFlow in the job's own process before its threads are set, and a damaged file may
bring a decoder down.
"""

import importlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from job.child_process import end_with_parent, last_words, run_module
from job.data.arrays import write_array
from job.data.image_headers import NoImageError, read_image_header
from job.errors import DataError

Image = NDArray[np.uint8]

_REQUEST, _ANSWER, _OUTPUT = "decoding-request.json", "decoding-answer.json", "decoding-output.txt"
# Images that are decoded before they are written: what is in memory at a time.
_BATCH = 256
# So many damaged files are named; a folder that is damaged all through needs no longer list.
_MOST_BAD = 1000
_LONGEST_REASON = 200


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageArray(_Message):
    """Image files that become one `.npy` file of shape (files, height, width, channels), uint8."""

    target: Path
    files: tuple[Path, ...]


class _Request(_Message):
    arrays: tuple[ImageArray, ...]
    height: int
    width: int
    channels: int
    threads: int


class DamagedImage(_Message):
    """A file that could not be decoded, and what the decoder says."""

    file: Path
    reason: str


class _Answer(_Message):
    damaged: tuple[DamagedImage, ...]


def decode_images(
    arrays: Sequence[ImageArray], *, size: tuple[int, int], channels: int, threads: int, folder: Path
) -> tuple[DamagedImage, ...]:
    """Decode image files, resize them, and write them as arrays.

    Images of another size are resized with bilinear interpolation, over all pixels that a new one covers (antialias),
    and rounded. The same files give the same bytes, whatever the number of threads.

    Args:
        arrays: what to decode, and where to.
        size: height and width.
        channels: 1 or 3.
        threads: how many images are decoded at a time.
        folder: for what goes between the processes.

    Returns:
        The files that are damaged; the arrays are of no use unless there are none.

    Raises:
        DataError: decoding ended otherwise.
    """
    request = _Request(arrays=tuple(arrays), height=size[0], width=size[1], channels=channels, threads=threads)
    (folder / _REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
    answer, output = folder / _ANSWER, folder / _OUTPUT
    answer.unlink(missing_ok=True)
    code = run_module("job.data.image_decoding", folder, output=output, environment=DECODING_ENVIRONMENT)
    if code != 0 or not answer.exists():
        raise DataError(f"decoding images ended with {code}: {last_words(output)}")
    return _Answer.model_validate_json(answer.read_bytes()).damaged


# Decoding needs no GPU; TensorFlow's messages would hide the error that matters.
DECODING_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def load_tensorflow() -> Any:  # noqa: ANN401 - TensorFlow has no annotations
    """Import TensorFlow; by name, because nothing of `job.data` may import it into the job's own process."""
    return importlib.import_module("tensorflow")


def image_decoder(height: int, width: int, channels: int) -> Callable[[bytes], Image]:
    """A function from a file's bytes to an image of shape (height, width, channels). Imports TensorFlow.

    The function may be called by several threads. It raises ValueError for bytes that it cannot decode.
    """
    tf = load_tensorflow()

    def resized(image: Any) -> Any:  # noqa: ANN401 - likewise
        def smaller_or_larger() -> Any:  # noqa: ANN401 - likewise
            exact = tf.image.resize(image, (height, width), method="bilinear", antialias=True)
            return tf.cast(tf.clip_by_value(tf.round(exact), 0.0, 255.0), tf.uint8)

        is_of_size = tf.reduce_all(tf.equal(tf.shape(image), (height, width, channels)))
        return tf.cond(is_of_size, lambda: image, smaller_or_larger)

    signature = [tf.TensorSpec((), tf.string)]
    decoders = {
        "png": tf.function(lambda data: resized(tf.io.decode_png(data, channels=channels)), input_signature=signature),
        # The accurate transform: the fast one differs between builds of the library.
        "jpeg": tf.function(
            lambda data: resized(tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")),
            input_signature=signature,
        ),
    }

    def decode(data: bytes) -> Image:
        kind = read_image_header(io.BytesIO(data)).kind
        try:
            image: Image = decoders[kind](tf.constant(data)).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_first_line(error.message)) from error
        return image

    return decode


def _first_line(text: str) -> str:
    """What TensorFlow says, without the operation that says it."""
    line = text.strip().splitlines()[0].removeprefix("{{function_node").strip()
    return (line.rsplit("}}", 1)[-1].strip() or text)[:_LONGEST_REASON]


def _main(folder: Path) -> None:
    end_with_parent()
    request = _Request.model_validate_json((folder / _REQUEST).read_bytes())
    tf = load_tensorflow()
    # The threads here decode images; one operation has nothing to share between threads of its own.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    decode = image_decoder(request.height, request.width, request.channels)
    damaged: list[DamagedImage] = []
    shape = (request.height, request.width, request.channels)
    with ThreadPoolExecutor(request.threads) as pool:
        for array in request.arrays:
            pieces = _pieces(array.files, decode, shape, pool, damaged)
            write_array(array.target, np.dtype(np.uint8), (len(array.files), *shape), pieces)
    (folder / _ANSWER).write_text(_Answer(damaged=tuple(damaged)).model_dump_json(), encoding="utf-8")


def _pieces(
    files: Sequence[Path],
    decode: Callable[[bytes], Image],
    shape: tuple[int, ...],
    pool: ThreadPoolExecutor,
    damaged: list[DamagedImage],
) -> Iterator[Image]:
    def one(file: Path) -> Image | DamagedImage:
        try:
            return decode(file.read_bytes())
        except (ValueError, NoImageError, OSError) as error:
            return DamagedImage(file=file, reason=str(error))

    for start in range(0, len(files), _BATCH):
        batch = np.zeros((len(files[start : start + _BATCH]), *shape), np.uint8)
        if len(damaged) < _MOST_BAD:
            for place, found in enumerate(pool.map(one, files[start : start + _BATCH])):
                if isinstance(found, DamagedImage):
                    damaged.append(found)
                else:
                    batch[place] = found
        yield batch


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
