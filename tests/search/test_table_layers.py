"""A table's preparation in NumPy, as Keras layers, reloaded, as a SavedModel and in ONNX: one and the same."""

import math
import subprocess
import sys

import hypothesis.strategies as st
import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from hypothesis import given, settings

from job.data.tables.farmhash import fingerprint64
from job.data.tables.preparation import NumberColumn, StringColumn, TablePreparation, input_names
from job.models import publishable_model, signature_of, table_layers

TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=80)
NUMBERS = st.one_of(st.floats(-1e6, 1e6, width=32), st.just(math.nan))
BATCH = 7


@st.composite
def preparations(draw):
    count = draw(st.integers(0, 3))
    numbers = tuple(
        NumberColumn(
            name=f"n{number}",
            input=f"n{number}",
            type=draw(st.sampled_from(["number", "boolean", "date"])),
            fill=draw(st.floats(-1e3, 1e3)),
            mean=draw(st.floats(-1e3, 1e3)),
            scale=draw(st.floats(1e-3, 1e3)),
            indicated=draw(st.booleans()),
        )
        for number in range(count)
    )
    strings = []
    for number in range(draw(st.integers(0 if count else 1, 3))):
        vocabulary = tuple(draw(st.lists(TEXTS, min_size=1, max_size=5, unique=True)))
        bins = draw(st.sampled_from([0, 0, 3, 8]))
        strings.append(
            StringColumn(
                f"s{number}",
                f"s{number}",
                () if bins else vocabulary,
                unknown=draw(st.booleans()) and not bins,
                bins=bins,
            )
        )
    return TablePreparation(numbers, tuple(strings))


@st.composite
def tables(draw):
    """A preparation and raw rows for it: known, unknown and missing values."""
    preparation = draw(preparations())
    rows = {
        column.input: np.array(draw(st.lists(NUMBERS, min_size=BATCH, max_size=BATCH)), np.float32)
        for column in preparation.numbers
    }
    for column in preparation.strings:
        known = st.sampled_from(column.vocabulary) if column.vocabulary else st.nothing()
        values = st.lists(st.one_of(known, TEXTS, st.just("")), min_size=BATCH, max_size=BATCH)
        rows[column.input] = np.array(draw(values), np.str_)
    return preparation, rows


def as_tensors(rows):
    return {name: tf.reshape(tf.constant(values), (-1, 1)) for name, values in rows.items()}


@settings(max_examples=40, deadline=None)
@given(tables())
def test_the_layers_prepare_as_training_did(table):
    """NumPy and Keras agree on raw rows with strings, missing values and unknown categories."""
    preparation, rows = table
    inputs, prepared = table_layers(preparation)
    model = keras.Model(inputs, prepared)
    expected = preparation.prepare(rows)
    assert expected.shape == (BATCH, preparation.width)
    np.testing.assert_allclose(model(as_tensors(rows)).numpy(), expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=200).filter(lambda text: b"\0" not in text), min_size=1, max_size=10))
def test_hashes_are_those_of_tensorflow(texts):
    """The hash without TensorFlow is the one that Keras's layer uses, for texts of every length."""
    bins = 2**61
    found = tf.strings.to_hash_bucket_fast(tf.constant(texts), bins).numpy().tolist()
    assert [fingerprint64(text) % bins for text in texts] == found


COLUMNS = (
    NumberColumn("Age", "age", "number", fill=40.0, mean=38.5, scale=1 / 12.25, indicated=True),
    NumberColumn("member", "member", "boolean", fill=0.25, mean=0.25, scale=2.0, indicated=False),
    NumberColumn("since", "since", "date", fill=18000.0, mean=18000.5, scale=0.01, indicated=True),
)
CITIES = StringColumn("City", "city", ("", "Köln", "[UNK]"), unknown=False)
COLOURS = StringColumn("self", "self_", ("red", "green"), unknown=True)
PREPARATION = TablePreparation(COLUMNS, (CITIES, COLOURS))
ROWS = {
    "age": np.array([17.0, math.nan, 99.5, 40.0], np.float32),
    "member": np.array([1.0, 0.0, math.nan, 1.0], np.float32),
    "since": np.array([18123.5, 17000.0, math.nan, 0.0], np.float32),
    "city": np.array(["Köln", "", "[UNK]", "nowhere"]),
    "self_": np.array(["red", "blue", "", "green"]),
}


