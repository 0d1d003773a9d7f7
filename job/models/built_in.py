"""What the built-in builders have in common: their space, their loss, and how their models learn."""

import copy
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, Self

import keras
import keras_tuner

from job.models.declaring import declare_entry, default_of, of_one_type
from job.models.learning import Span, is_scheduled, optimizer_of
from job.models.metrics import metrics_of
from job.models.tunable import TunableModel
from job.spaces import AnyEntry, Builder, Scalar, as_made
from job.target import Target


class BuiltInHyperModel(TunableModel):
    """A builder over a resolved space.

    Args:
        space: entries as the spec asks for them; they replace or add to the builder's own.
        input_shape: the shape of one prepared row.
        target: what to predict.
        metrics: what to log besides the task's own metrics, by name; see `job.spec.metrics`.
        span: what learning-rate schedules run over; needed where there is one.
    """

    declaration: ClassVar[Builder]

    def __init__(
        self,
        space: Mapping[str, AnyEntry],
        *,
        input_shape: tuple[int, ...],
        target: Target,
        metrics: Sequence[str] = (),
        span: Span | None = None,
    ) -> None:
        super().__init__(name=self.declaration.name, tunable=True)
        self._entries = self.declaration.resolve(space)
        self._constants = self.declaration.constants()
        self._input_shape = input_shape
        self._target = target
        self._metrics = tuple(metrics)
        self._span = span

    def scheduled_over(self, span: Span) -> Self:
        """The same builder, its schedules running over another span."""
        other = copy.copy(self)
        other._span = span  # noqa: SLF001 - of its own class
        return other

    def declare(self, hp: keras_tuner.HyperParameters) -> dict[str, Scalar]:
        """Declare the space to KerasTuner; returns the current value of everything the builder can be given.

        An entry that its parent switches off has the builder's constant, or its own default. One that takes the place
        of another (`units_1` that of `units`) leaves that its place.
        """
        values = dict(self._constants)
        for name, entry in self._entries.items():
            with ExitStack() as scopes:
                for condition in self._conditions(entry):
                    scopes.enter_context(hp.conditional_scope(*condition))
                value = declare_entry(hp, name, entry)
            declared = self.declaration.hyperparameter(name)
            if value is not None:
                values[name] = value
            elif name not in values and (declared is None or declared.entry is not None):
                values[name] = default_of(entry)
        return values

    def _conditions(self, entry: AnyEntry) -> list[tuple[str, list[Scalar]]]:
        """All that must hold for an entry to be active, the outermost first.

        KerasTuner finds a parent that has a parent of its own only inside that one's scope.
        """
        if entry.parent_name is None or entry.parent_values is None:
            return []
        parent = self._entries[entry.parent_name]
        values = [as_made(parent, value) for value in entry.parent_values]
        return [*self._conditions(parent), (entry.parent_name, of_one_type(values))]

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """A compiled model with the values that `hp` holds."""
        return self.build_from(self.declare(hp))

    def build_from(self, values: Mapping[str, Any]) -> keras.Model:
        """A compiled model from plain values."""
        raise NotImplementedError

    def _compiled(self, layers: Sequence[keras.Layer], values: Mapping[str, Any]) -> keras.Model:
        """These layers, then one logit per class, or one number in the target's unit."""
        output = keras.layers.Dense(self._target.outputs, kernel_regularizer=_penalty(values))
        optimizer = optimizer_of(values, self._span)
        metrics = metrics_of(self._target, self._metrics)
        if self._target.task != "regression":
            model = keras.Sequential([*layers, output])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer=optimizer, loss=loss, weighted_metrics=metrics)
            return model
        mean, scale = self._target.mean, self._target.scale
        # In float32 whatever the precision: 16 bits hold no prices. Weighted so that gradients are those of
        # standardised targets, and learning rates and penalties mean the same in every unit.
        in_unit = keras.layers.Rescaling(scale, offset=mean, dtype="float32", name="in_unit")
        model = keras.Sequential([*layers, output, in_unit])
        loss = keras.losses.MeanSquaredError()
        model.compile(optimizer=optimizer, loss=loss, loss_weights=scale**-2, weighted_metrics=metrics)
        return model

    def _hidden(self, units: int, values: Mapping[str, Any]) -> list[keras.Layer]:
        """A dense layer, with what belongs to it."""
        dense = keras.layers.Dense(units, **layer_settings(values))
        layers = [dense, *normalization(values)]
        if values["dropout"] > 0:
            layers.append(keras.layers.Dropout(values["dropout"]))
        return layers

    def graph_key(self, values: Mapping[str, Scalar]) -> Hashable:
        """Equal for hyperparameters that make the same graph.

        An optimizer's constant learning rate is a variable; a schedule, and all else, is part of the graph.
        """
        all_values = self._constants | dict(values)
        if is_scheduled(all_values):
            return self._span, tuple(sorted(all_values.items()))
        return tuple(sorted((name, value) for name, value in all_values.items() if name != "learning_rate"))

    def batch_size(self, values: Mapping[str, Scalar]) -> int:
        """Rows per training step for a trial's hyperparameters."""
        return int(values.get("batch_size", self._constants["batch_size"]))


# Keras's 0.99 remembers hundreds of steps: in the few epochs of a first rung, averages over small data would still be
# near their initial values when validation uses them.
_MOVING_AVERAGE_MOMENTUM = 0.9


def layer_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a layer with weights is made with; normalised, its bias and activation come after."""
    normalised = values["batch_normalization"]
    activation = None if normalised else values["activation"]
    return {"activation": activation, "use_bias": not normalised, "kernel_regularizer": _penalty(values)}


def normalization(values: Mapping[str, Any]) -> list[keras.Layer]:
    """What follows a layer that is normalised.

    Source: Ioffe and Szegedy, "Batch Normalization", 2015: before the activation.
    """
    if not values["batch_normalization"]:
        return []
    average = keras.layers.BatchNormalization(momentum=_MOVING_AVERAGE_MOMENTUM)
    return [average, keras.layers.Activation(values["activation"])]


def _penalty(values: Mapping[str, Any]) -> keras.regularizers.Regularizer | None:
    l1, l2 = float(values["l1"]), float(values["l2"])
    return keras.regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None
