"""A model of your own: `build_model(hp)` returns a compiled Keras model, as KerasTuner has it.

What it prints is in the job's log. `python model.py` tries it alone.
"""

import keras
import keras_tuner


@keras.saving.register_keras_serializable(package="own_model")
class Jitter(keras.layers.Layer):
    """Multiplies by random factors around 1 while it is trained, and leaves everything alone otherwise.

    It is registered under a name and gives its settings in `get_config`: so a saved model can be loaded again.
    """

    def __init__(self, deviation, **kwargs):
        super().__init__(**kwargs)
        self.deviation = deviation
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, inputs, training=False):
        """Shape (rows, ...), and the same out."""
        if not training:
            return inputs
        return inputs * keras.random.normal(keras.ops.shape(inputs), 1.0, self.deviation, seed=self.seeds)

    def get_config(self):
        """What `__init__` takes."""
        return {**super().get_config(), "deviation": self.deviation}


def build_model(hp, input_shape, classes):
    """A small classifier. `hp` alone would do: the other two are given because they are named here."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(inputs)
    x = Jitter(hp.Choice("jitter", [0.0, 0.1, 0.3]))(x)
    for _ in range(hp.Int("hidden_layers", 1, 3)):
        x = keras.layers.Dense(hp.Int("units", 32, 256, step=32), activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))
    optimizer = hp.Choice("optimizer", ["adam", "sgd"])
    # Whatever depends on another hyperparameter stands in a scope that is always entered; what it makes need not be.
    with hp.conditional_scope("optimizer", ["sgd"]):
        momentum = hp.Float("momentum", 0.5, 0.95, step=0.05) if optimizer == "sgd" else 0.0
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(
        optimizer=keras.optimizers.SGD(rate, momentum) if optimizer == "sgd" else keras.optimizers.Adam(rate / 10),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


if __name__ == "__main__":
    build_model(keras_tuner.HyperParameters(), (8, 8), 10).summary()
