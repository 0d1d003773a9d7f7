"""The compiled epoch loop against `model.fit`, and the order of rows."""

import keras
import numpy as np
import pytest

from job.training.epochs import CompiledEpochs, DeviceRows, epoch_order

ROWS, FEATURES, CLASSES = 70, 5, 3


@pytest.fixture(scope="module")
def arrays():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int64) + (x[:, 0] > 1)
    return x, y


def small_model(*extra_layers):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(8, "relu"), *extra_layers, keras.layers.Dense(CLASSES)]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


@pytest.mark.parametrize(
    ("batch_size", "validation_rows"),
    [
        pytest.param(16, 22, id="a partial batch at the end"),
        pytest.param(10, 30, id="whole batches only"),
        pytest.param(200, 40, id="fewer rows than one batch"),
        pytest.param(1, 3, id="one row at a time"),
    ],
)
def test_epochs_equal_those_of_fit(arrays, batch_size, validation_rows):
    """Loss and accuracy of every epoch, and the weights, are those of `fit` on the same batches."""
    x, y = arrays
    held_out = slice(0, validation_rows)
    fitted, ours = small_model(keras.layers.BatchNormalization()), small_model(keras.layers.BatchNormalization())
    train, validation = DeviceRows.place(x, y), DeviceRows.place(x[held_out], y[held_out])
    engine = CompiledEpochs(ours, train, validation, batch_size)
    for epoch in range(3):
        order = epoch_order(9, epoch, ROWS)
        history = fitted.fit(
            x[order],
            y[order],
            batch_size=batch_size,
            validation_data=(x[held_out], y[held_out]),
            validation_batch_size=batch_size,
            shuffle=False,
            verbose=0,
        ).history
        logs = engine.train(order) | engine.validate()
        assert set(logs) == {"accuracy", "loss", "val_accuracy", "val_loss"}
        assert logs == pytest.approx({name: values[0] for name, values in history.items()}, rel=1e-5)
    for one, other in zip(fitted.variables, ours.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)


def test_dropout_is_on_in_training_and_off_in_validation(arrays):
    """Two training epochs from one state differ by their dropout masks; validation repeats itself."""
    rows = DeviceRows.place(*arrays)
    model = small_model(keras.layers.Dropout(0.5))
    model.optimizer.learning_rate = 0.0
    engine = CompiledEpochs(model, rows, rows, 16)
    first, second = (engine.train(np.arange(ROWS)) for _ in range(2))
    assert first["loss"] != second["loss"]
    assert engine.validate() == engine.validate()
    x, y = arrays
    assert engine.validate()["val_loss"] == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-5)


def test_without_validation_rows_there_are_no_validation_metrics(arrays):
    """Where nothing is held out, `validate` returns nothing."""
    rows = DeviceRows.place(*arrays)
    engine = CompiledEpochs(small_model(), rows, None, 16)
    assert set(engine.train(np.arange(ROWS))) == {"accuracy", "loss"}
    assert engine.validate() == {}


def test_epoch_order_is_a_permutation_of_its_own():
    """Every seed and epoch has an order of its own over all rows, and always the same."""
    orders = {(seed, epoch): epoch_order(seed, epoch, ROWS) for seed in (0, 1) for epoch in (0, 1)}
    assert all(sorted(order) == list(range(ROWS)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 4
    assert np.array_equal(epoch_order(1, 0, ROWS), orders[1, 0])
