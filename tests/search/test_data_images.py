"""Folders of images: class folders, splits, sizes, channels, and damaged files."""

import io
import re
import shutil
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.data import ObjectPins, load_dataset
from job.data.image_headers import ImageHeader, NoImageError, read_image_header
from job.errors import DataError
from job.spec import DataSpec

CLASSES = ("cat", "dog")
PER_CLASS = 6


@pytest.fixture(scope="session")
def encode():
    """Files of images, as TensorFlow writes them; by the format's name."""
    import tensorflow as tf  # noqa: PLC0415 - seconds, for these tests alone

    writers = {"png": tf.io.encode_png, "jpg": lambda image: tf.io.encode_jpeg(image, quality=95)}
    return lambda image, kind: writers[kind](image).numpy()


def image_of(number, height=8, width=6, channels=3):
    return np.random.default_rng(number).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, encode):
    """Two classes of six PNG images each, all of one size, with files around that are none."""
    root = tmp_path_factory.mktemp("photos") / "photos"
    for place, name in enumerate(CLASSES):
        (root / name / "deeper").mkdir(parents=True)
        for number in range(PER_CLASS):
            folder = root / name / "deeper" if number == 0 else root / name
            (folder / f"{number} ä.png").write_bytes(encode(image_of(10 * place + number), "png"))
    (root / ".DS_Store").write_bytes(b"hidden")
    (root / "cat" / "notes.txt").write_text("no image")
    return root


def load(source, scratch, pins=None, **fields):
    spec = DataSpec(source=str(source), format="images", test_fraction=0.2, validation_fraction=0.2, **fields)
    return load_dataset(spec, seed=0, scratch=scratch, pins=pins)


@pytest.fixture(scope="module")
def loaded(photos, tmp_path_factory):
    """The photos, read once for all tests: every reading starts TensorFlow anew."""
    return load(photos, tmp_path_factory.mktemp("scratch"))


def by_bytes(*splits):
    """Each image's class name by its bytes."""
    return {image.tobytes(): name for x, names in splits for image, name in zip(x, names, strict=True)}


def test_folders_are_classes_and_pixels_are_kept(photos, loaded):
    """Images of one size become uint8 rows, bit for bit; class names are the folders', sorted."""
    dataset = loaded
    assert dataset.class_names == CLASSES
    assert dataset.rows == 2 * PER_CLASS
    found = {}
    for split in dataset.splits.values():
        assert split.x.dtype == np.uint8
        assert split.x.shape[1:] == (8, 6, 3)
        found |= by_bytes((split.x, [CLASSES[code] for code in split.y]))
    expected = {
        image_of(10 * place + n).tobytes(): name for place, name in enumerate(CLASSES) for n in range(PER_CLASS)
    }
    assert found == expected
    assert dataset.preparation.divisor == 255.0
    assert f"1 files that are no PNG or JPEG are not used, such as {photos}/cat/notes.txt" in dataset.notes
    assert "12 images of 8 x 6 pixels, 0 of them resized" in dataset.notes


def test_splits_of_images_that_are_resized(tmp_path, encode):
    """`train`, `val` and `test` at the top are the splits; sizes and colours are brought to one, as documented.

    Bilinear over all pixels that a new one covers, rounded; grey ones repeat their value.
    """
    import tensorflow as tf  # noqa: PLC0415 - as above

    images = {"a/1.png": image_of(1, 20, 30), "b/2.jpg": image_of(2, 3, 5), "b/3.png": image_of(3, 10, 12, channels=1)}
    expected = {}
    for name, image in images.items():
        path = tmp_path / "set/train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = encode(image, name[-3:])
        path.write_bytes(data)
        if name.endswith("jpg"):
            decoded = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE")
        else:
            decoded = tf.io.decode_png(data, channels=3)
        resized = tf.round(tf.image.resize(decoded, (10, 12), antialias=True))
        expected[tf.cast(resized, tf.uint8).numpy().tobytes()] = name[0]
    for split in ("val", "test"):
        shutil.copytree(tmp_path / "set/train", tmp_path / "set" / split)
    (tmp_path / "set/test/b/more.png").write_bytes(encode(image_of(99, 10, 12), "png"))
    with pytest.raises(DataError, match=r"3 different sizes, from 3 x 5 to 20 x 30 .*data\.image_size must say"):
        load(tmp_path / "set", tmp_path / "1")
    dataset = load(tmp_path / "set", tmp_path / "2", image_size=(10, 12))
    assert {name: split.rows for name, split in dataset.splits.items()} == {"train": 3, "validation": 3, "test": 4}
    assert by_bytes((dataset.validation.x, ["ab"[code] for code in dataset.validation.y])) == expected
    assert image_of(99, 10, 12).tobytes() in by_bytes((dataset.test.x, dataset.test.y))
    assert "10 images of 10 x 12 pixels, 6 of them resized" in dataset.notes
    assert "3 of 10 images are grey and become coloured (data.image_channels)" in dataset.notes
    assert any("data.test_fraction 0.2 is not used" in note for note in dataset.notes)


