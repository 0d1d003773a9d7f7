"""What KerasTuner's guides do with a model of one's own works as a job: the same constructs, in models of our own.

The guides: Getting started, Writing your own Tuner to support a custom training loop (here in `fit`), Handling failed
trials, Tailor the search space (https://keras.io/guides/keras_tuner/).
"""

import textwrap

import numpy as np
import pytest
from pairs.jobs import run_job

IMPORTS = (
    "import keras\nimport keras_tuner\nimport numpy as np\nimport tensorflow as tf\nfrom keras import layers\n\n\n"
)
IMAGES = """
def load_data():
    draw = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = draw.random((120, 4, 4, 1), dtype="float32")
    x[np.arange(120), y, y] += 2
    return x, keras.utils.to_categorical(y, 3)
"""
NUMBERS = """
def load_data():
    draw = np.random.default_rng(0)
    x = draw.random((100, 5))
    return x, x[:, :1] + x[:, 1:2]
"""
REGRESSOR = """
def build_model(hp):
    model = keras.Sequential([layers.Dense(hp.Int("units", 4, 16, 4), activation="relu"), layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mean_squared_error", metrics=[{metrics}])
    return model
"""
HYPER_REGRESSOR = """
class HyperRegressor(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential([layers.Dense(hp.Int("units", 4, 16, 4), activation="relu"), layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mean_squared_error")
        return model

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        model.fit(x, y, **kwargs)
        x_val, y_val = validation_data
        y_pred = model.predict(x_val, verbose=0)
"""


@pytest.fixture
def tuned(tmp_path, monkeypatch, capfd):
    """Run a job with a module of one's own that holds both the model and the data."""
    monkeypatch.chdir(tmp_path)

    def run(data: str, model: str, function: str = "build_model", **spec):
        (tmp_path / "guide.py").write_text(IMPORTS + textwrap.dedent(data) + "\n" + textwrap.dedent(model))
        search = {"algorithm": "random", "max_trials": 4, "max_epochs": 2} | spec.pop("search", {})
        return run_job(
            tmp_path,
            {
                "name": "guide",
                "data": {"source": "guide.py"},
                "model": {"source": "guide.py", "function": function},
                "search": search,
            }
            | spec,
            capfd,
        )

    return run


def test_layers_in_a_plain_loop_are_tuned_one_by_one(tuned):
    """Getting started: `units_{i}` in a loop over `num_layers`, entries under a plain `if`, a log-sampled rate."""
    model = """
    def build_model(hp):
        model = keras.Sequential([layers.Flatten()])
        for i in range(hp.Int("num_layers", 1, 3)):
            units = hp.Int(f"units_{i}", min_value=4, max_value=32, step=4)
            model.add(layers.Dense(units, activation=hp.Choice("activation", ["relu", "tanh"])))
        if hp.Boolean("dropout"):
            model.add(layers.Dropout(rate=hp.Float("rate", 0.1, 0.5, step=0.1)))
        model.add(layers.Dense(3, activation="softmax"))
        rate = hp.Float("lr", min_value=1e-3, max_value=1e-1, sampling="log")
        model.compile(keras.optimizers.Adam(rate), loss="categorical_crossentropy", metrics=["accuracy"])
        return model
    """
    done = tuned(IMAGES, model, search={"objective": "val_accuracy", "max_trials": 12})
    assert done.code == 0, done.said
    tried = [record["hyperparameters"] for record in done.records]
    for values in tried:
        layers = values["num_layers"]
        expected = {"num_layers", "activation", "dropout", "lr", *(f"units_{i}" for i in range(layers))}
        assert set(values) == expected | ({"rate"} if values["dropout"] else set())
    assert {values["num_layers"] for values in tried} == {1, 2, 3}
    assert len({values["units_1"] for values in tried if "units_1" in values}) > 1
    assert done.manifest["best_hyperparameters"] in tried


def test_fit_tunes_how_it_trains(tuned):
    """Getting started: `fit(*args, **kwargs)` hands everything on, and declares a hyperparameter of its own."""
    model = """
    class MyHyperModel(keras_tuner.HyperModel):
        def build(self, hp):
            units = hp.Int("units", 4, 32, step=4)
            model = keras.Sequential([layers.Flatten(), layers.Dense(units, activation="relu")])
            model.add(layers.Dense(3, activation="softmax"))
            model.compile(keras.optimizers.Adam(0.02), loss="categorical_crossentropy", metrics=["accuracy"])
            return model

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, shuffle=hp.Boolean("shuffle"), **kwargs)
    """
    done = tuned(IMAGES, model, "MyHyperModel", search={"objective": "val_accuracy", "max_trials": 6})
    assert done.code == 0, done.said
    assert {record["hyperparameters"]["shuffle"] for record in done.records} == {True, False}


