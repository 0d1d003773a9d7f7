"""The built-in builders as KerasTuner HyperModels; what each can be given is declared in `job.spaces`."""

from collections.abc import Mapping
from typing import Any

import keras

from job.models.built_in import BuiltInHyperModel, layer_settings, normalization
from job.spaces import CNN, LINEAR, MLP
from job.spaces.images import after_convolutions


class LinearHyperModel(BuiltInHyperModel):
    """Logistic regression, or linear regression: no hidden layer."""

    declaration = LINEAR

    def build_from(self, values: Mapping[str, Any]) -> keras.Model:
        """A compiled model from plain values."""
        return self._compiled([keras.Input(self._input_shape), keras.layers.Flatten()], values)


class MlpHyperModel(BuiltInHyperModel):
    """The tutorial's classifier, or its counterpart for numbers: flatten, hidden dense layers, one output per class.

    Source: TensorFlow, "Introduction to the Keras Tuner".
    """

    declaration = MLP

    def build_from(self, values: Mapping[str, Any]) -> keras.Model:
        """A compiled model from plain values."""
        layers: list[keras.Layer] = [keras.Input(self._input_shape), keras.layers.Flatten()]
        for number in range(1, values["hidden_layers"] + 1):
            layers += self._hidden(_of_layer("units", number, values), values)
        return self._compiled(layers, values)


class CnnHyperModel(BuiltInHyperModel):
    """A small convolutional net for images: convolutions with max pooling, dense layers, one output per class.

    Convolutions have no padding. Images of any size build: where a side of what arrives at a layer is shorter than
    its filters, or than what is pooled, the layer spans that side; a side of 1 is not pooled any more.
    """

    declaration = CNN

    def build_from(self, values: Mapping[str, Any]) -> keras.Model:
        """A compiled model from plain values."""
        height, width = self._input_shape[:2]
        layers: list[keras.Layer] = [keras.Input(self._input_shape)]
        if len(self._input_shape) == len((height, width)):
            layers.append(keras.layers.Reshape((height, width, 1)))
        windows = after_convolutions((height, width), values["conv_layers"], values["kernel_size"])
        for number, window in enumerate(windows, start=1):
            filters = _of_layer("filters", number, values)
            layers.append(keras.layers.Conv2D(filters, window.kernel, **layer_settings(values)))
            layers += normalization(values)
            if max(window.pool) > 1:
                layers.append(keras.layers.MaxPooling2D(window.pool))
        layers.append(keras.layers.Flatten())
        for number in range(1, values["hidden_layers"] + 1):
            layers += self._hidden(_of_layer("units", number, values), values)
        return self._compiled(layers, values)


def _of_layer(name: str, number: int, values: Mapping[str, Any]) -> int:
    """What a layer has of its own, or else what all share."""
    own = f"{name}_{number}"
    return int(values[own] if own in values else values[name])


BUILDER_CLASSES: dict[str, type[BuiltInHyperModel]] = {
    LINEAR.name: LinearHyperModel,
    MLP.name: MlpHyperModel,
    CNN.name: CnnHyperModel,
}
