"""TFRecord files: arrays, images and numbers, shards, compression, and records that are not as the spec says."""

import gzip
import re

import numpy as np
import pytest

from job.data import load_dataset
from job.data.record_parsing import RecordError, parse
from job.data.records import request_for
from job.data.source_files import SourceFile
from job.errors import DataError
from job.spec import DataSpec

ROWS = 30
FIELDS = {
    "pixels": {"encoding": "raw", "dtype": "uint16", "shape": (2, 3)},
    "photo": {"encoding": "png"},
    "sizes": {"dtype": "float32", "shape": (2,)},
    "count": {"dtype": "int64"},
    "label": {"dtype": "int64"},
    "name": {"dtype": "string"},
}
DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(0, 2**16, (ROWS, 2, 3), dtype=np.uint16)
PHOTOS = DRAW.integers(0, 256, (ROWS, 4, 5, 3), dtype=np.uint8)
SIZES = DRAW.normal(size=(ROWS, 2)).astype(np.float32)
NAMES = ["cat", "dög", "fish"]


@pytest.fixture(scope="module")
def tf():
    import tensorflow  # noqa: ICN001, PLC0415 - seconds, for these tests alone

    return tensorflow


@pytest.fixture(scope="module")
def example(tf):
    """The bytes of a row's record; `changes` replace or (None) leave out features."""

    def listed(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))

    def record(row, **changes):
        values = {
            "pixels": PIXELS[row].astype("<u2").tobytes(),
            "photo": tf.io.encode_png(PHOTOS[row]).numpy(),
            "sizes": SIZES[row].tolist(),
            "count": row,
            "label": row % 3,
            "name": NAMES[row % 3].encode(),
            "unread": b"x",
        } | changes
        features = {name: listed(value) for name, value in values.items() if value is not None}
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    return record


@pytest.fixture(scope="module")
def shards(tf, example, tmp_path_factory):
    """All rows in two shards, the second compressed, and beside them a file that is none."""
    folder = tmp_path_factory.mktemp("shards")
    with tf.io.TFRecordWriter(str(folder / "part-0.tfrecord")) as writer:
        for row in range(20):
            writer.write(example(row))
    with tf.io.TFRecordWriter(str(folder / "part-1.tfrecord.gz"), "GZIP") as writer:
        for row in range(20, ROWS):
            writer.write(example(row))
    (folder / "features.json").write_text("{}")
    return folder


def load(source, scratch, **fields):
    spec = {"source": str(source), "format": "tfrecord", "record": FIELDS, "target": "label", **fields}
    return load_dataset(DataSpec.model_validate(spec), seed=0, scratch=scratch)


def refusal(path, folder, features):
    """What is wrong with a file; found in this process, which has TensorFlow already."""
    spec = DataSpec.model_validate(
        {"source": str(path), "format": "tfrecord", "record": FIELDS, "target": "label", "features": features}
    )
    files = {"train": (SourceFile(path, str(path), path.name, is_copy=False),)}
    with pytest.raises(RecordError) as caught:
        list(parse(request_for(spec, files, folder)))
    return str(caught.value)


def all_rows(dataset):
    return np.concatenate([split.x for split in dataset.splits.values()])


def sorted_rows(rows):
    return sorted(row.tobytes() for row in rows)


def test_bytes_are_arrays(shards, tmp_path):
    """A raw feature is an array of its dtype and shape; shards are read with and without compression."""
    dataset = load(shards, tmp_path, features=("pixels",))
    assert all_rows(dataset).dtype == np.uint16
    assert sorted_rows(all_rows(dataset)) == sorted_rows(PIXELS)
    by_pixels = {row.tobytes(): number % 3 for number, row in enumerate(PIXELS)}
    for split in dataset.splits.values():
        assert [by_pixels[row.tobytes()] for row in split.x] == split.y.tolist()
    assert dataset.class_names == ("0", "1", "2")
    assert any("1 files of" in note and "no .tfrecord files" in note for note in dataset.notes)


def test_images_are_decoded_and_texts_are_classes(shards, tmp_path):
    """A png feature is decoded to uint8 pixels; a text target names classes, in any alphabet."""
    dataset = load(shards, tmp_path, features=("photo",), target="name")
    assert sorted_rows(all_rows(dataset)) == sorted_rows(PHOTOS)
    assert dataset.class_names == tuple(NAMES)
    assert f"{ROWS} images of 4 x 5 pixels" in dataset.notes


def test_numbers_are_joined_to_a_row(shards, tmp_path):
    """Several features of numbers become one float32 row, in the order of `features`; a number may be predicted."""
    dataset = load(shards / "part-0.tfrecord", tmp_path, features=("count", "sizes"), target="label", task="regression")
    assert dataset.target.task == "regression"
    expected = np.column_stack([np.arange(20), SIZES[:20]]).astype(np.float32)
    assert sorted_rows(all_rows(dataset)) == sorted_rows(expected)


def test_a_reader_that_hangs_is_not_waited_for(shards, tmp_path, monkeypatch):
    """Some file systems answer nothing at all: the job says so instead of waiting with them."""
    monkeypatch.setattr("job.data.records.reading_patience", lambda _: 0.01)
    with pytest.raises(DataError, match="reading TFRecord files ended with no answer in time"):
        load(shards, tmp_path)