def test_fit_prepares_the_rows(tuned):
    """Getting started: `fit` names `x` and `y`, and normalises the rows where a hyperparameter says so."""
    model = """
    class MyHyperModel(keras_tuner.HyperModel):
        def build(self, hp):
            units = hp.Int("units", 4, 32, step=4)
            model = keras.Sequential([layers.Flatten(), layers.Dense(units, activation="relu")])
            model.add(layers.Dense(3, activation="softmax"))
            model.compile(keras.optimizers.Adam(0.02), loss="categorical_crossentropy", metrics=["accuracy"])
            return model

        def fit(self, hp, model, x, y, **kwargs):
            if hp.Boolean("normalize"):
                x = layers.Normalization()(x)
            return model.fit(x, y, shuffle=hp.Boolean("shuffle"), **kwargs)
    """
    done = tuned(IMAGES, model, "MyHyperModel", search={"objective": "val_accuracy"})
    assert done.code == 0, done.said
    assert done.manifest["scores"]["test"]["accuracy"] > 0.5


def test_a_model_of_cropped_images_is_refused_before_the_search(tuned):
    """Getting started: a model of images that `fit` crops would be published for rows that nobody has: exit code 11."""
    model = """
    class MyHyperModel(keras_tuner.HyperModel):
        def build(self, hp):
            size = hp.Int("image_size", 2, 3)
            inputs = keras.Input((size, size, 1))
            outputs = layers.Dense(3, activation="softmax")(layers.Flatten()(inputs))
            model = keras.Model(inputs, outputs)
            model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
            return model

        def fit(self, hp, model, x, y, validation_data=None, **kwargs):
            size = hp.get("image_size")
            if validation_data:
                x_val, y_val = validation_data
                validation_data = (x_val[:, :size, :size, :], y_val)
            return model.fit(x[:, :size, :size, :], y, validation_data=validation_data, **kwargs)
    """
    done = tuned(IMAGES, model, "MyHyperModel", search={"objective": "val_accuracy"})
    assert done.code == 11
    assert "Traceback" not in done.said
    assert "trial started" not in {event["event"] for event in done.events}


def test_a_metric_of_keras_is_the_objective(tuned):
    """Getting started: `val_mean_absolute_error` of a metric's object; which way is better need not be said."""
    model = REGRESSOR.format(metrics="keras.metrics.MeanAbsoluteError()")
    done = tuned(NUMBERS, model, search={"objective": "val_mean_absolute_error"})
    assert done.code == 0, done.said
    scores = [record["score"] for record in done.records]
    assert done.manifest["scores"]["validation"]["val_mean_absolute_error"] == pytest.approx(min(scores))


def test_a_metric_of_ones_own_is_the_objective(tuned):
    """Getting started: a metric's subclass by its name, with its direction; without that it is asked for."""
    metric = """
class CustomMetric(keras.metrics.Metric):
    def __init__(self, **kwargs):
        super().__init__(name="custom_metric", **kwargs)
        self.sum = self.add_weight(name="sum", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.sum.assign_add(tf.reduce_sum(tf.math.squared_difference(y_pred, y_true)))
        self.count.assign_add(tf.cast(tf.shape(y_true)[0], tf.float32))

    def result(self):
        return self.sum / self.count
"""
    model = metric + "\n" + REGRESSOR.format(metrics="CustomMetric()")
    asked = tuned(NUMBERS, model, search={"objective": "val_custom_metric"})
    assert asked.code == 10
    assert "search.objective" in asked.said
    done = tuned(NUMBERS, model, search={"objective": {"name": "val_custom_metric", "direction": "min"}})
    assert done.code == 0, done.said
    for record in done.records:
        for epoch in record["executions"][0]["epochs"]:
            assert epoch["val_custom_metric"] == pytest.approx(epoch["val_loss"], rel=1e-4)


def test_the_number_that_fit_returns_is_the_objective(tuned):
    """Getting started: a single number, less of which is better, with no objective named."""
    model = HYPER_REGRESSOR + "        return np.mean(np.abs(y_pred - y_val))\n"
    done = tuned(NUMBERS, model, "HyperRegressor")
    assert done.code == 0, done.said
    scores = [record["score"] for record in done.records]
    best = min(done.records, key=lambda record: record["score"])
    assert best["hyperparameters"] == done.manifest["best_hyperparameters"]
    assert np.isfinite(scores).all()


def test_the_dictionary_that_fit_returns_has_the_objective(tuned):
    """Getting started: several numbers, one of which is named as the objective, more of which is better."""
    returned = '{"metric_a": -np.mean(np.abs(y_pred - y_val)), "metric_b": np.mean(np.square(y_pred - y_val))}'
    model = HYPER_REGRESSOR + f"        return {returned}\n"
    done = tuned(NUMBERS, model, "HyperRegressor", search={"objective": {"name": "metric_a", "direction": "max"}})
    assert done.code == 0, done.said
    best = max(done.records, key=lambda record: record["score"])
    assert best["hyperparameters"] == done.manifest["best_hyperparameters"]


