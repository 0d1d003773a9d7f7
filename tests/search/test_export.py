"""The published model in other formats: each predicts what Keras does, in its own runtime, from raw rows."""

import subprocess
import sys

import keras
import numpy as np

from job.data import Rescaling
from job.errors import SpecError
from job.export.model import export_model
from job.export.refusal import refused
from job.export.saved_model import layer_names
from job.export.wanted import formats_of
from job.models import publishable_model

ALL = ("saved_model", "onnx", "tflite")
LARGEST_DIFFERENCE = 1e-5

# Each format as its users load it, in a process that has nothing of this package.
LOADERS = {
    "saved_model": """
import tensorflow as tf
serve = tf.saved_model.load(path).signatures["serving_default"]
found = {name: value.numpy() for name, value in serve(**{n: tf.constant(v) for n, v in rows.items()}).items()}
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(path)
given = {n: v.astype(object) if v.dtype.kind == "U" else v for n, v in rows.items()}
found = dict(zip([one.name for one in session.get_outputs()], session.run(None, given)))
assert "tensorflow" not in sys.modules
""",
    "tflite": """
import tensorflow as tf
interpreter = tf.lite.Interpreter(path)
found = interpreter.get_signature_runner("serving_default")(**rows)
""",
}


def predicted_elsewhere(exported, export, rows, tmp_path):
    """What a format predicts for rows by name, in a process of its own."""
    name, path = exported.files(export)[0]
    if export.format == "saved_model":
        path = exported.folder / "saved_model"
        assert name.startswith("model/saved_model/")
    np.savez(tmp_path / "rows.npz", **rows)
    code = (
        "import sys, numpy as np\npath = sys.argv[1]\nrows = dict(np.load(sys.argv[2]))\n"
        f"{LOADERS[export.format]}\nassert 'job' not in sys.modules\nnp.savez(sys.argv[3], **found)\n"
    )
    command = [sys.executable, "-c", code, path, tmp_path / "rows.npz", tmp_path / "found.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(np.load(tmp_path / "found.npz"))


def table():
    """A model of a table's columns by name, with missing values and a vocabulary; its rows, some of them odd."""
    age = keras.Input((1,), name="age")
    city = keras.Input((1,), name="hours per-week", dtype="string")
    known = keras.ops.where(keras.ops.isnan(age), 40.0, age)
    columns = [
        keras.layers.Normalization(mean=[40.0], variance=[100.0])(known),
        keras.layers.StringLookup(vocabulary=["few", "many"], output_mode="one_hot")(city),
    ]
    hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Concatenate()(columns))
    outputs = {"price": keras.layers.Dense(1)(hidden), "age": keras.layers.Dense(3)(hidden)}
    rows = {
        "age": np.array([31, np.nan, 1e4, 0], np.float32),
        "hours per-week": np.array(["few", "", "näver séen", "many"]),
    }
    return keras.Model({"age": age, "hours per-week": city}, outputs), rows


def images(precision):
    """A small convolutional net behind the layers that publication puts before it, and its uint8 rows."""
    shape = (8, 8, 3)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    core = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )
    keras.config.set_dtype_policy(policy)
    core.compile(loss="mse")
    rows = np.random.default_rng(0).integers(0, 256, (5, *shape), dtype=np.uint8)
    return publishable_model(core, Rescaling(255.0, shape, "uint8")), rows


def test_a_table_predicts_alike_in_every_format(tmp_path):
    """Strings, missing values and unknown ones give Keras's predictions in each runtime, by names that it takes."""
    model, rows = table()
    exported = export_model(model, ALL, rows, tmp_path / "exports")
    assert not exported.refusals
    assert [export.format for export in exported.exports] == list(ALL)
    names = {"age": rows["age"][:, None], "hours_per_week": rows["hours per-week"][:, None]}
    raw = {"age": names["age"], "hours per-week": names["hours_per_week"]}
    expected = model({name: keras.ops.convert_to_tensor(values) for name, values in raw.items()})
    for export in exported.exports:
        assert {one.name: one.dtype for one in export.inputs} == {"age": "float32", "hours_per_week": "string"}
        assert export.difference <= LARGEST_DIFFERENCE
        assert export.rows == 4
        found = predicted_elsewhere(exported, export, names, tmp_path)
        # An output that is called like an input would be one tensor with it in ONNX.
        assert np.allclose(found["price"], expected["price"], atol=LARGEST_DIFFERENCE)
        assert np.allclose(found["age_2"], expected["age"], atol=LARGEST_DIFFERENCE)


