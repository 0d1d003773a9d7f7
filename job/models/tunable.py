"""What the search needs of a model, whether it is built in or the user's own."""

import traceback
from collections.abc import Hashable, Mapping
from typing import Any, Self

import keras_tuner

from job.models.learning import Span
from job.spaces import Scalar


class TunableModel(keras_tuner.HyperModel):  # type: ignore[misc]  # KerasTuner has no annotations
    """A KerasTuner HyperModel that also says what its space is, and what the engine needs to know.

    `build` returns a compiled model for the values that `hp` holds. A subclass may override `fit`; then that trains,
    a stretch of epochs per call.
    """

    def declare(self, hp: keras_tuner.HyperParameters) -> Mapping[str, Any]:
        """Declare the whole space to KerasTuner; returns the current values."""
        raise NotImplementedError

    def graph_key(self, values: Mapping[str, Scalar]) -> Hashable:
        """Equal for hyperparameters that make the same graph; None where that is not known."""
        del values
        return None

    def explain(self, error: BaseException) -> str:
        """What to record of an error that training this model has raised."""
        return "".join(traceback.format_exception_only(error)).strip()

    def custom_objects(self) -> Mapping[str, Any]:
        """Classes and functions that a copy of the model may need, and Keras does not know; by name."""
        return {}

    def batch_size(self, values: Mapping[str, Scalar]) -> int:
        """Rows per training step for a trial's hyperparameters."""
        raise NotImplementedError

    def scheduled_over(self, span: Span) -> Self:
        """The same model, its learning-rate schedules running over this span, where it is told what they run over."""
        del span
        return self
