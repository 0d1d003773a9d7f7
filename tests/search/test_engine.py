"""Which engine trains a model, the fall-back to `model.fit`, and rows that stay where they are."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from structlog.testing import capture_logs

from job.training import engine as engine_module
from job.training.engine import EngineChoice, choose_engine, computing_in, open_engine
from job.training.epochs import CompiledEpochs, epoch_order
from job.training.fit import FitEpochs
from job.training.own_fit import OwnFit, Stretch
from job.training.rows import DeviceRows
from job.training.stream import StreamedEpochs

ROWS = 40


class OwnFunction(keras.Model):
    def make_train_function(self, force=False):  # noqa: FBT002 - Keras's signature
        return super().make_train_function(force)


class OutsideLoops(keras.Model):
    """A step that cannot be part of a graph's loop, as some operations cannot; `fit` has none."""

    def train_step(self, data):
        if type(tf.compat.v1.get_default_graph()).__name__.startswith("While"):
            raise ValueError("not in a loop")
        return super().train_step(data)


def model_of(cls=keras.Model, **compilation):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    model = cls(inputs, keras.layers.Dense(2)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=loss, metrics=["accuracy"], **compilation)
    return model


@pytest.fixture(scope="module")
def arrays():
    x = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


@pytest.fixture(autouse=True)
def _nothing_announced(monkeypatch):
    monkeypatch.setattr(engine_module, "_announced", set())


def test_the_loop_is_chosen_where_nothing_speaks_against_it():
    """An ordinary model whose rows fit trains in the compiled loop; the answer is the same every time."""
    choices = {choose_engine(model_of(), 300, 900) for _ in range(2)}
    assert choices == {EngineChoice("loop", "the rows fit in memory")}


@pytest.mark.parametrize(
    ("model", "arguments", "reason"),
    [
        pytest.param(lambda: model_of(run_eagerly=True), {}, "run eagerly", id="eager"),
        pytest.param(model_of, {"own_fit": print}, "hypermodel has a fit of its own", id="HyperModel.fit"),
        pytest.param(lambda: model_of(OwnFunction), {}, "overrides make_train_function", id="train function"),
    ],
)
def test_fit_is_chosen_with_a_reason(model, arguments, reason):
    """What the loop would not do as `fit` does goes to `fit`, and the choice says why."""
    choice = choose_engine(model(), 300, **{"memory": 900, **arguments})
    assert choice.engine == "fit"
    assert reason in choice.reason


def test_rows_that_do_not_fit_are_streamed_with_a_reason():
    """What is larger than a third of the memory is read window after window."""
    reason = "300 bytes of rows are too large for 899 bytes of memory"
    assert choose_engine(model_of(), 300, 899) == EngineChoice("stream", reason)


def test_a_model_that_the_loop_cannot_trace_is_trained_by_fit(arrays):
    """A step that only `fit` can trace: the engine says so, starts from a model as new, and trains as `fit` does."""
    rows = DeviceRows.place(*arrays)
    with capture_logs() as events:
        engine = open_engine(lambda: model_of(OutsideLoops), rows, rows, 16)
    assert isinstance(engine, FitEpochs)
    (chosen,) = [event for event in events if event["event"] == "engine chosen"]
    assert (chosen["engine"], chosen["xla"], chosen["log_level"]) == ("fit", False, "info")
    assert chosen["reason"] == "the model cannot be traced: ValueError: not in a loop"
    fitted = model_of(OutsideLoops)
    x, y = arrays
    for epoch in range(2):
        order = epoch_order(0, epoch, ROWS)
        history = fitted.fit(x[order], y[order], batch_size=16, shuffle=False, verbose=0).history
        assert engine.train(order) == pytest.approx({name: values[0] for name, values in history.items()}, rel=1e-5)


