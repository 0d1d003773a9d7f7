"""A file with a model of one's own, of a kind, for what a source gives."""

from pathlib import Path

KINDS = ("functional", "subclassed", "train_step", "own_layer", "lambda_layer", "own_fit")

_MODULE = '''\
"""A model of one's own: {kind}, from {inputs} to {outputs}."""

import keras
import keras_tuner
import tensorflow as tf
from keras import layers

KIND, INPUTS, OUTPUTS = "{kind}", "{inputs}", "{outputs}"
LOSSES = {{
    "classes": ("sparse_categorical_crossentropy", ["accuracy"]),
    "one_hot": ("categorical_crossentropy", ["accuracy"]),
    "number": ("mse", ["mae"]),
    "list": (["mse", "mse"], None),
}}


@keras.saving.register_keras_serializable("pairs")
class Scaled(layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")

    def call(self, inputs):
        return inputs * self.gain * self.factor

    def get_config(self):
        return super().get_config() | {{"factor": self.factor}}


@keras.saving.register_keras_serializable("pairs")
class Stepping(keras.Model):
    def train_step(self, data):
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            answers = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=answers, sample_weight=weights)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            # The losses of single outputs are means that `compute_loss` has kept.
            elif not isinstance(metric, keras.metrics.Mean):
                metric.update_state(y, answers, sample_weight=weights)
        return {{metric.name: metric.result() for metric in self.metrics}}


class Body:
    """Layers from any inputs to the outputs; called on symbols and on tensors alike."""

    def __init__(self, units):
        self.first = {{
            "text": lambda: layers.TextVectorization(vocabulary={words}, output_sequence_length=2),
            "dict": layers.Concatenate,
        }}.get(INPUTS, layers.Flatten)()
        self.embedding = layers.Embedding(8, units) if INPUTS == "text" else None
        self.flat = layers.Flatten()
        self.hidden = layers.Dense(units, activation="relu")
        self.between = {{
            "own_layer": lambda: Scaled(units / 8),
            "lambda_layer": lambda: layers.Lambda(lambda x: x * 0.5),
        }}.get(KIND, lambda: layers.Dropout(0.1))()
        self.heads = {{
            "classes": lambda: [layers.Dense(3, activation="softmax")],
            "one_hot": lambda: [layers.Dense(3, activation="softmax")],
            "number": lambda: [layers.Dense(1)],
            "list": lambda: [layers.Dense(1), layers.Dense(2)],
        }}[OUTPUTS]()

    @property
    def layers(self):
        known = [self.first, self.embedding, self.flat, self.hidden, self.between, *self.heads]
        return [one for one in known if one is not None]

    def __call__(self, inputs):
        x = self.first([inputs["a"], inputs["b"]] if INPUTS == "dict" else inputs)
        if self.embedding is not None:
            x = self.embedding(x)
        x = self.between(self.hidden(self.flat(x)))
        answers = [head(x) for head in self.heads]
        return answers if OUTPUTS == "list" else answers[0]


@keras.saving.register_keras_serializable("pairs")
class Net(keras.Model):
    """Its variables come with its first call."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.body = Body(units)
        self.known = self.body.layers

    def call(self, inputs):
        return self.body(inputs)

    def get_config(self):
        return super().get_config() | {{"units": self.units}}


def build_model(hp, input_shape):
    units = hp.Int("units", 4, 12, step=4)
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    if KIND == "subclassed":
        model = Net(units)
    else:
        dtype = "string" if INPUTS == "text" else "float32"
        is_dict = isinstance(input_shape, dict)
        inputs = (
            {{name: keras.Input(shape, dtype=dtype, name=name) for name, shape in input_shape.items()}}
            if is_dict
            else keras.Input(input_shape, dtype=dtype)
        )
        model = (Stepping if KIND == "train_step" else keras.Model)(inputs, Body(units)(inputs))
    loss, metrics = LOSSES[OUTPUTS]
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, metrics=metrics)
    return model


class Tuned(keras_tuner.HyperModel):
    """Only with the kind `own_fit`: as KerasTuner's guide has it."""

    def build(self, hp):
        return build_model(hp, self.input_shape)

    def __init__(self, input_shape):
        super().__init__()
        self.input_shape = input_shape

    def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
        return model.fit(x, y, validation_data=validation_data, callbacks=callbacks, **kwargs)
'''


def write_model(folder: Path, kind: str, inputs: str, outputs: str, words: tuple[str, ...]) -> dict[str, str]:
    """Write `model.py`; returns the spec's `model`."""
    text = _MODULE.format(kind=kind, inputs=inputs, outputs=outputs, words=list(words))
    (folder / "model.py").write_text(text)
    return {"source": "model.py", "function": "Tuned" if kind == "own_fit" else "build_model"}
