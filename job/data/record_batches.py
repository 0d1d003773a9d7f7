"""Records of TFRecord files, read and parsed batch by batch. Imports TensorFlow when called."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from job.data.arrays import AnyArray
from job.data.image_decoding import load_tensorflow

# A record: its file's name, and its number in it.
Place = tuple[str, int]

_BATCH = 256
_GZIP_MAGIC = b"\x1f\x8b"
_IMAGE_ENCODINGS = {"png", "jpeg"}
_LONGEST_REASON = 200


class Message(BaseModel):
    """What goes between the job and the process that parses."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredField(Message):
    """A feature of each record; see `job.spec.sections.records`."""

    name: str
    encoding: Literal["none", "raw", "png", "jpeg"]
    dtype: str
    shape: tuple[int, ...]

    @property
    def is_image(self) -> bool:
        """Whether it holds an image file."""
        return self.encoding in _IMAGE_ENCODINGS


class RecordShard(Message):
    """One file, and what messages call it."""

    name: str
    path: Path


class RecordSplit(Message):
    """The files of one split, and where their inputs and targets go."""

    shards: tuple[RecordShard, ...]
    x: Path
    y: Path


class RecordError(Exception):
    """What is wrong with the files, in the user's words."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of one file.

    Attributes:
        numbers: which records of the file they are, from 0.
        values: of each feature, by name.
    """

    shard: RecordShard
    numbers: Sequence[int]
    values: Mapping[str, AnyArray]

    @property
    def rows(self) -> int:
        """How many records there are."""
        return len(self.numbers)

    def place(self, offset: int) -> Place:
        """Where a record is, by its position in the batch."""
        return self.shard.name, self.numbers[offset]


def shown(place: Place) -> str:
    """Return what messages call a record."""
    return f"{place[0]}: record {place[1]}"


def batches(
    shards: Sequence[RecordShard], fields: Mapping[str, StoredField], left_out: Collection[Place] = ()
) -> Iterator[Batch]:
    """Read the records of files in their order, without those that are left out; raises RecordError."""
    for shard in shards:
        first = 0
        for records in _records(shard):
            kept = {
                number: record for number, record in enumerate(records, first) if (shard.name, number) not in left_out
            }
            if kept:
                numbers = tuple(kept)
                yield Batch(shard, numbers, _examples(shard, numbers, tuple(kept.values()), fields))
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
    shard: RecordShard, numbers: Sequence[int], records: Sequence[bytes], fields: Mapping[str, StoredField]
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
        for number, record in zip(numbers, records, strict=True):
            try:
                tf.io.parse_single_example(record, wanted)
            except tf.errors.InvalidArgumentError as one:
                said = _shortened(one.message)
                raise RecordError(f"{shard.name}: record {number} is not as data.record says: {said}") from one
        raise RecordError(f"{shard.name}: {_shortened(error.message)}") from error
    return {name: values.numpy() for name, values in parsed.items()}


def _shortened(message: str) -> str:
    line = message.strip().splitlines()[0].rsplit("}}", 1)[-1].strip()
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