def test_grey_images_have_one_channel_among_themselves(tmp_path, encode):
    """`image_channels: auto` keeps a folder of grey images grey."""
    for name in CLASSES:
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            data = encode(image_of(number + 50 * (name == "dog"), channels=1), "png")
            (tmp_path / "set" / name / f"{number}.png").write_bytes(data)
    dataset = load(tmp_path / "set", tmp_path / "1")
    assert dataset.train.x.shape[1:] == (8, 6, 1)
    assert image_of(50, channels=1).tobytes() in by_bytes(*((split.x, split.y) for split in dataset.splits.values()))


def test_every_damaged_image_is_named(photos, tmp_path, encode):
    """Files that are no images, and images that are cut short, are named all together."""
    shutil.copytree(photos, tmp_path / "set")
    (tmp_path / "set/cat/1 ä.png").write_bytes(b"no image at all")
    (tmp_path / "set/dog/empty.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load(tmp_path / "set", tmp_path / "1")
    place = tmp_path / "set"
    assert caught.value.message == (
        f"2 images are damaged: {place}/cat/1 ä.png (it is neither a PNG nor a JPEG file); "
        f"{place}/dog/empty.jpg (it is empty)"
    )
    (tmp_path / "set/cat/1 ä.png").write_bytes(encode(image_of(1), "png")[:-60])
    (tmp_path / "set/dog/empty.jpg").write_bytes(encode(image_of(2), "jpg")[:-60])
    with pytest.raises(DataError) as caught:
        load(tmp_path / "set", tmp_path / "2")
    assert caught.value.message.startswith(f"2 images are damaged: {place}/cat/1 ä.png (")
    assert f"{place}/dog/empty.jpg (" in caught.value.message


def test_damage_of_every_kind_is_named_at_once_or_left_out(photos, tmp_path, encode):
    """What headers tell and what decoders find are named together; `skip_damaged` reads the rest, by its content."""
    shutil.copytree(photos, tmp_path / "set")
    broken = {
        "cat/empty.jpg": (b"", "it is empty"),
        "cat/page.jpg": (b"<html>404</html>" * 9, "it is a text, such as a web page"),
        "dog/anim.png": (b"GIF89a" + bytes(40), "it is a GIF file"),
        "dog/new.jpg": (b"RIFF\1\0\0\0WEBP" + bytes(40), "it is a WebP file"),
        "dog/short.jpg": (encode(image_of(2), "jpg")[:-60], "its JPEG data is damaged or cut short"),
        "dog/short.png": (encode(image_of(1), "png")[:-60], "its PNG data is damaged or cut short"),
    }
    for name, (data, _) in broken.items():
        (tmp_path / "set" / name).write_bytes(data)
    (tmp_path / "set/dog/misnamed.jpg").write_bytes(encode(image_of(77), "png"))
    with pytest.raises(DataError) as caught:
        load(tmp_path / "set", tmp_path / "1", skip_damaged=5)
    named = "; ".join(f"{tmp_path}/set/{name} ({reason}" for name, (_, reason) in broken.items())
    assert [part.split(";")[0].rstrip(")") for part in named.split("; ")] == [
        re.sub("; PNG or JPEG is expected.*", "", part).rstrip(")")
        for part in re.split(r"(?<=\)); ", caught.value.message.split(": ", 1)[1].split(", more than")[0])
    ]
    assert "more than data.skip_damaged 5 allows" in caught.value.message
    assert "data.skip_damaged: 6" in caught.value.advice
    dataset = load(tmp_path / "set", tmp_path / "2", skip_damaged=6)
    assert dataset.rows == 2 * PER_CLASS + 1
    found = by_bytes(*((split.x, [CLASSES[code] for code in split.y]) for split in dataset.splits.values()))
    assert found[image_of(77).tobytes()] == "dog"
    assert f"1 images are of the other format than their names say, such as {tmp_path}/set/dog/misnamed.jpg" in (
        dataset.notes
    )
    assert any(note.startswith("6 images are damaged: ") and "left out" in note for note in dataset.notes)
    for name in broken:
        (tmp_path / "set" / name).unlink()
    assert load(tmp_path / "set", tmp_path / "3").fingerprint == dataset.fingerprint


def write_deep(root, images):
    """A PNG file of 16 bits per channel, or of 8, for each image by its name."""
    import tensorflow as tf  # noqa: PLC0415 - as above

    for name, image in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        data = tf.io.encode_jpeg(image) if name.endswith("jpg") else tf.io.encode_png(image)
        (root / name).write_bytes(data.numpy())


def deep_images(most):
    draw = np.random.default_rng(7)
    return {
        f"{name}/{number}.png": draw.integers(0, most + 1, (4, 5, 1), dtype=np.uint16)
        for name in CLASSES
        for number in range(PER_CLASS)
    }


def test_sixteen_bits_are_kept(tmp_path):
    """Rows of PNG files of 16 bits are uint16, bit for bit; cameras of 12 bits leave the upper ones empty."""
    images = deep_images(4095)
    write_deep(tmp_path / "set", images)
    dataset = load(tmp_path / "set", tmp_path / "1")
    assert dataset.train.x.dtype == np.uint16
    rows = np.concatenate([split.x for split in dataset.splits.values()])
    assert sorted(row.tobytes() for row in rows) == sorted(image.tobytes() for image in images.values())
    assert dataset.preparation.divisor == 4095
    assert dataset.prepared_train.max() > 0.9
    assert "12 of 12 images have 16 bits per channel: rows are uint16" in dataset.notes


def test_mixed_depths_are_brought_to_one_or_refused(tmp_path):
    """White of 8 bits is white of 16; beside images that use 12 of 16 bits nobody knows how bright it is."""
    white = np.full((4, 5, 1), 255, np.uint8)
    write_deep(tmp_path / "set", deep_images(65535) | {"cat/white.png": white, "dog/white.jpg": white})
    dataset = load(tmp_path / "set", tmp_path / "1")
    rows = np.concatenate([split.x for split in dataset.splits.values()])
    assert rows.dtype == np.uint16
    assert sum(int(row.min()) == 65535 for row in rows) == 2
    assert any("those of 8 bits are widened (times 257)" in note for note in dataset.notes)
    write_deep(tmp_path / "dim", deep_images(4095) | {"cat/white.png": white})
    with pytest.raises(DataError, match=r"12 of 13 images have 16 bits per channel and use 12 of them"):
        load(tmp_path / "dim", tmp_path / "2")


def exif_of(orientation, order):
    """An APP1 segment that says how a photo is turned."""
    tiff = struct.pack(f"{order}2sHI", b"MM" if order == ">" else b"II", 42, 8)
    entries = struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff + entries
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_that_is_turned_is_noticed(encode, orientation, order):
    """The orientation that a camera notes is read, in either byte order, whatever else is in the file."""
    data = encode(image_of(1), "jpg")
    turned = data[:2] + exif_of(orientation, order) + data[2:]
    header = read_image_header(io.BytesIO(turned))
    assert (header.height, header.width, header.is_turned) == (8, 6, orientation != 1)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["1.png", "cat/2.png"], r"1\.png lies in no class folder"),
        (["cat/1.gif"], "there are no PNG or JPEG files"),
        (["cat/1.png", "dog/1.webp"], "folder 'dog' holds no PNG or JPEG file"),
        ([], "there is no file in this folder"),
        (["_hidden/1.png"], "there is no file in this folder"),
    ],
)
def test_what_is_no_class_folder_is_refused(tmp_path, files, message):
    """What lies where no class folder is expected is named, before anything is decoded."""
    (tmp_path / "set").mkdir()
    for name in files:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "set", tmp_path / "scratch")


