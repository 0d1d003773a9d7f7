"""The optimizer's update compiled alone: what the optimizer itself computes, wherever XLA can be trusted with it."""

import keras
import numpy as np
import pytest

from job.training import compilation
from job.training.epochs import CompiledEpochs, DeviceRows, epoch_order
from job.training.updates import compiled_update, update_compiles

ROWS = 50
OPTIMIZERS = {
    **{
        name: lambda name=name: getattr(keras.optimizers, name)(0.01)
        for name in ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "Nadam", "RMSprop", "SGD")
    },
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "clipped": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.1),
    "averaged": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "accumulating": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "scheduled": lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 20)),
}


@pytest.fixture
def every_update_pays(monkeypatch):
    """Small models are compiled, too."""
    monkeypatch.setattr(compilation, "_UPDATE_SAVED_PER_STEP_AND_WEIGHT", 1.0)


def net(optimizer, *first, shape=(6,)):
    keras.utils.set_random_seed(1)
    layers = [*first, keras.layers.Dense(8, "relu", kernel_constraint="max_norm"), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(3)])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def rows_of(x):
    return DeviceRows.place(x, np.random.default_rng(2).integers(0, 3, ROWS).astype(np.int32))


def floats():
    return rows_of(np.random.default_rng(1).normal(size=(ROWS, 6)).astype(np.float32))


def trained(model, rows, mode="auto"):
    """The engine, what it logged of two epochs, and the state that it reached."""
    engine = CompiledEpochs(model, rows, rows, 16, mode)
    logs = [engine.train(epoch_order(0, epoch, ROWS)) | engine.validate() for epoch in range(2)]
    return engine, logs, [np.asarray(variable) for variable in (*model.variables, *model.optimizer.variables)]


def assert_close(one, other):
    for (_, logs, state), (_, other_logs, other_state) in [(one, other)]:
        for each, same in zip(logs, other_logs, strict=True):
            assert each == pytest.approx(same, abs=1e-5)
        for each, same in zip(state, other_state, strict=True):
            np.testing.assert_allclose(each, same, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("every_update_pays")
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_compiled_update_is_the_optimizers_own(make):
    """Weights, moments, counters and metrics come out as from a plain graph, for every optimizer that is listed."""
    compiled, plain = trained(net(make()), floats()), trained(net(make()), floats(), "never")
    assert compiled[0].compilation.update
    assert not plain[0].compilation.update
    assert_close(compiled, plain)


@pytest.mark.usefixtures("every_update_pays")
def test_the_same_training_gives_the_same_bits():
    """Two graphs of one model are the same program: a resumed or promoted trial goes on as if nothing had happened."""
    one, other = (trained(net(keras.optimizers.Adam(0.01)), floats()) for _ in range(2))
    assert one[1] == other[1]
    for each, same in zip(one[2], other[2], strict=True):
        np.testing.assert_array_equal(each, same)


@pytest.mark.usefixtures("every_update_pays")
def test_gradients_of_looked_up_rows_stay_sparse():
    """An embedding's update is left to Keras; the model trains as it would."""
    rows = rows_of(np.random.default_rng(1).integers(0, 9, (ROWS, 6)).astype(np.int32))
    compiled, plain = (
        trained(net("adam", keras.layers.Embedding(9, 4), keras.layers.Flatten()), rows, mode)
        for mode in ("auto", "never")
    )
    assert compiled[0].compilation.update
    assert_close(compiled, plain)


def test_the_optimizer_is_left_as_it_was():
    """Nothing of ours stays in the user's object, not even where tracing fails."""
    optimizer = keras.optimizers.Adam()

    def failing():
        with compiled_update(optimizer):
            assert "apply" in vars(optimizer)
            raise ValueError("in between")

    with pytest.raises(ValueError, match="in between"):
        failing()
    assert "apply" not in vars(optimizer)


class _OwnAdam(keras.optimizers.Adam):
    pass


class _OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        del step
        return 0.1

    def get_config(self):
        return {}


class _OwnConstraint(keras.constraints.Constraint):
    def __call__(self, w):
        return w


def test_code_of_anybody_elses_is_not_compiled():
    """An optimizer, schedule or constraint of the user's own may do what XLA cannot; Keras's are known."""
    assert update_compiles(net(keras.optimizers.Adam()))
    assert not update_compiles(net(_OwnAdam()))
    assert not update_compiles(net(keras.optimizers.Adam(_OwnSchedule())))
    constrained = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_constraint=_OwnConstraint())])
    constrained.compile("adam", "mse")
    assert not update_compiles(constrained)


def test_an_update_is_compiled_where_an_epoch_has_enough_of_them():
    """By weights and steps, on a CPU, and only where the spec leaves it open."""

    def choice(units, steps, **how):
        model = net("adam", keras.layers.Dense(units), shape=(100,))
        return compilation.choose_compilation(model, steps=steps, **{"device": "cpu"} | how)

    assert choice(2000, 2000).update
    assert not choice(2000, 2000).xla
    assert "Dropout" in choice(2000, 2000).reason
    assert not choice(2000, 20).update
    assert not choice(20, 2000).update
    assert not choice(2000, 2000, device="gpu").update
    assert not choice(2000, 2000, mode="never").update