def test_a_training_loop_of_ones_own(tuned):
    """Custom training: `fit` batches, differentiates, counts epochs, and tells the callbacks it is given."""
    model = """
    class MyHyperModel(keras_tuner.HyperModel):
        def build(self, hp):
            units = hp.Int("units", 4, 32, step=4)
            model = keras.Sequential([layers.Flatten(), layers.Dense(units, activation="relu"), layers.Dense(3)])
            model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
            return model

        def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
            batch_size = hp.Int("batch_size", 8, 32, step=8, default=16)
            train = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
            validation = tf.data.Dataset.from_tensor_slices(validation_data).batch(batch_size)
            optimizer = keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log", default=1e-2))
            loss_of = keras.losses.CategoricalCrossentropy(from_logits=True)
            mean = keras.metrics.Mean()

            @tf.function
            def step(images, labels):
                with tf.GradientTape() as tape:
                    loss = loss_of(labels, model(images))
                optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

            for callback in callbacks:
                callback.set_model(model)
            best = float("inf")
            for epoch in range(2):
                for images, labels in train:
                    step(images, labels)
                for images, labels in validation:
                    mean.update_state(loss_of(labels, model(images)))
                loss = float(mean.result())
                for callback in callbacks:
                    callback.on_epoch_end(epoch, logs={"my_metric": loss})
                mean.reset_state()
                best = min(best, loss)
            return best
    """
    done = tuned(IMAGES, model, "MyHyperModel", search={"objective": {"name": "my_metric", "direction": "min"}})
    assert done.code == 0, done.said
    assert len({record["hyperparameters"]["batch_size"] for record in done.records}) > 1
    best = min(done.records, key=lambda record: record["score"])
    assert best["hyperparameters"] == done.manifest["best_hyperparameters"]


TOO_LARGE = """
def build_model(hp):
    units = hp.Int("units_1", 10, 40, step=10), hp.Int("units_2", 10, 30, step=10)
    model = keras.Sequential([layers.Input((5,)), *(layers.Dense(one) for one in units), layers.Dense(1)])
    model.compile(loss="mse")
    if model.count_params() > 600:
        raise {error}(f"Model too large! It has {{model.count_params()}} params.")
    return model
"""


@pytest.mark.parametrize(
    ("error", "attempts"), [("ValueError", 3), ("keras_tuner.errors.FailedTrialError", 1)], ids=["error", "failed"]
)
def test_trials_that_fail_are_tolerated(tuned, error, attempts):
    """Failed trials: the search goes on; `FailedTrialError` is not tried again, other errors are."""
    done = tuned(
        NUMBERS,
        TOO_LARGE.format(error=error),
        search={"algorithm": "grid", "objective": "val_loss", "max_epochs": 1, "max_trials": 12},
        limits={"max_concurrent_trials": 1, "max_retries_per_trial": 2, "max_consecutive_failed_trials": 12},
    )
    assert done.code == 0, done.said
    failed = [record for record in done.records if record["status"] == "failed"]
    assert failed
    assert {record["attempts"] for record in failed} == {attempts}
    assert all("Model too large! It has" in record["error"] for record in failed)


def test_a_fatal_error_ends_the_search(tuned):
    """Failed trials: `FatalError` ends the job with its message and exit code 11."""
    done = tuned(
        NUMBERS,
        TOO_LARGE.format(error="keras_tuner.errors.FatalError"),
        search={"algorithm": "grid", "objective": "val_loss", "max_epochs": 1, "max_trials": 12},
    )
    assert done.code == 11
    assert "Model too large! It has" in done.said
    assert "Traceback" not in done.said


def test_a_few_are_searched_and_the_rest_is_fixed(tuned):
    """Tailor the search space: the spec narrows one entry, fixes another, and leaves the code as it is."""
    model = """
    def build_model(hp):
        model = keras.Sequential([layers.Flatten()])
        model.add(layers.Dense(hp.Int("units", min_value=8, max_value=32, step=8, default=16)))
        if hp.Boolean("dropout"):
            model.add(layers.Dropout(rate=0.25))
        model.add(layers.Dense(3, activation="softmax"))
        rate = hp.Choice("learning_rate", values=[1e-1, 1e-2, 1e-3])
        model.compile(keras.optimizers.Adam(rate), loss="categorical_crossentropy", metrics=["accuracy"])
        return model
    """
    space = {"learning_rate": [1e-2, 1e-3], "units": 16, "dropout": True}
    done = tuned(IMAGES, model, search={"algorithm": "grid", "objective": "val_accuracy"}, space=space)
    assert done.code == 0, done.said
    tried = [record["hyperparameters"] for record in done.records]
    assert [(values["units"], values["dropout"]) for values in tried] == [(16, True)] * 2
    assert {values["learning_rate"] for values in tried} == {1e-2, 1e-3}