def test_images_of_a_model_of_mixed_precision_are_taken_as_bytes(tmp_path):
    """uint8 rows go in; ONNX and TFLite, whose runtimes lack 16-bit operations, compute in float32."""
    model, rows = images("mixed_bfloat16")
    exported = export_model(model, ALL, rows, tmp_path)
    assert not exported.refusals
    for export in exported.exports:
        assert [(one.name, one.dtype, one.shape) for one in export.inputs] == [("rows", "uint8", (None, 8, 8, 3))]
        assert [(one.name, one.dtype) for one in export.outputs] == [("output_0", "float32")]
        assert export.difference <= (2**-5 if export.format == "saved_model" else LARGEST_DIFFERENCE)
    core = model.layers[-2]
    assert core.layers[1].compute_dtype == "bfloat16", "the published model computes as it was trained to"


def test_what_a_format_lacks_is_named_with_its_layer(tmp_path):
    """A layer without a counterpart is refused by name for each format that lacks it; others are made all the same."""
    word = keras.Input((1,), name="word", dtype="string")
    hashed = keras.layers.Hashing(8, output_mode="one_hot", name="hash_words")(word)
    model = keras.Model({"word": word}, keras.layers.Dense(2)(hashed))
    exported = export_model(model, ALL, {"word": np.array(["a", ""])}, tmp_path)
    assert [export.format for export in exported.exports] == ["saved_model"]
    error = refused(exported.refusals, ("tflite", "onnx"), layer_names(model), "tried before the search")
    assert isinstance(error, SpecError)
    assert [(one.path, one.value) for one in error.problems] == [("export[1]", "onnx"), ("export[0]", "tflite")]
    needed = ", which layer hash_words (Hashing) needs (tried before the search)"
    assert [one.message for one in error.problems] == [
        f"ONNX lacks operation StringToHashBucketFast{needed}",
        f"TFLite lacks operation StringToHashBucketFast(tensor<?x!tf_type.string>){needed}",
    ]


@keras.saving.register_keras_serializable("tests")
class Other(keras.layers.Layer):
    """Answers otherwise the first time that it is called as a graph: a conversion that is wrong."""

    def call(self, inputs):
        return inputs if not keras.src.backend.tensorflow.core.tf.inside_function() else inputs + 0.01


def test_a_model_with_classes_of_its_own_gets_a_saved_model_unasked():
    """Where `model.keras` needs the user's code to load, a SavedModel, which does not, is always published."""
    rows = keras.Input((2,), name="rows")
    own, plain = keras.Model(rows, Other()(rows)), keras.Model(rows, keras.layers.Dense(1)(rows))
    assert formats_of((), own) == ("saved_model",)
    assert formats_of(("onnx", "saved_model"), own) == ("onnx", "saved_model")
    assert formats_of((), plain) == ()


def test_another_prediction_is_a_refusal(tmp_path):
    """A file that predicts other than Keras is refused with the difference, not published."""
    rows = keras.Input((2,), name="rows")
    exported = export_model(keras.Model(rows, Other()(rows)), ALL, np.ones((3, 2), np.float32), tmp_path)
    assert not exported.exports
    assert [one.format for one in exported.refusals] == list(ALL)
    assert all("predictions differ from the trained model's by 0.01" in one.reason for one in exported.refusals)


QUIETLY = """
import sys
from pathlib import Path
import numpy as np
from job.logs import configure
from job.training.device import prepare_process
configure("info")
prepare_process(threads=1)
import keras
from job.export.model import export_model
rows = keras.Input((2,))
model = keras.Model(rows, keras.layers.Dense(2)(rows))
done = export_model(model, ("saved_model", "onnx", "tflite"), np.ones((3, 2), "float32"), Path(sys.argv[1]))
assert len(done.exports) == 3
assert not {"onnx", "tf2onnx", "onnxruntime"} & set(sys.modules)
print("[]")
"""


def test_nothing_is_printed(tmp_path):
    """Converters speak on both streams; the job's own standard output holds events alone."""
    done = subprocess.run([sys.executable, "-c", QUIETLY, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert not done.stderr
