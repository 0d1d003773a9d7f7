"""The built-in builders as KerasTuner HyperModels; what each can be given is declared in `job.spaces`."""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import keras
import keras_tuner

from job.models.tunable import TunableModel
from job.spaces import (
    CNN,
    MLP,
    AnyEntry,
    BooleanEntry,
    Builder,
    ChoiceEntry,
    FixedEntry,
    FloatEntry,
    IntEntry,
    Scalar,
)
from job.target import Target


class BuiltInHyperModel(TunableModel):
    """A builder over a resolved space.

    Args:
        space: entries as the spec asks for them; they replace or add to the builder's own.
        input_shape: the shape of one prepared row.
        target: what to predict.
    """

    declaration: ClassVar[Builder]

    def __init__(self, space: Mapping[str, AnyEntry], *, input_shape: tuple[int, ...], target: Target) -> None:
        super().__init__(name=self.declaration.name, tunable=True)
        self._entries = self.declaration.resolve(space)
        self._constants = self.declaration.constants()
        self._input_shape = input_shape
        self._target = target

    def declare(self, hp: keras_tuner.HyperParameters) -> dict[str, Scalar]:
        """Declare the space to KerasTuner; returns the current value of everything the builder can be given.

        An entry that its parent switches off has the builder's constant, or its own default.
        """
        values = dict(self._constants)
        for name, entry in self._entries.items():
            with ExitStack() as scopes:
                for condition in self._conditions(entry):
                    scopes.enter_context(hp.conditional_scope(*condition))
                value = _declare_entry(hp, name, entry)
            if value is not None:
                values[name] = value
            elif name not in values:
                values[name] = _default_of(entry)
        return values

    def _conditions(self, entry: AnyEntry) -> list[tuple[str, list[Scalar]]]:
        """All that must hold for an entry to be active, the outermost first.

        KerasTuner finds a parent that has a parent of its own only inside that one's scope.
        """
        if entry.parent_name is None or entry.parent_values is None:
            return []
        outer = self._conditions(self._entries[entry.parent_name])
        return [*outer, (entry.parent_name, _of_one_type(entry.parent_values))]

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """A compiled model with the values that `hp` holds."""
        return self.build_from(self.declare(hp))

    def build_from(self, values: Mapping[str, Any]) -> keras.Model:
        """A compiled model from plain values."""
        raise NotImplementedError

    def _compiled(self, layers: Sequence[keras.Layer], values: Mapping[str, Any]) -> keras.Model:
        """A classifier: these layers, then one logit per class."""
        model = keras.Sequential([*layers, keras.layers.Dense(self._target.outputs)])
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate=values["learning_rate"]),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    def graph_key(self, values: Mapping[str, Scalar]) -> Hashable:
        """Equal for hyperparameters that make the same graph: an optimizer's constant learning rate is a variable."""
        return tuple(sorted((name, value) for name, value in values.items() if name != "learning_rate"))

    def batch_size(self, values: Mapping[str, Scalar]) -> int:
        """Rows per training step for a trial's hyperparameters."""
        return int(values.get("batch_size", self._constants["batch_size"]))


class MlpHyperModel(BuiltInHyperModel):
    """The tutorial's classifier: flatten, hidden dense layers, one logit per class.

    Source: TensorFlow, "Introduction to the Keras Tuner".
    """

    declaration = MLP

    def build_from(self, values: Mapping[str, Any]) -> keras.Model:
        """A compiled model from plain values."""
        layers: list[keras.Layer] = [keras.Input(self._input_shape), keras.layers.Flatten()]
        for _ in range(values["hidden_layers"]):
            layers.append(keras.layers.Dense(values["units"], activation=values["activation"]))
            if values["dropout"] > 0:
                layers.append(keras.layers.Dropout(values["dropout"]))
        return self._compiled(layers, values)


# Max pooling of 2 by 2, Keras's default.
_POOL = 2


class CnnHyperModel(BuiltInHyperModel):
    """A small convolutional classifier of images: convolutions with max pooling, a dense layer, one logit per class.

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
        sides = (height, width)
        for _ in range(values["conv_layers"]):
            kernel = _within(sides, values["kernel_size"])
            layers.append(keras.layers.Conv2D(values["filters"], kernel, activation=values["activation"]))
            sides = (sides[0] - kernel[0] + 1, sides[1] - kernel[1] + 1)
            pool = _within(sides, _POOL)
            if max(pool) > 1:
                layers.append(keras.layers.MaxPooling2D(pool))
                sides = (sides[0] // pool[0], sides[1] // pool[1])
        layers += [keras.layers.Flatten(), keras.layers.Dense(values["units"], activation=values["activation"])]
        if values["dropout"] > 0:
            layers.append(keras.layers.Dropout(values["dropout"]))
        return self._compiled(layers, values)


def _within(sides: tuple[int, int], size: int) -> tuple[int, int]:
    """A window of this size, no larger than what it is laid on."""
    return min(size, sides[0]), min(size, sides[1])


BUILDER_CLASSES: dict[str, type[BuiltInHyperModel]] = {MLP.name: MlpHyperModel, CNN.name: CnnHyperModel}


def _declare_entry(hp: keras_tuner.HyperParameters, name: str, entry: AnyEntry) -> Scalar | None:
    """Register one entry in the scopes that are open; returns its value, or None while one of them is inactive."""
    value: Scalar | None
    match entry:
        case IntEntry() | FloatEntry():
            declare = hp.Int if isinstance(entry, IntEntry) else hp.Float
            value = declare(
                name, entry.min_value, entry.max_value, step=entry.step, sampling=entry.sampling, default=entry.default
            )
        case ChoiceEntry():
            value = hp.Choice(name, list(entry.values), ordered=entry.ordered, default=entry.default)
        case BooleanEntry():
            value = hp.Boolean(name, default=entry.default)
        case FixedEntry():
            value = hp.Fixed(name, entry.value)
    return value


def _of_one_type(values: Sequence[Scalar]) -> list[Scalar]:
    """KerasTuner makes all of a parent's values whole numbers if the first one is: 0, 0.5 would become 0, 0."""
    if any(isinstance(value, float) for value in values):
        return [value if isinstance(value, str) else float(value) for value in values]
    return list(values)


def _default_of(entry: AnyEntry) -> Scalar:
    match entry:
        case FixedEntry():
            return entry.value
        case BooleanEntry():
            return entry.default
        case ChoiceEntry():
            return entry.values[0] if entry.default is None else entry.default
        case IntEntry() | FloatEntry():
            return entry.min_value if entry.default is None else entry.default
    raise AssertionError(entry)