def test_a_prefix_is_fetched_and_pinned(photos, loaded, tmp_path, bucket, s3_admin):
    """Objects under a prefix are the folder's files; a resumed run reads the versions that it started with."""
    s3_admin.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for path in sorted(photos.rglob("*.*")):
        s3_admin.upload_file(str(path), bucket, f"sets/photos/{path.relative_to(photos).as_posix()}")
    url = f"s3://{bucket}/sets/photos/"
    pins = ObjectPins()
    first = load(url, tmp_path / "1", pins)
    assert first.fingerprint == loaded.fingerprint
    pin = pins.read["source/cat/1 ä.png"]
    assert pin.location == f"{url}cat/1 ä.png"
    assert pin.version is not None
    assert not list((tmp_path / "1").rglob("*-files"))
    # Replaced, added, deleted: none of it is read by a run that goes on.
    s3_admin.upload_file(str(photos / "dog/1 ä.png"), bucket, "sets/photos/cat/1 ä.png")
    s3_admin.upload_file(str(photos / "dog/1 ä.png"), bucket, "sets/photos/cat/new.png")
    s3_admin.delete_object(Bucket=bucket, Key="sets/photos/cat/2 ä.png")
    assert load(url, tmp_path / "3", ObjectPins(pins.read)).fingerprint == first.fingerprint