@pytest.fixture(scope="module")
def published():
    core = keras.Sequential([keras.Input((PREPARATION.width,)), keras.layers.Dense(3)])
    core.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    core.layers[-1].set_weights([np.random.default_rng(1).normal(size=(PREPARATION.width, 3)), np.arange(3.0)])
    return core, publishable_model(core, PREPARATION)


def test_a_published_table_model_loads_without_our_code(published, tmp_path):
    """It reloads in safe mode, and predicts on raw rows what the core does on prepared ones."""
    core, model = published
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, tensorflow as tf\n"
        f"model = keras.saving.load_model({str(tmp_path / 'model.keras')!r}, safe_mode=True)\n"
        "rows = {'age': [[17.0]], 'member': [[1.0]], 'since': [[18123.5]], 'city': [['Köln']], 'self_': [['red']]}\n"
        "print(*model.predict({name: tf.constant(value) for name, value in rows.items()}, verbose=0)[0])\n"
        "assert not any(name.split('.')[0] == 'job' for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = core(PREPARATION.prepare(ROWS)).numpy()
    np.testing.assert_allclose([float(word) for word in done.stdout.split()], expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model(as_tensors(ROWS)).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_a_published_table_model_answers_alike_as_saved_model_and_in_onnx(published, tmp_path):
    """Through a SavedModel and tf2onnx it predicts the same to 1e-5, its inputs keeping their names."""
    _, model = published
    expected = model(as_tensors(ROWS)).numpy()
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    (answer,) = served(**as_tensors(ROWS)).values()
    np.testing.assert_allclose(answer.numpy(), expected, atol=1e-5)
    onnx_file = tmp_path / "model.onnx"
    convert = ["-m", "tf2onnx.convert", "--opset", "18", "--saved-model", tmp_path / "saved", "--output", onnx_file]
    done = subprocess.run([sys.executable, *convert], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    session = onnxruntime.InferenceSession(onnx_file)
    assert {given.name for given in session.get_inputs()} == set(ROWS)
    feed = {
        name: values[:, None].astype(object) if values.dtype.kind == "U" else values[:, None]
        for name, values in ROWS.items()
    }
    np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-5)


def test_the_signature_names_every_column(published):
    """The manifest's signature has an input for each column, with its dtype."""
    _, model = published
    signature = signature_of(model, ("a", "b", "c"), "logits")
    found = {given.name: (given.shape, given.dtype) for given in signature.inputs}
    assert found == {
        name: ((None, 1), "string" if values.dtype.kind == "U" else "float32") for name, values in ROWS.items()
    }


def test_input_names_are_taken_by_every_format():
    """Names are small, plain, different from each other and from what Keras and TensorFlow keep to themselves."""
    columns = ["Sepal Length (cm)", "sepal_length__cm_", "2nd", "class", "self", "ümlaut", "_x", "mlp", "prepare_x", ""]
    names = input_names(columns)
    assert list(names) == columns
    assert len({name.lower() for name in names.values()}) == len(columns)
    assert names["Sepal Length (cm)"] == "sepal_length__cm_"
    assert names["sepal_length__cm_"] == "sepal_length__cm__2"
    assert names["class"] == "class_"
    assert names["self"] == "self_"
    assert names["2nd"] == "column_2nd"
    inputs = [keras.Input((1,), name=name) for name in names.values()]
    assert [tensor.name for tensor in inputs] == list(names.values())
