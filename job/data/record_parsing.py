"""TFRecord files parsed into arrays, in a process of its own: `python -m job.data.record_parsing FOLDER`.

See `job.data.image_decoding` for why. Files are read twice: once to count records and to look at image sizes, once to
write what they hold.
"""

import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from job.child_process import end_with_parent
from job.data.arrays import AnyArray, write_array
from job.data.image_decoding import image_decoder, load_tensorflow
from job.data.image_headers import ImageHeader, read_image_header

REQUEST, ANSWER, OUTPUT = "parsing-request.json", "parsing-answer.json", "parsing-output.txt"
_BATCH = 256
_GZIP_MAGIC = b"\x1f\x8b"
_IMAGE_ENCODINGS = {"png", "jpeg"}
_LONGEST_REASON = 200


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredField(_Message):
    """A feature of each record; see `job.spec.sections.records`."""

    name: str
    encoding: Literal["none", "raw", "png", "jpeg"]
    dtype: str
    shape: tuple[int, ...]

    @property
    def is_image(self) -> bool:
        """Whether it holds an image file."""
        return self.encoding in _IMAGE_ENCODINGS


class RecordShard(_Message):
    """One file, and what messages call it."""

    name: str
    path: Path


class RecordSplit(_Message):
    """The files of one split, and where their inputs and targets go."""

    shards: tuple[RecordShard, ...]
    x: Path
    y: Path


class ParsingRequest(_Message):
    """What to parse."""

    splits: tuple[RecordSplit, ...]
    fields: tuple[StoredField, ...]
    features: tuple[str, ...]
    target: str
    image_size: tuple[int, int] | None
    image_channels: Literal["auto", 1, 3]
    threads: int


class ParsingAnswer(_Message):
    """How it went: a problem, or none and notes for the log."""

    problem: str | None = None
    advice: str | None = None
    notes: tuple[str, ...] = ()


class RecordError(Exception):
    """What is wrong with the files, in the user's words."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class _Surveyed:
    """What the first reading found: records of each split, and the headers of images."""

    rows: tuple[int, ...]
    headers: Counter[ImageHeader]


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
    fields = {field.name: field for field in request.fields}
    surveyed = _survey(request)
    image: Callable[[bytes], AnyArray] | None = None
    shape: tuple[int, ...] = ()
    if surveyed.headers:
        height, width = request.image_size or _common_size(surveyed.headers)
        channels = _channels(request, surveyed.headers)
        image, shape = image_decoder(height, width, channels), (height, width, channels)
        yield f"{surveyed.headers.total()} images of {height} x {width} pixels"
    features = [fields[name] for name in request.features]
    for split, rows in zip(request.splits, surveyed.rows, strict=True):
        targets: list[AnyArray] = []
        with ThreadPoolExecutor(request.threads) as pool:

            def read(batch: "_Batch", pool: ThreadPoolExecutor = pool) -> AnyArray:
                return _inputs(batch, features, image, pool)

            pieces = (read(_collected(batch, request.target, fields, targets)) for batch in _batches(split, fields))
            dtype, row_shape = _row_of(features, shape)
            write_array(split.x, dtype, (rows, *row_shape), pieces)
        target = np.concatenate(targets)
        write_array(split.y, target.dtype, target.shape, [target])


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some records of one file: the values of each feature, and where they are."""

    shard: RecordShard
    first: int
    values: Mapping[str, AnyArray]

    def place(self, offset: int) -> str:
        return f"{self.shard.name}: record {self.first + offset}"


def _collected(batch: _Batch, target: str, fields: Mapping[str, StoredField], into: list[AnyArray]) -> _Batch:
    into.append(_plain(batch, fields[target]))
    return batch


def _survey(request: ParsingRequest) -> _Surveyed:
    fields = {field.name: field for field in request.fields}
    headers: Counter[ImageHeader] = Counter()
    counts = []
    for split in request.splits:
        rows = 0
        for batch in _batches(split, fields):
            rows += len(batch.values[request.target])
            for name in request.features:
                if fields[name].is_image:
                    headers.update(_header(batch, name, offset) for offset in range(len(batch.values[name])))
        if not rows:
            raise RecordError(f"{split.shards[0].name}: there are no records")
        counts.append(rows)
    return _Surveyed(tuple(counts), headers)


