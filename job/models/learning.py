"""Optimizers and learning-rate schedules from hyperparameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from job.spaces.learning import CLIPPING


@dataclass(frozen=True, slots=True)
class Span:
    """What a learning-rate schedule runs over: so many epochs of so many rows."""

    rows: int
    epochs: int

    def steps(self, batch_size: int) -> int:
        """Training steps; an epoch's last batch may be smaller."""
        return -(-self.rows // batch_size) * self.epochs


def optimizer_of(values: Mapping[str, Any], span: Span | None) -> keras.optimizers.Optimizer:
    """The optimizer that hyperparameters ask for.

    Args:
        values: of everything that a builder can be given (`job.spaces.learning`).
        span: what schedules run over.

    Raises:
        ValueError: there is a schedule, and no span.
    """
    clipping = {name: float(values[name]) for name in CLIPPING if values[name] > 0}
    return _OPTIMIZERS[values["optimizer"]](values, {"learning_rate": _learning_rate(values, span), **clipping})


def is_scheduled(values: Mapping[str, Any]) -> bool:
    """Whether the learning rate changes from step to step."""
    return bool(values["learning_rate_schedule"] != "constant" or values["warm_up"] > 0)


_Settings = dict[str, Any]


def _sgd(values: Mapping[str, Any], settings: _Settings) -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(momentum=float(values["momentum"]), nesterov=values["nesterov"], **settings)


def _rmsprop(values: Mapping[str, Any], settings: _Settings) -> keras.optimizers.Optimizer:
    return keras.optimizers.RMSprop(momentum=float(values["rmsprop_momentum"]), **settings)


def _adamw(values: Mapping[str, Any], settings: _Settings) -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(weight_decay=float(values["weight_decay"]), **settings)


# By the names of `job.spaces.learning.OPTIMIZERS`.
_OPTIMIZERS: dict[str, Callable[[Mapping[str, Any], _Settings], keras.optimizers.Optimizer]] = {
    "adagrad": lambda _, settings: keras.optimizers.Adagrad(**settings),
    "adam": lambda _, settings: keras.optimizers.Adam(**settings),
    "adamax": lambda _, settings: keras.optimizers.Adamax(**settings),
    "adamw": _adamw,
    "lion": lambda _, settings: keras.optimizers.Lion(**settings),
    "nadam": lambda _, settings: keras.optimizers.Nadam(**settings),
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}


def _learning_rate(
    values: Mapping[str, Any], span: Span | None
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    rate = float(values["learning_rate"])
    if not is_scheduled(values):
        return rate
    if span is None:
        raise ValueError("a learning-rate schedule needs a span to run over")
    steps = span.steps(int(values["batch_size"]))
    warm_up = round(values["warm_up"] * steps)
    falling = _falling(values, rate, max(1, steps - warm_up))
    return WarmUp(rate, warm_up, falling) if warm_up else rate if falling is None else falling


def _falling(
    values: Mapping[str, Any], rate: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """What the learning rate does over its last `steps`; None for nothing."""
    end = float(values["learning_rate_end"])
    match values["learning_rate_schedule"]:
        case "cosine":
            return keras.optimizers.schedules.CosineDecay(rate, steps, alpha=end)
        case "exponential":
            return keras.optimizers.schedules.ExponentialDecay(rate, steps, decay_rate=end)
    return None


@keras.saving.register_keras_serializable("tuning_job")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no annotations
    """A learning rate that rises in equal parts for so many steps, and then stays or does what a schedule says.

    Keras has a warm-up for the cosine alone. No published model holds it: those have a stand-in for their optimizer.
    """

    def __init__(
        self, rate: float, steps: int, then: keras.optimizers.schedules.LearningRateSchedule | None = None
    ) -> None:
        super().__init__()
        self._rate, self._steps, self._then = rate, steps, then

    def __call__(self, step: Any) -> Any:  # noqa: ANN401 - a backend's tensor
        """The learning rate at a step, from 0."""
        done = keras.ops.cast(step, "float32")
        rising = self._rate * (done + 1.0) / self._steps
        after = self._rate if self._then is None else self._then(keras.ops.maximum(done - self._steps, 0.0))
        return keras.ops.where(done < self._steps, rising, after)

    def get_config(self) -> dict[str, Any]:
        """What makes an equal schedule."""
        return {"rate": self._rate, "steps": self._steps, "then": keras.saving.serialize_keras_object(self._then)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """An equal schedule."""
        return cls(**config | {"then": keras.saving.deserialize_keras_object(config["then"])})
