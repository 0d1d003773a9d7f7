"""What a spec says of images, TFRecord files and exports: each mistake at its place, before anything is read."""

import pytest

from job.errors import SpecError
from job.spec.validation import validate_document

RECORD = {"image": {"encoding": "png"}, "sizes": {"dtype": "float32", "shape": [2]}, "label": {"dtype": "int64"}}
IMAGES = {"source": "photos", "format": "images"}
TFRECORD = {"source": "rows.tfrecord", "record": RECORD, "features": ["image"], "target": "label"}


def test_images_and_records_are_described():
    """Sizes, channels and records are taken as they are written."""
    data = validate_document({"data": IMAGES | {"image_size": [32, 48], "image_channels": 1}}).data
    assert (data.image_size, data.image_channels) == ((32, 48), 1)
    spec = validate_document({"data": TFRECORD | {"image_size": [8, 8]}, "export": ["onnx", "tflite"]})
    assert spec.data.record["sizes"].shape == (2,)
    assert spec.export == ("onnx", "tflite")


def changed(name, **fields):
    return TFRECORD | {"record": RECORD | {name: RECORD.get(name, {}) | fields}}


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"export": ["onnx", "onnx"]}, "export[1]", "onnx is named twice"),
        ({"export": ["pickle"]}, "export[0]", "expected saved_model, onnx or tflite"),
        ({"data": {"image_size": [8, 8]}}, "data.image_size", "needs images"),
        ({"data": {"skip_damaged": 1}}, "data.skip_damaged", "needs images"),
        ({"data": IMAGES | {"skip_damaged": -1}}, "data.skip_damaged", "at least 0"),
        ({"data": {"split_folders": False}}, "data.split_folders", "needs data.source to be a folder or prefix"),
        ({"data": IMAGES | {"split_folders": "maybe"}}, "data.split_folders", "expected auto or true or false"),
        ({"data": IMAGES | {"image_size": 8}}, "data.image_size", "expected a list of two whole numbers of at least 1"),
        ({"data": IMAGES | {"image_size": [8, 8, 3]}}, "data.image_size", "expected a list of two whole numbers"),
        ({"data": IMAGES | {"image_channels": 2}}, "data.image_channels", "expected auto, 1 or 3"),
        ({"data": IMAGES | {"record": RECORD}}, "data.record", "needs data.source to be a .tfrecord file"),
        ({"data": IMAGES | {"target": "label"}}, "data.target", "needs data.source to be a table"),
        ({"data": {"source": "rows.tfrecord"}}, "data.record", "expected what each record holds"),
        ({"data": TFRECORD | {"target": None}}, "data.target", "expected one of image, sizes or label"),
        ({"data": TFRECORD | {"target": "labl"}}, "data.target", "data.record has no 'labl'; did you mean label?"),
        ({"data": TFRECORD | {"target": "image", "features": ["sizes"]}}, "data.target", "and this is an image"),
        ({"data": TFRECORD | {"features": ["imag"]}}, "data.features[0]", "did you mean image?"),
        ({"data": TFRECORD | {"features": ["label"]}}, "data.features[0]", "is data.target already"),
        ({"data": TFRECORD | {"features": ["image", "sizes"]}}, "data.features[0]", "expected to stand alone"),
        ({"data": changed("image", dtype="int64")}, "data.record.image.dtype", "expected uint8"),
        ({"data": changed("image", shape=[8, 8])}, "data.record.image.shape", "is said by data.image_size"),
        ({"data": changed("sizes", dtype="uint8")}, "data.record.sizes.dtype", "or encoding: raw"),
        ({"data": changed("sizes", dtype=None)}, "data.record.sizes.dtype", "missing"),
        ({"data": changed("sizes", encoding="raw", dtype="string")}, "data.record.sizes.dtype", "of the numbers"),
        ({"data": changed("sizes", shape=[0])}, "data.record.sizes.shape[0]", "of at least 1"),
        (
            {"data": TFRECORD | {"record": RECORD | {"t": {"dtype": "string"}}, "features": ["t"]}},
            "data.features[0]",
            "te",
        ),
        ({"data": TFRECORD | {"encoding": "hashing"}}, "data.encoding", "needs data.source to be a table"),
    ],
)
def test_a_mistake_is_found_at_its_place(document, path, message):
    """One problem, at the field's path, in words."""
    with pytest.raises(SpecError) as caught:
        validate_document(document)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message
