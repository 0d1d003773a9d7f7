"""The compiled loop against `model.fit` for models with several inputs and outputs, weights and steps of their own."""

import keras
import numpy as np
import pytest

from job.training.epochs import CompiledEpochs, epoch_order
from job.training.fit import FitEpochs
from job.training.rows import DeviceRows

ROWS, HELD_OUT, BATCH = 50, 18, 16


def draws():
    return np.random.default_rng(6)


def two_sided_rows(rows=ROWS):
    """Two inputs, one of them whole numbers; a class and a number to predict."""
    generator = draws()
    left = generator.normal(size=(rows, 4))
    right = generator.integers(0, 5, (rows, 2))
    x = {"left": left, "right": right}
    y = {"kind": (left.sum(axis=1) > 0).astype(np.int64), "size": left[:, :1] + right[:, :1]}
    return x, y


def two_sided_model():
    keras.utils.set_random_seed(1)
    left, right = keras.Input((4,), name="left"), keras.Input((2,), dtype="int64", name="right")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(5, 3)(right))
    shared = keras.layers.BatchNormalization()(
        keras.layers.Dense(8, "relu")(keras.ops.concatenate([left, embedded], axis=-1))
    )
    outputs = {
        "kind": keras.layers.Dense(2, name="kind")(shared),
        "size": keras.layers.Dense(1, name="size")(shared),
    }
    model = keras.Model({"left": left, "right": right}, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss={"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"},
        metrics={"kind": ["accuracy"], "size": ["mae"]},
        weighted_metrics={"size": ["mse"]},
        loss_weights={"kind": 2.0, "size": 0.5},
    )
    return model


def binary_model(cls=keras.Model, *, metrics=True):
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(6, "relu")(inputs)
    model = cls(inputs, keras.layers.Dense(1, "sigmoid")(hidden))
    model.compile(
        optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
        loss="binary_crossentropy",
        metrics=[keras.metrics.AUC(name="auc")] if metrics else None,
        weighted_metrics=["accuracy"] if metrics else None,
    )
    return model


class OwnTrainStep(keras.Model):
    """Returns from its steps what no metric knows, and clips its gradients by itself."""

    def train_step(self, data):
        import tensorflow as tf  # noqa: PLC0415 - as a user's file may

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, self.trainable_variables), 0.1)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss, "norm": norm, "more": {"rows": tf.shape(x)[0]}}

    def test_step(self, data):
        x, y = data
        return {"own": self.compute_loss(x=x, y=y, y_pred=self(x, training=False))}


class OwnMetricKeys(keras.Model):
    """A step of its own that returns Keras's own metrics, as Keras's guides have it."""

    def train_step(self, data):
        return dict(super().train_step(data))


class SecondOptimizer(keras.Model):
    """Makes an optimizer of its own, and that its variables, when a step first runs."""

    def train_step(self, data):
        import tensorflow as tf  # noqa: PLC0415 - as a user's file may

        if not hasattr(self, "second"):
            self.second = keras.optimizers.Adam(0.01)
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        self.second.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"own": loss}


def binary_rows():
    x = draws().normal(size=(ROWS, 4)).astype(np.float32)
    return x, (x.sum(axis=1) > 0.3).astype(np.int64)


def first_rows(rows, count):
    return keras.tree.map_structure(lambda leaf: leaf[:count], rows)


def assert_same_training(make, train, validation, *, fit_arguments, batch_size=BATCH, epochs=3):
    """Metrics of every epoch and the final variables are those of `fit` on the same batches."""
    fitted, ours = make(), make()
    engine = CompiledEpochs(ours, train, validation, batch_size)
    for epoch in range(epochs):
        order = epoch_order(5, epoch, ROWS)
        history = fitted.fit(**fit_arguments(order), batch_size=batch_size, shuffle=False, verbose=0).history
        expected = {name: values[0] for name, values in history.items() if np.size(values[0]) == 1}
        logs = engine.train(order)
        assert set(logs) == set(expected)
        assert logs == pytest.approx(expected, rel=2e-5, abs=1e-6)
    for one, other in zip(fitted.variables, ours.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-4, atol=1e-5)
    return fitted, engine


def reordered(rows, order):
    return None if rows is None else keras.tree.map_structure(lambda leaf: leaf[order], rows)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "one weight for both outputs"])
def test_two_inputs_and_two_outputs(weighted):
    """Dictionaries of inputs and targets, loss weights and metrics per output, all as in `fit`."""
    x, y = two_sided_rows()
    weights = draws().uniform(0, 2, ROWS) if weighted else None
    held_out = first_rows(x, HELD_OUT), first_rows(y, HELD_OUT)
    fitted, engine = assert_same_training(
        two_sided_model,
        DeviceRows.place(x, y, weights),
        DeviceRows.place(*held_out),
        fit_arguments=lambda order: {
            "x": reordered(x, order),
            "y": reordered(y, order),
            "sample_weight": reordered(weights, order),
        },
    )
    expected = fitted.evaluate(*held_out, batch_size=BATCH, verbose=0, return_dict=True)
    assert engine.validate() == pytest.approx({f"val_{name}": value for name, value in expected.items()}, rel=1e-4)