def test_the_choice_is_announced_once(arrays):
    """The first choice of its kind is an info event, later ones of the process are debug events."""
    rows = DeviceRows.place(*arrays)
    with capture_logs() as events:
        for _ in range(2):
            assert isinstance(open_engine(model_of, rows, None, 16), CompiledEpochs)
    chosen = [event for event in events if event["event"] == "engine chosen"]
    assert [event["log_level"] for event in chosen] == ["info", "debug"]
    assert {(event["engine"], event["xla"]) for event in chosen} == {("loop", False)}


def test_rows_that_do_not_fit_stay_in_their_file(arrays, tmp_path):
    """Rows too large for the memory stay mapped, are streamed, and give the metrics of rows that fit."""
    x, y = arrays
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    large = DeviceRows.place(mapped, y, memory=1000)
    assert isinstance(large.x, np.memmap)
    assert large.size == ROWS * (3 * 4 + 8)
    engine = open_engine(model_of, large, large, 16, memory=1000)
    assert isinstance(engine, StreamedEpochs)
    resident = DeviceRows.place(mapped, y)
    assert tf.is_tensor(resident.x)
    loop = open_engine(model_of, resident, resident, 16)
    # So few rows are one window, of one block that is not full.
    order = engine.order(0, 0)
    assert engine.train(order) == pytest.approx(loop.train(order.within(0, ROWS)), rel=1e-5)
    assert engine.validate() == pytest.approx(loop.validate(), rel=1e-5)


def test_a_fit_of_the_hypermodels_own_is_called_once_for_a_stretch(arrays):
    """The override gets arrays, and which epochs it is to train; what it reports of each is handed on."""
    calls = []

    def own_fit(model):
        def fit(x, y, **arguments):
            calls.append((len(x), len(y), arguments["initial_epoch"], arguments["epochs"]))
            return model.fit(x, y, shuffle=False, **arguments)

        return OwnFit(fit, inspect.signature(fit).parameters)

    rows = DeviceRows.place(*arrays)
    engine = open_engine(model_of, rows, None, 16, own_fit=own_fit)
    told = []
    result = engine.train_stretch(Stretch(seed=0, first=1, last=3, after_epoch=told.append))
    history = model_of().fit(*arrays, shuffle=False, epochs=2, verbose=0).history
    assert calls == [(ROWS, ROWS, 1, 3)]
    assert result.reported == len(told) == len(result.logs) == 2
    assert [logs["loss"] for logs in told] == pytest.approx(history["loss"], rel=1e-5)
    assert result.number is None


def test_only_always_compiles_with_fit(arrays):
    """`training.compile: always` holds for `fit` too, `auto` was measured for the loop alone, and eager is eager."""
    rows = DeviceRows.place(*arrays)

    def xla(mode, **compilation):
        return open_engine(lambda: model_of(OwnFunction, **compilation), rows, None, 16, compile_mode=mode).xla

    assert [xla(mode) for mode in ("auto", "always", "never")] == [False, True, False]
    assert xla("always", run_eagerly=True) is False


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_precision_holds_while_a_model_is_built_and_no_longer(arrays, precision):
    """Layers compute in 16 bits with float32 weights; what is built afterwards is as before; metrics are near."""
    rows = DeviceRows.place(*arrays)
    engine = open_engine(model_of, rows, rows, 16, precision=precision)
    assert keras.config.dtype_policy().name == "float32"
    layer = engine.model.layers[-1]
    assert (layer.compute_dtype, layer.kernel.dtype) == (precision.removeprefix("mixed_"), "float32")
    assert model_of().layers[-1].compute_dtype == "float32"
    order = epoch_order(0, 0, ROWS)
    expected = open_engine(model_of, rows, rows, 16).train(order)
    assert engine.train(order)["loss"] == pytest.approx(expected["loss"], rel=2e-2)


def test_precision_is_reset_after_an_error():
    """A builder that raises leaves no precision behind."""
    with pytest.raises(ZeroDivisionError), computing_in("mixed_bfloat16"):
        raise ZeroDivisionError
    assert keras.config.dtype_policy().name == "float32"
