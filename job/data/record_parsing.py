"""TFRecord files parsed into arrays, in a process of its own: `python -m job.data.record_parsing FOLDER`.

See `job.data.image_decoding` for why. Files are read twice: once to count records and to look at image sizes, once to
write what they hold.
"""

import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from job.child_process import end_with_parent
from job.data.arrays import AnyArray, write_array
from job.data.image_decoding import ImageDecoder, PixelType, depth_note, load_tensorflow, pixel_type
from job.data.image_headers import DEEP_BITS, ImageHeader, read_image_header
from job.data.record_batches import (
    Batch,
    Message,
    Place,
    RecordError,
    RecordSplit,
    StoredField,
    batches,
    shown,
)

REQUEST, ANSWER, OUTPUT = "parsing-request.json", "parsing-answer.json", "parsing-output.txt"
_SHOWN = 10


class ParsingRequest(Message):
    """What to parse."""

    splits: tuple[RecordSplit, ...]
    fields: tuple[StoredField, ...]
    features: tuple[str, ...]
    target: str
    image_size: tuple[int, int] | None
    image_channels: Literal["auto", 1, 3]
    skip_damaged: int
    threads: int


class ParsingAnswer(Message):
    """How it went: a problem, or none and notes for the log."""

    problem: str | None = None
    advice: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Surveyed:
    """What the first reading found.

    Attributes:
        rows: the records of each split.
        headers: of the images that have one, and how many have it.
        damaged: what is wrong with those that have none.
    """

    rows: tuple[int, ...]
    headers: Counter[ImageHeader]
    damaged: dict[Place, str]


def _main(folder: Path) -> None:
    end_with_parent()
    request = ParsingRequest.model_validate_json((folder / REQUEST).read_bytes())
    tf = load_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    try:
        answer = ParsingAnswer(notes=tuple(parse(request)))
    except RecordError as error:
        answer = ParsingAnswer(problem=str(error), advice=error.advice)
    (folder / ANSWER).write_text(answer.model_dump_json(), encoding="utf-8")


def parse(request: ParsingRequest) -> Iterator[str]:
    """Write all arrays; what the log should say. Raises RecordError. Imports TensorFlow."""
    surveyed = _survey(request)
    damaged = surveyed.damaged
    if damaged and not surveyed.headers:
        raise _too_many(damaged)
    images = _decoder(request, surveyed.headers)
    while True:
        # Those that the survey or the last writing found.
        left_out = frozenset(damaged)
        _write(request, surveyed.rows, images, left_out, damaged)
        if len(damaged) > request.skip_damaged:
            raise _too_many(damaged)
        if len(damaged) == len(left_out):
            break
    if images is not None:
        yield from _notes_on_images(images, surveyed.headers)
    if damaged:
        yield f"{_listed(damaged)}; left out (data.skip_damaged)"


def _write(
    request: ParsingRequest,
    rows: Sequence[int],
    images: "_Images | None",
    left_out: frozenset[Place],
    damaged: dict[Place, str],
) -> None:
    """Write the arrays of every split without some records; of images that turn out to be damaged `damaged` is told."""
    fields = {field.name: field for field in request.fields}
    features = [fields[name] for name in request.features]
    for split, count in zip(request.splits, rows, strict=True):
        targets: list[AnyArray] = []
        with ThreadPoolExecutor(request.threads) as pool:

            def read(batch: Batch, pool: ThreadPoolExecutor = pool) -> AnyArray:
                return _inputs(batch, features, images, pool, damaged)

            found = batches(split.shards, fields, left_out)
            pieces = (read(_collected(batch, request.target, fields, targets)) for batch in found)
            dtype, row_shape = _row_of(features, images)
            names = {shard.name for shard in split.shards}
            whole = count - sum(name in names for name, _ in left_out)
            if not whole:
                raise RecordError(f"every image of {split.shards[0].name} is damaged")
            write_array(split.x, dtype, (whole, *row_shape), pieces)
        target = np.concatenate(targets)
        write_array(split.y, target.dtype, target.shape, [target])


def _too_many(damaged: Mapping[Place, str]) -> RecordError:
    advice = f"Replace them, or write the records without them; data.skip_damaged: {len(damaged)} leaves them out."
    return RecordError(_listed(damaged), advice)


def _listed(damaged: Mapping[Place, str]) -> str:
    found = [f"{shown(place)}: {damaged[place]}" for place in sorted(damaged)]
    more = f"; {len(found)} images are damaged" if len(found) > 1 else ""
    return "; ".join(found[:_SHOWN]) + more


def _collected(batch: Batch, target: str, fields: Mapping[str, StoredField], into: list[AnyArray]) -> Batch:
    into.append(_plain(batch, fields[target]))
    return batch