def _header(batch: _Batch, name: str, offset: int) -> ImageHeader:
    try:
        return read_image_header(io.BytesIO(batch.values[name][offset]))
    except ValueError as error:
        raise RecordError(f"{batch.place(offset)}: feature {name!r} holds no image: {error}") from error


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


def _batches(split: RecordSplit, fields: Mapping[str, StoredField]) -> Iterator[_Batch]:
    for shard in split.shards:
        first = 0
        for records in _records(shard):
            yield _Batch(shard, first, _examples(shard, first, records, fields))
            first += len(records)


def _records(shard: RecordShard) -> Iterator[list[bytes]]:
    """A file's records, in pieces; their checksums are checked."""
    tf = load_tensorflow()
    try:
        with shard.path.open("rb") as file:
            compression = "GZIP" if file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC else ""
    except OSError as error:
        raise RecordError(f"{shard.name}: cannot be read: {error.strerror or error}") from error
    records: list[bytes] = []
    count = 0
    iterator = tf.data.TFRecordDataset(str(shard.path), compression_type=compression).as_numpy_iterator()
    while True:
        try:
            record = next(iterator, None)
        except tf.errors.OpError as error:
            said = _shortened(error.message)
            raise RecordError(f"{shard.name}: record {count} is damaged, or it is no TFRecord file: {said}") from error
        if record is None:
            break
        records.append(record)
        count += 1
        if len(records) == _BATCH:
            yield records
            records = []
    if records:
        yield records


def _examples(
    shard: RecordShard, first: int, records: Sequence[bytes], fields: Mapping[str, StoredField]
) -> dict[str, AnyArray]:
    tf = load_tensorflow()
    wanted = {
        name: tf.io.FixedLenFeature(
            *(((), tf.string) if field.encoding != "none" else (field.shape, getattr(tf, field.dtype)))
        )
        for name, field in fields.items()
    }
    try:
        parsed = tf.io.parse_example(tf.constant(records), wanted)
    except tf.errors.InvalidArgumentError as error:
        # It says what is wrong, but not in which record.
        for offset, record in enumerate(records):
            try:
                tf.io.parse_single_example(record, wanted)
            except tf.errors.InvalidArgumentError as one:
                said = _shortened(one.message)
                raise RecordError(f"{shard.name}: record {first + offset} is not as data.record says: {said}") from one
        raise RecordError(f"{shard.name}: {_shortened(error.message)}") from error
    return {name: values.numpy() for name, values in parsed.items()}


def _plain(batch: _Batch, field: StoredField) -> AnyArray:
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
                f"{batch.place(offset)}: feature {field.name!r} has {len(data)} bytes; {expected} are expected for "
                f"{field.dtype} of shape {field.shape}"
            )
    joined = np.frombuffer(b"".join(values), dtype=dtype)
    return joined.reshape(len(values), *field.shape).astype(field.dtype)


def _inputs(
    batch: _Batch,
    features: Sequence[StoredField],
    image: Callable[[bytes], AnyArray] | None,
    pool: ThreadPoolExecutor,
) -> AnyArray:
    first = features[0]
    if first.is_image and image is not None:
        return np.stack(list(pool.map(lambda offset: _image(batch, first.name, offset, image), range(_rows(batch)))))
    if len(features) == 1:
        values = _plain(batch, first)
        # A single number per record is a row of one.
        return values if first.shape else values[:, np.newaxis]
    return np.concatenate([_plain(batch, one).reshape(_rows(batch), -1).astype(np.float32) for one in features], axis=1)


def _rows(batch: _Batch) -> int:
    return len(next(iter(batch.values.values())))


def _image(batch: _Batch, name: str, offset: int, decode: Callable[[bytes], AnyArray]) -> AnyArray:
    try:
        return decode(batch.values[name][offset])
    except ValueError as error:
        raise RecordError(f"{batch.place(offset)}: feature {name!r} is a damaged image: {error}") from error


def _row_of(features: Sequence[StoredField], image_shape: tuple[int, ...]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape of a row of inputs."""
    first = features[0]
    if first.is_image:
        return np.dtype(np.uint8), image_shape
    if len(features) == 1:
        return np.dtype(first.dtype), first.shape or (1,)
    return np.dtype(np.float32), (sum(one.shape[0] if one.shape else 1 for one in features),)


def _shortened(message: str) -> str:
    line = message.strip().splitlines()[0].rsplit("}}", 1)[-1].strip()
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
