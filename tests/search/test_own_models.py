"""Models of the user's own of every kind: trained, published, loaded again and scored."""

import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.data import ObjectPins, load_dataset
from job.evaluation import evaluate
from job.models import Facts, needs_code, open_own_model, publishable_model
from job.own_code import CodeSource, fetch_code
from job.spec import DataSpec, ModelSpec
from job.training.building import build_model, own_fit
from job.training.engine import open_engine
from job.training.epochs import epoch_order
from job.training.rows import place_rows

VALUES = {"units": 8}

DATA = """\
    import numpy as np

    def draw(rows=120):
        chance = np.random.default_rng(0)
        a, b = chance.normal(size=(rows, 4)), chance.integers(0, 9, (rows, 3)).astype("uint8")
        return a, b, a[:, 0] > 0, a.sum(axis=1).astype("float32")

    def two_of_each():
        a, b, sign, total = draw()
        return {"a": a, "b": b}, {"sign": sign.astype("float32"), "total": total}

    def two_in_a_list():
        a, b, sign, _ = draw()
        return [a, b], sign

    def no_targets():
        return draw()[0], None

    def images():
        return np.random.default_rng(1).integers(0, 255, (80, 6, 6)).astype("uint8"), np.arange(80) % 3
"""

HEAD = """\
    import keras
    from keras import layers, ops

"""

