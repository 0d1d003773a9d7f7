"""TFRecord files: records of `tf.train.Example`, read as arrays by what the spec says of them."""

from contextlib import ExitStack
from pathlib import Path

from job.child_process import last_words, reading_patience, run_module
from job.data.arrays import SourceArray, map_array
from job.data.image_decoding import DECODING_ENVIRONMENT
from job.data.pins import ObjectPins
from job.data.record_batches import RecordShard, RecordSplit, StoredField
from job.data.record_parsing import (
    ANSWER,
    OUTPUT,
    REQUEST,
    ParsingAnswer,
    ParsingRequest,
)
from job.data.source_files import SourceFile, copies_in, source_files
from job.data.source_rows import LabelledRows, Sources
from job.data.split_folders import files_of_splits, holder
from job.errors import DataError
from job.resources import available_resources
from job.spec import DataSpec
from job.spec.file_checks import features_of


def read_records(spec: DataSpec, folder: Path, pins: ObjectPins) -> Sources:
    """Read TFRecord files, compressed with gzip or not, as arrays; shards in the order of their names.

    One feature is the inputs as it is; several are joined to one row of float32.

    Args:
        spec: what to read: `record`, `features`, `target`, and of images `image_size` and `image_channels`.
        folder: where to.
        pins: which versions to read; told of what is read.

    Raises:
        DataError: a file or record is damaged, or holds other than the spec says; names the file and the record.
        AccessError, StoreError: the object store refuses or fails, or there is too little room on the disk.
        OSError: `folder` cannot be written.
    """
    notes: list[str] = []
    with ExitStack() as opened:

        def files_of(location: str, field: str) -> tuple[SourceFile, ...]:
            copies = opened.enter_context(copies_in(folder, field))
            return source_files(location, field=field, suffixes=(), folder=copies, pins=pins)

        found = files_of_splits(spec, files_of, _is_shard, notes)
        splits = {split: _shards(files, notes) for split, files in found.items()}
        answer = _parse(spec, splits, folder)
    notes += answer.notes
    rows = {split: _rows(spec, split, files, folder) for split, files in splits.items()}
    return Sources(rows["train"], rows.get("validation"), rows.get("test"), tuple(notes))


def _is_shard(file: SourceFile) -> bool:
    return ".tfrecord" in file.parts[-1].lower()


def _shards(files: tuple[SourceFile, ...], notes: list[str]) -> tuple[SourceFile, ...]:
    if len(files) == 1:
        # It may be called anything.
        return files
    shards = tuple(filter(_is_shard, files))
    if len(shards) < len(files):
        notes.append(f"{len(files) - len(shards)} files of {holder(files)} are no .tfrecord files and are not used")
    if not shards:
        raise DataError(f"{holder(files)}: there are no .tfrecord files")
    return shards


def _parse(spec: DataSpec, splits: dict[str, tuple[SourceFile, ...]], folder: Path) -> ParsingAnswer:
    """Have the records parsed by a process of its own."""
    (folder / REQUEST).write_text(request_for(spec, splits, folder).model_dump_json(), encoding="utf-8")
    answer, output = folder / ANSWER, folder / OUTPUT
    answer.unlink(missing_ok=True)
    patience = reading_patience(file.path for files in splits.values() for file in files)
    code = run_module(
        "job.data.record_parsing", folder, output=output, environment=DECODING_ENVIRONMENT, timeout=patience
    )
    if not answer.exists():
        raise DataError(f"reading TFRecord files ended with {code}: {last_words(output)}")
    found = ParsingAnswer.model_validate_json(answer.read_bytes())
    if found.problem is not None:
        raise DataError(found.problem, advice=found.advice)
    return found


def request_for(spec: DataSpec, splits: dict[str, tuple[SourceFile, ...]], folder: Path) -> ParsingRequest:
    """What to parse of these files; arrays go to `folder`."""
    if spec.target is None:
        raise DataError("data.target must name the feature to predict")
    return ParsingRequest(
        splits=tuple(
            RecordSplit(
                shards=tuple(RecordShard(name=file.shown, path=file.path) for file in files),
                x=_x(folder, split),
                y=_y(folder, split),
            )
            for split, files in splits.items()
        ),
        fields=tuple(
            StoredField(name=name, encoding=field.encoding, dtype=field.dtype or "uint8", shape=field.shape)
            for name, field in spec.record.items()
            if name == spec.target or name in features_of(spec)
        ),
        features=features_of(spec),
        target=spec.target,
        image_size=spec.image_size,
        image_channels=spec.image_channels,
        skip_damaged=spec.skip_damaged,
        threads=available_resources().cores,
    )


def _rows(spec: DataSpec, split: str, files: tuple[SourceFile, ...], folder: Path) -> LabelledRows:
    place = files[0].shown if len(files) == 1 else f"{files[0].shown} and {len(files) - 1} more"
    x, y = _x(folder, split), _y(folder, split)
    return LabelledRows(
        SourceArray(place, ", ".join(features_of(spec)), map_array(x), x),
        SourceArray(place, str(spec.target), map_array(y), y),
    )


def _x(folder: Path, split: str) -> Path:
    return folder / f"records-x-{split}.npy"


def _y(folder: Path, split: str) -> Path:
    return folder / f"records-y-{split}.npy"