def _survey(request: ParsingRequest) -> _Surveyed:
    fields = {field.name: field for field in request.fields}
    headers: Counter[ImageHeader] = Counter()
    damaged: dict[Place, str] = {}
    counts = []
    for split in request.splits:
        rows = 0
        for batch in batches(split.shards, fields):
            rows += batch.rows
            for name in request.features:
                for offset in range(batch.rows if fields[name].is_image else 0):
                    try:
                        headers[read_image_header(io.BytesIO(batch.values[name][offset]))] += 1
                    except ValueError as error:
                        damaged[batch.place(offset)] = f"feature {name!r} holds no image: {error}"
        if not rows:
            raise RecordError(f"{split.shards[0].name}: there are no records")
        counts.append(rows)
    return _Surveyed(tuple(counts), headers, damaged)


@dataclass(frozen=True, slots=True)
class _Images:
    """How images become rows: what decodes them, and a row's shape and dtype."""

    decode: ImageDecoder
    shape: tuple[int, ...]
    dtype: PixelType


def _decoder(request: ParsingRequest, headers: Counter[ImageHeader]) -> _Images | None:
    if not headers:
        return None
    height, width = request.image_size or _common_size(headers)
    channels, dtype = _channels(request, headers), pixel_type(_deep(headers))
    return _Images(ImageDecoder(height, width, channels, dtype), (height, width, channels), dtype)


def _deep(headers: Counter[ImageHeader]) -> int:
    return sum(count for header, count in headers.items() if header.bits == DEEP_BITS)


def _notes_on_images(images: _Images, headers: Counter[ImageHeader]) -> Iterator[str]:
    yield f"{headers.total()} images of {images.shape[0]} x {images.shape[1]} pixels"
    try:
        note = depth_note(_deep(headers), headers.total(), images.decode.brightest)
    except ValueError as error:
        raise RecordError(str(error), "Bring all images to one depth.") from error
    if note is not None:
        yield note


def _common_size(headers: Counter[ImageHeader]) -> tuple[int, int]:
    sizes = Counter[tuple[int, int]]()
    for header, count in headers.items():
        sizes[header.height, header.width] += count
    if len(sizes) == 1:
        return next(iter(sizes))
    (height, width), _ = sizes.most_common(1)[0]
    raise RecordError(
        f"the images have {len(sizes)} different sizes: data.image_size must say which one they are brought to",
        f"data.image_size: [{height}, {width}] is the most frequent one.",
    )


def _channels(request: ParsingRequest, headers: Counter[ImageHeader]) -> int:
    if request.image_channels != "auto":
        return request.image_channels
    return max(header.channels for header in headers)


def _plain(batch: Batch, field: StoredField) -> AnyArray:
    """The values of a feature that is no image: shape (records, *field.shape)."""
    values = batch.values[field.name]
    if field.dtype == "string":
        return np.array(values.reshape(-1).tolist(), dtype=np.bytes_).reshape(values.shape)
    if field.encoding == "none":
        return values
    dtype = np.dtype(field.dtype).newbyteorder("<")
    expected = int(np.prod(field.shape, dtype=np.int64)) * dtype.itemsize
    for offset, data in enumerate(values):
        if len(data) != expected:
            raise RecordError(
                f"{shown(batch.place(offset))}: feature {field.name!r} has {len(data)} bytes; {expected} are expected "
                f"for {field.dtype} of shape {field.shape}"
            )
    joined = np.frombuffer(b"".join(values), dtype=dtype)
    return joined.reshape(len(values), *field.shape).astype(field.dtype)


def _inputs(
    batch: Batch,
    features: Sequence[StoredField],
    images: _Images | None,
    pool: ThreadPoolExecutor,
    damaged: dict[Place, str],
) -> AnyArray:
    first = features[0]
    if first.is_image and images is not None:

        def image(offset: int) -> AnyArray:
            try:
                return images.decode(batch.values[first.name][offset])
            except ValueError as error:
                damaged[batch.place(offset)] = f"feature {first.name!r} is a damaged image: {error}"
                return np.zeros(images.shape, images.dtype)

        return np.stack(list(pool.map(image, range(batch.rows))))
    if len(features) == 1:
        values = _plain(batch, first)
        # A single number per record is a row of one.
        return values if first.shape else values[:, np.newaxis]
    return np.concatenate([_plain(batch, one).reshape(batch.rows, -1).astype(np.float32) for one in features], axis=1)


def _row_of(features: Sequence[StoredField], images: _Images | None) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape of a row of inputs."""
    first = features[0]
    if images is not None:
        return np.dtype(images.dtype), images.shape
    if len(features) == 1:
        return np.dtype(first.dtype), first.shape or (1,)
    return np.dtype(np.float32), (sum(one.shape[0] if one.shape else 1 for one in features),)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
