"""A model of your own: `build_model(hp)` returns a compiled Keras model, as KerasTuner has it.

Whatever it prints is in the job's log. Try it alone with `python model.py`.
"""

import keras
import keras_tuner


@keras.saving.register_keras_serializable(package="own_model")
class ScaledNoise(keras.layers.Layer):
    """Multiplies by random factors around 1 in training, and leaves everything alone otherwise.

    It is registered under a name, and has its settings in `get_config`: so a saved model can be loaded again.
    """

    def __init__(self, deviation: float, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.deviation = deviation
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, inputs, training=False):
        """Shape (rows, …), and the same out."""
        if not training:
            return inputs
        return inputs * keras.random.normal(keras.ops.shape(inputs), 1.0, self.deviation, seed=self.seeds)

    def get_config(self):
        """What `__init__` is given."""
        return {**super().get_config(), "deviation": self.deviation}


def build_model(hp: keras_tuner.HyperParameters, input_shape, classes) -> keras.Model:
    """A small classifier. `input_shape` and `classes` are given because they are named here; `hp` alone would do."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(inputs)
    if hp.Boolean("noise"):
        with hp.conditional_scope("noise", [True]):
            x = ScaledNoise(hp.Float("deviation", 0.05, 0.4, sampling="log"))(x)
    for _ in range(hp.Int("hidden_layers", 1, 3)):
        x = keras.layers.Dense(hp.Int("units", 32, 256, step=32), activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))
    model.compile(
        optimizer=keras.optimizers.Adam(hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


if __name__ == "__main__":
    build_model(keras_tuner.HyperParameters(), (8, 8), 10).summary()