def test_one_weight_per_output():
    """Sample weights may be given for each target by itself."""
    x, y = two_sided_rows()
    weights = {"kind": draws().uniform(0, 2, ROWS), "size": np.linspace(0, 1, ROWS)}
    assert_same_training(
        two_sided_model,
        DeviceRows.place(x, y, weights),
        None,
        fit_arguments=lambda order: {name: reordered(part, order) for name, part in _named(x, y, weights)},
    )


def _named(x, y, weights):
    return (("x", x), ("y", y), ("sample_weight", weights))


@pytest.mark.parametrize("shape", ["numbers", "column", "one-hot"])
def test_class_weights_become_sample_weights(shape):
    """Rows count as their classes do, as in `fit`; AUC and weighted accuracy too."""
    x, y = binary_rows()
    class_weight = {1: 3.5}
    targets = y[:, None] if shape == "column" else y

    def make():
        model = binary_model()
        if shape == "one-hot":
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax", kernel_initializer="ones")])
            model.compile(optimizer="sgd", loss="categorical_crossentropy", weighted_metrics=["accuracy"])
        return model

    targets = np.eye(2, dtype=np.float32)[y] if shape == "one-hot" else targets
    assert_same_training(
        make,
        DeviceRows.place(x, targets, class_weight=class_weight),
        None,
        fit_arguments=lambda order: {"x": x[order], "y": targets[order], "class_weight": class_weight},
    )


def test_weights_that_keras_refuses_are_refused():
    """Both kinds of weights, or class weights for several targets, are an error as in Keras."""
    x, y = binary_rows()
    with pytest.raises(ValueError, match="not both"):
        DeviceRows.place(x, y, np.ones(ROWS), class_weight={0: 2.0})
    with pytest.raises(ValueError, match="a single output"):
        DeviceRows.place(*two_sided_rows(), class_weight={0: 2.0})


@pytest.mark.parametrize("batch_size", [BATCH, 10, 60], ids=["partial last batch", "whole batches", "one batch"])
def test_a_train_step_of_its_own(batch_size):
    """What a model's own steps return of the last batch is logged, as `fit` logs it."""
    x, y = binary_rows()
    held_out = x[:HELD_OUT], y[:HELD_OUT, None]
    fitted, engine = assert_same_training(
        lambda: binary_model(OwnTrainStep, metrics=False),
        DeviceRows.place(x, y[:, None]),
        DeviceRows.place(*held_out),
        fit_arguments=lambda order: {"x": x[order], "y": y[order, None]},
        batch_size=batch_size,
    )
    expected = fitted.evaluate(*held_out, batch_size=batch_size, verbose=0, return_dict=True)
    assert engine.validate() == pytest.approx({"val_own": expected["own"]}, rel=1e-4)


def test_a_train_step_that_returns_keras_metrics():
    """Where a model's own step returns its metrics, they are those of the whole epoch, not of the last batch."""
    x, y = binary_rows()
    assert_same_training(
        lambda: binary_model(OwnMetricKeys),
        DeviceRows.place(x, y),
        None,
        fit_arguments=lambda order: {"x": x[order], "y": y[order]},
        batch_size=10,
    )


def test_inputs_in_lists():
    """Inputs may be a list, and targets may be left out where a model's own step needs none."""

    class Reconstruction(keras.Model):
        def train_step(self, data):
            x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
            return super().train_step((x, x[0]))

    def make():
        keras.utils.set_random_seed(4)
        inputs = [keras.Input((4,)), keras.Input((4,))]
        model = Reconstruction(inputs, keras.layers.Dense(4)(keras.ops.concatenate(inputs, axis=-1)))
        model.compile(optimizer="sgd", loss="mse")
        return model

    x = [binary_rows()[0], binary_rows()[0] * 2]
    assert_same_training(
        make,
        DeviceRows.place(x, None),
        None,
        fit_arguments=lambda order: {"x": reordered(x, order)},
    )


@pytest.mark.parametrize("compile_mode", ["never", "always"])
@pytest.mark.parametrize(
    ("make", "rows"),
    [
        pytest.param(two_sided_model, lambda: DeviceRows.place(*two_sided_rows()), id="nested"),
        pytest.param(
            binary_model,
            lambda: DeviceRows.place(*binary_rows(), np.linspace(0, 2, ROWS)),
            id="sample weights",
        ),
        pytest.param(lambda: binary_model(OwnMetricKeys), lambda: DeviceRows.place(*binary_rows()), id="own step"),
        pytest.param(
            lambda: binary_model(SecondOptimizer, metrics=False),
            lambda: DeviceRows.place(binary_rows()[0], binary_rows()[1][:, None]),
            id="second optimizer",
        ),
    ],
)
def test_both_engines_train_alike(make, rows, compile_mode):
    """The loop, with XLA and without, and `fit` over gathered batches log the same metrics and end alike."""
    placed = rows()
    loop = CompiledEpochs(make(), placed, placed, BATCH, compile_mode)
    fit = FitEpochs(make(), placed, placed, BATCH)
    for epoch in range(2):
        order = epoch_order(1, epoch, ROWS)
        logs, expected = (engine.train(order) | engine.validate() for engine in (loop, fit))
        assert set(logs) == set(expected)
        assert logs == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for one, other in zip(loop.model.variables, fit.model.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-4, atol=1e-5)