def test_a_record_that_is_wrong_ends_the_data_stage(tf, example, tmp_path):
    """What the parsing process finds is a DataError in the job's own words."""
    path = tmp_path / "rows.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example(0, label=None))
    with pytest.raises(DataError, match=r"rows\.tfrecord: record 0 is not as data\.record says: .*label"):
        load(path, tmp_path, features=("pixels",))


@pytest.mark.parametrize(
    ("changes", "features", "message"),
    [
        ({"label": None}, ("pixels",), r"record 3 is not as data\.record says: .*label"),
        ({"sizes": [1.0]}, ("sizes",), r"record 3 is not as data\.record says: .*sizes"),
        ({"count": 1.5}, ("count",), r"record 3 is not as data\.record says: .*count"),
        ({"pixels": b"abc"}, ("pixels",), r"record 3: feature 'pixels' has 3 bytes; 12 are expected for uint16"),
        ({"photo": b"abc"}, ("photo",), r"record 3: feature 'photo' holds no image: it is neither"),
        (
            {"photo": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\5\0\0\0\4\x08\2\0\0"},
            ("photo",),
            r"record 3: .*damaged image",
        ),
    ],
)
def test_the_record_that_is_wrong_is_named(tf, example, tmp_path, changes, features, message):
    """What a record lacks, or holds otherwise, is an error that names the file and the record."""
    changes = {name: [value] if isinstance(value, float) else value for name, value in changes.items()}
    path = tmp_path / "rows.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in range(5):
            writer.write(example(row, **(changes if row == 3 else {})))
    said = refusal(path, tmp_path, features)
    assert re.search(message, said)
    assert said.startswith(f"{path}: record 3")


@pytest.mark.parametrize("damage", ["cut short", "no records", "another file", "damaged gzip"])
def test_a_file_that_is_damaged_is_named(shards, tmp_path, damage):
    """A file that ends too early, holds nothing, or is something else is named, with the record where it broke."""
    whole = (shards / "part-0.tfrecord").read_bytes()
    path = tmp_path / "rows.tfrecord"
    path.write_bytes(
        {
            "cut short": whole[:-10],
            "no records": b"",
            "another file": b"x,y\n1,2\n" * 20,
            "damaged gzip": gzip.compress(whole)[:-200],
        }[damage]
    )
    said = refusal(path, tmp_path, ("pixels",))
    expected = {
        "cut short": "record 19 is damaged",
        "no records": "there are no records",
        "another file": "record 0 is damaged",
        "damaged gzip": "is damaged",
    }[damage]
    assert expected in said
    assert said.startswith(f"{path}: ")


def test_damaged_images_are_named_together_or_left_out(tf, example, tmp_path):
    """Every record whose image is damaged is named in one message; `skip_damaged` reads the others."""
    broken = {1: b"<html>", 3: tf.io.encode_png(PHOTOS[3]).numpy()[:-60], 7: b""}
    for part in range(2):
        with tf.io.TFRecordWriter(str(tmp_path / f"part-{part}.tfrecord")) as writer:
            for row in range(part * 15, part * 15 + 15):
                writer.write(example(row, **({"photo": broken[row]} if row in broken else {})))
    with pytest.raises(DataError) as caught:
        load(tmp_path, tmp_path / "1", features=("photo",), skip_damaged=2)
    for number, reason in ((1, "holds no image: it is a text"), (3, "is a damaged image"), (7, "it is empty")):
        assert re.search(rf"part-0\.tfrecord: record {number}: feature 'photo' .*{reason}", caught.value.message)
    assert "3 images are damaged" in caught.value.message
    assert "data.skip_damaged: 3" in caught.value.advice
    dataset = load(tmp_path, tmp_path / "2", features=("photo",), skip_damaged=3)
    whole = [row for row in range(ROWS) if row not in broken]
    assert sorted_rows(all_rows(dataset)) == sorted_rows(PHOTOS[whole])
    label_of = {PHOTOS[row].tobytes(): row % 3 for row in whole}
    for split in dataset.splits.values():
        assert [label_of[row.tobytes()] for row in split.x] == split.y.tolist()
    assert any("left out (data.skip_damaged)" in note and "record 3" in note for note in dataset.notes)


def test_images_of_sixteen_bits_keep_their_depth(tf, example, tmp_path):
    """PNG images of 16 bits per channel become uint16 rows, divided by what their training values use."""
    deep = DRAW.integers(0, 4096, (ROWS, 4, 5, 1), dtype=np.uint16)
    with tf.io.TFRecordWriter(str(tmp_path / "rows.tfrecord")) as writer:
        for row in range(ROWS):
            writer.write(example(row, photo=tf.io.encode_png(deep[row]).numpy()))
    dataset = load(tmp_path / "rows.tfrecord", tmp_path, features=("photo",))
    assert all_rows(dataset).dtype == np.uint16
    assert sorted_rows(all_rows(dataset)) == sorted_rows(deep)
    assert dataset.preparation.divisor == 4095
