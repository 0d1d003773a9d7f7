"""Optimizers with moving averages of the weights: trained as `fit` trains, scored and published as the averages."""

import keras
import numpy as np
import pytest

from job.training.averaging import averaged, take_averages
from job.training.engine import open_engine
from job.training.fit import FitEpochs
from job.training.rows import DeviceRows

ROWS, BATCH, EPOCHS = 50, 8, 3
DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(ROWS, 4)).astype(np.float32), DRAW.normal(size=(ROWS, 1)).astype(np.float32)


def model_of(**settings):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.8, **settings)
    model.compile(optimizer=optimizer, loss="mse")
    return model


class InOrder(keras.utils.PyDataset):
    """The batches of all epochs, one after the other, as an engine orders them."""

    def __init__(self, orders):
        super().__init__()
        starts = range(0, ROWS, BATCH)
        self.batches = [order[start : start + BATCH] for order in orders for start in starts]

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, number):
        return X[self.batches[number]], Y[self.batches[number]]


@pytest.mark.parametrize("settings", [{}, {"ema_overwrite_frequency": 4}, {"weight_decay": 0.01}], ids=str)
@pytest.mark.parametrize("kind", ["loop", "fit"])
def test_weights_end_as_those_of_one_fit(kind, settings):
    """After as many epochs over the same batches the averages are those that plain `fit` leaves, within 1e-6."""
    rows = DeviceRows.place(X, Y)
    if kind == "loop":
        engine = open_engine(lambda: model_of(**settings), rows, rows, BATCH)
    else:
        engine = FitEpochs(model_of(**settings), rows, rows, BATCH)
    orders = [engine.order(3, epoch) for epoch in range(EPOCHS)]
    for order in orders:
        engine.train(order)
    scored = engine.validate()["val_loss"]
    raw = [variable.numpy() for variable in engine.model.trainable_variables]
    take_averages(engine.model)
    plain = model_of(**settings)
    plain.fit(InOrder(orders), epochs=1, shuffle=False, verbose=0)
    for one, other, before in zip(engine.model.trainable_variables, plain.trainable_variables, raw, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)
        assert not np.array_equal(before, one.numpy())
    assert scored == pytest.approx(plain.evaluate(X, Y, batch_size=BATCH, verbose=0), rel=1e-5)


def test_weights_come_back():
    """After scoring, training goes on from the weights, not from their averages."""
    model = model_of()
    model.fit(X, Y, epochs=1, verbose=0)
    model.optimizer.apply([keras.ops.ones(variable.shape) for variable in model.trainable_variables])
    before = [variable.numpy() for variable in model.trainable_variables]
    with averaged(model):
        within = [variable.numpy() for variable in model.trainable_variables]
    after = [variable.numpy() for variable in model.trainable_variables]
    assert any(not np.array_equal(one, other) for one, other in zip(before, within, strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