def test_a_decoder_that_hangs_is_not_waited_for(photos, tmp_path, monkeypatch):
    """Some file systems answer nothing at all: the job says so instead of waiting with them."""
    monkeypatch.setattr("job.data.image_decoding.reading_patience", lambda _: 0.01)
    with pytest.raises(DataError, match="decoding images ended with no answer in time"):
        load(photos, tmp_path)


def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(tmp_path):
    """30,000 x 30,000 pixels in a small file: no decoder is asked, and the reason is the true one."""
    for name, height in (("a/huge.png", 30_000), ("b/small.png", 30)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 30_000, height, 8, 2, 0, 0, 0))
    with pytest.raises(DataError, match=r"huge\.png \(it has 30000 x 30000 pixels, more than the 200,000,000 that"):
        load(tmp_path / "photos", tmp_path / "scratch")


def test_a_prefix_costs_a_request_for_each_image(photos, tmp_path, bucket, s3_admin, faulty_network):
    """The listing says what each is: nothing more is asked of the server."""
    for path in sorted(photos.rglob("*.*")):
        s3_admin.upload_file(str(path), bucket, f"photos/{path.relative_to(photos).as_posix()}")
    pins = ObjectPins()
    load(f"s3://{bucket}/photos/", tmp_path / "1", pins)
    assert len(pins.read) > 5
    assert faulty_network.counts.total() == len(pins.read) + 1


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3, 4]), st.sampled_from(["png", "jpg"]))
def test_headers_say_what_decoders_find(encode, height, width, channels, kind):
    """Size and channels are known from the first bytes, whatever wrote the file."""
    channels = min(channels, 3) if kind == "jpg" else channels
    data = encode(np.zeros((height, width, channels), np.uint8), kind)
    expected = ImageHeader("png" if kind == "png" else "jpeg", height, width, 1 if channels == 1 else 3)
    assert read_image_header(io.BytesIO(data)) == expected


@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x10"]), st.binary(max_size=60))
def test_any_bytes_are_a_header_or_none(start, rest):
    """Bytes that are no image's never end in anything but that answer."""
    try:
        header = read_image_header(io.BytesIO(start + rest))
    except NoImageError:
        return
    assert header.height > 0
    assert header.width > 0