MODELS = {
    "several inputs and outputs, by name": (
        "two_of_each",
        HEAD
        + """\
    def build_model(hp):
        a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
        both = layers.Concatenate()([a, layers.Rescaling(0.1)(b)])
        x = layers.Dense(hp.Int("units", 4, 16), activation="relu")(both)
        sign, total = layers.Dense(1, activation="sigmoid", name="sign")(x), layers.Dense(1, name="total")(x)
        model = keras.Model({"a": a, "b": b}, {"sign": sign, "total": total})
        losses, weights = {"sign": "binary_crossentropy", "total": "mse"}, {"sign": 1.0, "total": 0.1}
        model.compile(optimizer="adam", loss=losses, loss_weights=weights, metrics={"total": ["mae"]})
        return model
    """,
        False,
    ),
    "several outputs in a list, told apart by their layers' names": (
        "two_of_each",
        HEAD
        + """\
    def build_model(hp):
        a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
        x = layers.Dense(hp.Int("units", 4, 16), activation="relu")(layers.Concatenate()([a, layers.Rescaling(0.1)(b)]))
        sign, total = layers.Dense(1, activation="sigmoid", name="sign")(x), layers.Dense(1, name="total")(x)
        model = keras.Model([a, b], [sign, total])
        model.compile(optimizer="adam", loss={"sign": "binary_crossentropy", "total": "mse"})
        return model
    """,
        False,
    ),
    "inputs in a list, subclassed, with a loss and a metric of its own": (
        "two_in_a_list",
        HEAD
        + """\
    @keras.saving.register_keras_serializable(package="kinds")
    class Share(keras.metrics.Metric):
        def __init__(self, name="share", **kwargs):
            super().__init__(name=name, **kwargs)
            self.sum = self.add_variable((), "zeros", name="sum")
            self.rows = self.add_variable((), "zeros", name="rows")

        def update_state(self, y, predicted, sample_weight=None):
            self.sum.assign_add(ops.sum(ops.cast(predicted > 0.5, "float32")))
            self.rows.assign_add(ops.cast(ops.shape(predicted)[0], "float32"))

        def result(self):
            return self.sum / self.rows

    @keras.saving.register_keras_serializable(package="kinds")
    def careful(y, predicted):
        return keras.losses.binary_crossentropy(y, predicted, label_smoothing=0.1)

    @keras.saving.register_keras_serializable(package="kinds")
    class Net(keras.Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.hidden = layers.Dense(units, activation="relu")
            self.out = layers.Dense(1, activation="sigmoid")

        def call(self, inputs):
            a, b = inputs
            return self.out(self.hidden(ops.concatenate([a, ops.cast(b, "float32") / 9], axis=-1)))

        def get_config(self):
            return {"units": self.units, "name": self.name}

    def build_model(hp):
        model = Net(hp.Int("units", 4, 16))
        model.compile(optimizer="adam", loss=careful, metrics=["accuracy", Share()])
        return model
    """,
        True,
    ),
    "a train_step and a test_step of its own, without targets": (
        "no_targets",
        HEAD
        + """\
    @keras.saving.register_keras_serializable(package="kinds")
    class Autoencoder(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.tracked = keras.metrics.Mean(name="loss")

        def train_step(self, data):
            import tensorflow as tf

            (x,) = data
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(self(x, training=True) - x))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            self.tracked.update_state(loss)
            return {"loss": self.tracked.result()}

        def test_step(self, data):
            (x,) = data
            self.tracked.update_state(ops.mean(ops.square(self(x, training=False) - x)))
            return {"loss": self.tracked.result()}

    def build_model(hp):
        inputs = keras.Input((4,))
        hidden = layers.Dense(hp.Int("units", 2, 16), activation="relu")(inputs)
        model = Autoencoder(inputs, layers.Dense(4)(hidden))
        model.compile(optimizer="adam")
        return model
    """,
        False,
    ),
    "a HyperModel with a fit of its own": (
        "images",
        HEAD
        + """\
    import keras_tuner

    class build_model(keras_tuner.HyperModel):
        def __init__(self, input_shape, classes):
            super().__init__()
            self.shape, self.classes = input_shape, classes

        def build(self, hp):
            hidden = layers.Dense(hp.Int("units", 4, 16), activation="relu")
            model = keras.Sequential([keras.Input(self.shape), layers.Flatten(), hidden, layers.Dense(self.classes)])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
            return model

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **kwargs)
    """,
        False,
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def trained(request, tmp_path_factory):
    """A data set, a model of the user's own after an epoch, and what loads it."""
    function, text, needs = MODELS[request.param]
    folder = tmp_path_factory.mktemp("own-models")
    (folder / "data.py").write_text(textwrap.dedent(DATA))
    (folder / "model.py").write_text(textwrap.dedent(text))
    dataset = load_dataset(DataSpec(source=str(folder / "data.py"), function=function), seed=0, scratch=folder)
    source = CodeSource.of(ModelSpec(source=str(folder / "model.py")))
    code = fetch_code(source, folder / "code", ObjectPins())
    facts = Facts.of(dataset.prepared_shape, dataset.target)
    space = {"space": [], "values": {}}
    own = open_own_model(code, facts, space)
    engine = open_engine(
        lambda: build_model(own, VALUES, 0),
        place_rows(dataset.files.open_train()),
        place_rows(dataset.files.open_validation()),
        own.batch_size(VALUES),
        own_fit=own_fit(own, VALUES),
    )
    train_rows = dataset.train_rows
    logs = engine.train(epoch_order(0, 0, train_rows)) | engine.validate()
    return dataset, own, engine.model, logs, needs


def test_it_trains_and_validates(trained):
    """The epoch's metrics are numbers, for training and for validation."""
    *_, logs, _ = trained
    assert {"loss", "val_loss"} <= logs.keys()
    assert all(np.isfinite(value) for value in logs.values())


def test_the_published_model_takes_raw_rows_and_answers_as_the_trained_one(trained, tmp_path):
    """Saved and loaded again it predicts the same from rows as they are in the source, each input by its dtype."""
    dataset, own, core, _, needs = trained
    published = publishable_model(core, dataset.preparation, own.custom_objects())
    published.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=dict(own.custom_objects()))
    raw = dataset.validation.x
    answers = loaded.predict(raw, verbose=0)
    expected = core.predict(dataset.preparation.prepare(raw), verbose=0)
    pairs = zip(keras.tree.flatten(answers), keras.tree.flatten(expected), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert needs_code(published) is needs
    if not needs:
        names = keras.saving.get_custom_objects()
        before = dict(names)
        names.clear()
        try:
            keras.saving.load_model(tmp_path / "model.keras")
        finally:
            names.update(before)


def test_the_test_score_is_the_models_own(trained):
    """The test split is scored by the loss and the metrics that the model was made with, or by its own step."""
    dataset, own, core, logs, _ = trained
    published = publishable_model(core, dataset.preparation, own.custom_objects())
    scores = evaluate(published, dataset, core=core).scores
    assert {f"val_{name}" for name in scores} >= {"val_loss"}
    x, y = dataset.preparation.prepare(dataset.test.x), dataset.test.y
    x = tuple(x) if isinstance(x, list) else x
    batch = tf.data.Dataset.from_tensors((x,) if y is None else (x, y))
    expected = core.evaluate(batch, verbose=0, return_dict=True)
    assert expected["loss"] > 0
    assert scores["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert {f"val_{name}" for name in expected if np.size(expected[name]) == 1} <= logs.keys()
