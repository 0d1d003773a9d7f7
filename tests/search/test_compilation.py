"""The XLA policy: a pure function of layers, shapes and device."""

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.training.compilation import choose_compilation


def net(*layers, shape=(8,)):
    model = keras.Sequential([keras.Input(shape), *layers])
    model.compile(optimizer="adam", loss="mse")
    return model


def dense(units=64):
    return net(keras.layers.Dense(units, "relu"), keras.layers.Dense(1))


# On a CPU; enough steps that compiling dense layers pays.
STEPS = 10_000


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    steps=st.sampled_from([1, 100, STEPS]),
    device=st.sampled_from(["cpu", "gpu"]),
    dropout=st.booleans(),
)
def test_the_answer_depends_on_the_architecture_alone(seed, steps, device, dropout):
    """Models of one architecture get one answer, whatever their weights and however much they have trained."""

    def architecture():
        return net(keras.layers.Dense(64), *([keras.layers.Dropout(0.5)] if dropout else []), keras.layers.Dense(1))

    first = architecture()
    keras.utils.set_random_seed(seed)
    other = architecture()
    other.set_weights([weight * 0 + seed for weight in other.get_weights()])
    other.optimizer.iterations.assign(seed % 1000)
    assert choose_compilation(first, steps=steps, device=device) == choose_compilation(
        other, steps=steps, device=device
    )


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("steps", [1, STEPS])
def test_always_and_never_decide_by_themselves(device, steps):
    """The spec's word counts more than layers, shapes and device, and is the reason given."""
    for model in (dense(), net(keras.layers.Dropout(0.5), keras.layers.Dense(1))):
        for mode in ("always", "never"):
            choice = choose_compilation(model, steps=steps, device=device, mode=mode)
            assert (choice.xla, choice.reason) == (mode == "always", f"training.compile: {mode}")


def test_dense_layers_are_compiled_where_an_epoch_is_long_enough():
    """Long epochs of dense layers on a CPU gain; short ones cannot earn what compiling costs."""
    assert choose_compilation(dense(), steps=STEPS, device="cpu").xla
    assert not choose_compilation(dense(), steps=10, device="cpu").xla


@pytest.mark.parametrize(
    "losing",
    [
        pytest.param(lambda: net(keras.layers.Dense(4), keras.layers.Dropout(0.1)), id="Dropout"),
        pytest.param(lambda: net(keras.layers.Conv1D(4, 3), shape=(8, 1)), id="Conv1D"),
        pytest.param(lambda: net(keras.layers.LSTM(4), shape=(8, 1)), id="LSTM"),
    ],
)
def test_one_losing_layer_decides(losing, request):
    """A layer that loses on a CPU, also inside a nested model, keeps the whole model from XLA, and is named."""
    model = losing()
    nested = net(model, shape=model.input_shape[1:])
    for each in (model, nested):
        choice = choose_compilation(each, steps=STEPS, device="cpu")
        assert not choice.xla
        assert request.node.callspec.id in choice.reason


def test_layers_that_nobody_measured_are_not_compiled():
    """A layer class of the user's own, even one that derives from a listed one, is not assumed to gain."""

    class Own(keras.layers.Dense):
        """Could do anything."""

    assert not choose_compilation(net(Own(64), keras.layers.Dense(1)), steps=STEPS, device="cpu").xla
