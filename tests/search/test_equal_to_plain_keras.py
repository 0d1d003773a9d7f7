"""Weights and scores of each engine are those of plain `fit` and `evaluate` on the same batches, for any model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.training.engine import open_engine
from job.training.fit import FitEpochs
from job.training.rows import DeviceRows

ROWS, BATCH, EPOCHS = 48, 8, 2
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(ROWS, 6)).astype(np.float32)
NUMBERS = (X[:, :1] * 2 + X[:, 1:2]).astype(np.float32)
CLASSES = np.argmax(X[:, :3], axis=1)
WORDS = np.array(["a red fox", "two dogs", "red dogs run", "one fox"])[CLASSES % 2 + 2 * (CLASSES > 1)]
WEIGHTS = DRAW.uniform(0.1, 2, ROWS).astype(np.float32)
layers = keras.layers


def own_loss(y_true, y_pred):
    """Of targets without a last axis it would broadcast to (rows, rows)."""
    return keras.ops.mean(keras.ops.square(y_true - y_pred))


def own_metric(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - keras.ops.squeeze(y_pred, -1)), axis=-1)


class OwnStep(keras.Model):
    """Clips its gradients by itself, and keeps Keras's metrics."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self.trainable_variables), 0.2)
        self.optimizer.apply(gradients, self.trainable_variables)
        return self.compute_metrics(x, y, y_pred)


class Subclassed(keras.Model):
    """Makes its variables when it is first called, and adds a loss of its own."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(5, "tanh"), layers.Dense(1)

    def call(self, x):
        hidden = self.hidden(x)
        self.add_loss(0.01 * keras.ops.mean(keras.ops.square(hidden)))
        return self.out(hidden)


def sequential(
    *between, loss="mse", outputs=1, activation=None, optimizer=None, metrics=("mae",), cls=None, **compiled
):
    model = keras.Sequential([keras.Input((6,)), *between, layers.Dense(outputs, activation)])
    if cls is not None:
        model = cls(model.inputs, model.outputs)
    model.compile(optimizer=optimizer or keras.optimizers.Adam(0.02), loss=loss, metrics=list(metrics), **compiled)
    return model


def two_heads():
    entry = keras.Input((6,), name="x")
    hidden = layers.Dense(6, "tanh")(entry)
    model = keras.Model(
        entry, {"kind": layers.Dense(3, "softmax", name="kind")(hidden), "size": layers.Dense(1, name="size")(hidden)}
    )
    losses = {"kind": "sparse_categorical_crossentropy", "size": own_loss}
    model.compile("adam", losses, loss_weights={"kind": 1.0, "size": 0.3}, metrics={"kind": ["accuracy"]})
    return model


def of_words():
    vectors = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    vectors.adapt(WORDS)
    model = keras.Sequential(
        [keras.Input((), dtype="string"), vectors, layers.Embedding(20, 4), layers.GRU(4), layers.Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def subclassed():
    model = Subclassed()
    model.compile(keras.optimizers.RMSprop(0.01), own_loss, metrics=["mae"])
    return model


def decaying():
    rate = keras.optimizers.schedules.CosineDecay(0.1, EPOCHS * ROWS // BATCH)
    return sequential(layers.Dense(5, "relu"), optimizer=keras.optimizers.SGD(rate, momentum=0.9, nesterov=True))


def regularised():
    hidden = layers.Dense(5, "relu", kernel_regularizer="l2", kernel_constraint=keras.constraints.MaxNorm(1.0))
    return sequential(hidden, layers.BatchNormalization(), loss="huber", optimizer=keras.optimizers.AdamW(0.02))


def accumulating():
    optimizer = keras.optimizers.Adam(0.02, gradient_accumulation_steps=4, clipnorm=0.5)
    return sequential(layers.Dense(5, "gelu"), optimizer=optimizer)


def classifier():
    return sequential(
        layers.Dense(6, "relu"), layers.LayerNormalization(), outputs=3, activation="softmax",
        loss="sparse_categorical_crossentropy", metrics=("accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)),
        weighted_metrics=["sparse_categorical_crossentropy"],
    )  # fmt: skip


def one_hot():
    metrics = (keras.metrics.F1Score(average="macro"), keras.metrics.AUC(multi_label=True, name="auc"), "accuracy")
    return sequential(outputs=3, activation="softmax", loss="categorical_crossentropy", metrics=metrics)


def convolutional():
    between = (layers.Reshape((6, 1)), layers.Conv1D(4, 3), layers.SpatialDropout1D(0.0), layers.GlobalMaxPooling1D())
    return sequential(*between, optimizer=keras.optimizers.Nadam(0.02))


PROBLEMS = {
    "loss of one's own, targets in a column": (lambda: sequential(loss=own_loss), X, NUMBERS, None),
    "loss and metric of one's own, flat targets": (
        lambda: sequential(loss="mse", metrics=(own_metric,)), X, NUMBERS[:, 0], None,
    ),
    "train_step": (lambda: sequential(layers.Dense(5, "relu"), cls=OwnStep), X, NUMBERS, None),
    "subclassed with add_loss": (subclassed, X, NUMBERS, None),
    "schedule and momentum": (decaying, X, NUMBERS, None),
    "regularised and normalised": (regularised, X, NUMBERS, None),
    "gradients accumulated and clipped": (accumulating, X, NUMBERS, None),
    "classes": (classifier, X, CLASSES, None),
    "classes, weighted": (classifier, X, CLASSES[:, None], WEIGHTS),
    "one-hot": (one_hot, X, np.eye(3, dtype=np.float32)[CLASSES], None),
    "convolutions": (convolutional, X, NUMBERS, WEIGHTS),
    "two heads": (two_heads, X, {"kind": CLASSES, "size": NUMBERS}, None),
    "words": (of_words, WORDS, CLASSES, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["loop", "fit"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_weights_and_scores_are_those_of_plain_keras(problem, kind):
    """After as many epochs over the same batches: weights within 1e-6, metrics of training and validation alike."""
    build, x, y, weights = PROBLEMS[problem]

    def seeded():
        keras.utils.set_random_seed(1)
        return build()

    rows = DeviceRows.place(x, y, weights)
    engine = open_engine(seeded, rows, rows, BATCH) if kind == "loop" else FitEpochs(seeded(), rows, rows, BATCH)
    orders = [engine.order(3, epoch) for epoch in range(EPOCHS)]
    for order in orders:
        engine.train(order)
    scored = engine.validate()

    plain = seeded()
    given = tf.constant(x) if x is WORDS else x
    seen = np.concatenate(orders)
    given_x, given_y, given_weights = (
        None if part is None else keras.tree.map_structure(lambda leaf: tf.gather(leaf, seen), part)
        for part in (given, y, weights)
    )
    plain.fit(given_x, given_y, sample_weight=given_weights, batch_size=BATCH, shuffle=False, verbose=0)
    for one, other in zip(engine.model.trainable_variables, plain.trainable_variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6, err_msg=one.path)
    expected = plain.evaluate(given, y, sample_weight=weights, batch_size=BATCH, verbose=0, return_dict=True)
    assert scored == pytest.approx({f"val_{name}": value for name, value in expected.items()}, rel=1e-5, abs=1e-6)
