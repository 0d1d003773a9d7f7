"""A small net for tests of real training. Importing this module imports TensorFlow."""

from typing import ClassVar

import keras

from job.models import BuiltInHyperModel
from job.spaces import MLP


class StatefulNet(BuiltInHyperModel):
    """A net whose training has all kinds of state: Adam's, moving averages, and a seed generator's.

    Attributes:
        dropout: the share that is dropped; 0 for none, and no seed generator.
        compilation: what `compile` is given besides.
    """

    declaration: ClassVar = MLP
    compilation: ClassVar = {}
    dropout: ClassVar = 0.3

    def build_from(self, values):
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input(self._input_shape),
                layers.Flatten(),
                layers.Dense(values["units"], activation="relu"),
                layers.BatchNormalization(momentum=0.5),
                *([layers.Dropout(self.dropout)] if self.dropout else []),
                layers.Dense(self._target.outputs),
            ]
        )
        model.compile(
            optimizer=keras.optimizers.Adam(values["learning_rate"]),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            **self.compilation,
        )
        return model
