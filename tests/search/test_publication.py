"""What is published takes rows as they are in the source, and predicts what the trained core does."""

import json
import logging
import zipfile

import keras
import numpy as np
import pytest

from job.data import Rescaling
from job.models import publishable_model, signature_of
from job.models.builders import MlpHyperModel
from job.target import Target
from job.training.epochs import CompiledEpochs, DeviceRows, epoch_order
from job.training.trial import build_model

ROWS, SHAPE, CLASSES = 60, (4, 4), 3

SOURCES = [
    pytest.param(("uint8", 255.0), id="bytes"),
    pytest.param(("uint8", None), id="bytes as they are"),
    pytest.param(("uint16", 4095.0), id="pixels of 12 bits"),
    pytest.param(("float64", 16.0), id="wide floats"),
    pytest.param(("float64", None), id="wide floats as they are"),
    pytest.param(("float32", 3.0), id="floats"),
    pytest.param(("float16", None), id="narrow floats"),
    pytest.param(("bool", None), id="booleans"),
    pytest.param(("int64", 100.0), id="whole numbers"),
]


def rows_of(dtype):
    values = np.random.default_rng(2).uniform(0, 250, (ROWS, *SHAPE))
    return (values > 125) if dtype == "bool" else values.astype(dtype)


def trained_core(raw, preparation, units=32):
    """A core after one epoch on prepared rows, so that its weights are not those of initialisation."""
    hypermodel = MlpHyperModel({}, input_shape=SHAPE, target=Target("classification", tuple(map(str, range(CLASSES)))))
    core = build_model(hypermodel, {"units": units, "learning_rate": 0.01}, 5)
    rows = DeviceRows.place(preparation.prepare(raw), np.arange(ROWS) % CLASSES)
    CompiledEpochs(core, rows, None, 32).train(epoch_order(0, 0, ROWS))
    return core


@pytest.fixture(params=SOURCES)
def published(request):
    """Raw rows, the core's predictions on them prepared, and the model to publish."""
    dtype, divisor = request.param
    preparation = Rescaling(divisor, SHAPE, dtype)
    raw = rows_of(dtype)
    core = trained_core(raw, preparation)
    return raw, preparation, core, publishable_model(core, preparation)


def test_raw_rows_predict_what_prepared_rows_do(published):
    """On the source's own rows the published model predicts bit for bit what the core does on prepared ones."""
    raw, preparation, core, model = published
    prepared = preparation.prepare(raw)
    assert np.array_equal(model(raw).numpy(), core(prepared).numpy())
    assert np.array_equal(model.predict(raw, verbose=0), core.predict(prepared, verbose=0))
    assert np.ptp(model(raw).numpy()) > 0


def test_loads_in_bare_keras_and_evaluates(published, tmp_path, caplog):
    """The saved model loads with safe_mode, without a warning, predicts and evaluates as before, nothing compiled."""
    raw, preparation, core, model = published
    y = np.arange(ROWS) % CLASSES
    path = tmp_path / "model.keras"
    with caplog.at_level(logging.WARNING):
        model.save(path)
        loaded = keras.saving.load_model(path, safe_mode=True)
    assert caplog.records == []
    assert np.array_equal(loaded.predict(raw, verbose=0), core.predict(preparation.prepare(raw), verbose=0))
    scores = loaded.evaluate(raw, y, verbose=0, return_dict=True)
    assert scores == pytest.approx(core.evaluate(preparation.prepare(raw), y, verbose=0, return_dict=True), rel=1e-6)
    assert set(scores) == {"loss", "accuracy"}


def test_the_file_names_keras_objects_only(tmp_path):
    """Every class in the saved configuration is Keras's own, so that no code of ours is needed to load it."""
    preparation = Rescaling(255.0, SHAPE, "uint8")
    path = tmp_path / "model.keras"
    publishable_model(trained_core(rows_of("uint8"), preparation), preparation).save(path)
    with zipfile.ZipFile(path) as archive:
        configuration = json.loads(archive.read("config.json"))
    modules = set(modules_in(configuration))
    assert modules
    assert all(module == "keras" or module.startswith(("keras.", "builtins")) for module in modules), modules


def modules_in(node):
    """The `module` of every object in a Keras configuration."""
    if isinstance(node, dict):
        if node.get("module") is not None:
            yield node["module"]
        for value in node.values():
            yield from modules_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from modules_in(value)


def test_the_published_model_has_no_optimizer_state(tmp_path):
    """The file holds the weights and not Adam's moments, which would triple it."""
    preparation = Rescaling(255.0, SHAPE, "uint8")
    core = trained_core(rows_of("uint8"), preparation, units=2048)
    publishable_model(core, preparation).save(tmp_path / "published.keras")
    core.save(tmp_path / "core.keras")
    published, whole = ((tmp_path / f"{name}.keras").stat().st_size for name in ("published", "core"))
    assert published < whole / 2
    loaded = keras.saving.load_model(tmp_path / "published.keras", safe_mode=True)
    assert [variable.shape for variable in loaded.variables] == [variable.shape for variable in core.variables]
    assert not any("moment" in variable.path or "velocity" in variable.path for variable in loaded.optimizer.variables)


def test_the_core_goes_on_unchanged():
    """Publishing shares the weights and leaves the core's compilation alone."""
    preparation = Rescaling(255.0, SHAPE, "uint8")
    core = trained_core(rows_of("uint8"), preparation)
    optimizer = core.optimizer
    model = publishable_model(core, preparation)
    assert core.optimizer is optimizer
    assert [id(variable) for variable in model.trainable_variables] == [id(v) for v in core.trainable_variables]


def test_the_signature_says_how_to_call_it(published):
    """Input and output with shape and dtype, class names in output order, and what the outputs are."""
    _, preparation, _, model = published
    signature = signature_of(model, ("a", "b", "c"), "logits")
    (rows,), (output,) = signature.inputs, signature.outputs
    assert (rows.name, rows.shape, rows.dtype) == ("rows", (None, 4, 4), preparation.input_dtype)
    assert (output.shape, output.dtype) == ((None, 3), "float32")
    assert (signature.class_names, signature.output_kind) == (("a", "b", "c"), "logits")
    assert signature_of(model, None, "values").class_names is None
