"""The weighted sum of several objectives, as a metric like any other."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from job.spec.sections import COMPOSITE, WeightedObjective


def completed(logs: Mapping[str, float], setting: "Decided", engine: "Validating") -> dict[str, float]:
    """Return what the user's own `fit` reports of an epoch, with the objective as far as that can be had.

    Where validation metrics decide and are not among it, the model is scored on the validation rows.

    Args:
        logs: the metrics.
        setting: says what decides.
        engine: scores the model.
    """
    deciding = {term.name for term in setting.terms} or {setting.objective}
    if any(name.startswith("val_") and name not in logs for name in deciding):
        logs = {**engine.validate(), **logs}
    return with_objective(logs, setting.terms if deciding <= logs.keys() else ())


class Decided(Protocol):
    """What says which metrics decide."""

    @property
    def objective(self) -> str:
        """The metric, or the name of the weighted sum."""
        ...

    @property
    def terms(self) -> tuple[WeightedObjective, ...]:
        """What is summed."""
        ...


class Validating(Protocol):
    """What scores a model."""

    def validate(self) -> dict[str, float]:
        """Return the metrics over the validation rows, named `val_…`."""
        ...


def with_objective(logs: Mapping[str, float], terms: Sequence[WeightedObjective]) -> dict[str, float]:
    """An epoch's metrics, and the weighted sum that decides, of which less is better.

    Args:
        logs: the metrics of an epoch.
        terms: what is summed; without any, nothing is added.

    Raises:
        ValueError: the model does not log a metric that is summed, or logs one of the sum's own name.
    """
    if not terms:
        return dict(logs)
    missing = [term.name for term in terms if term.name not in logs]
    if missing or COMPOSITE in logs:
        said = f"logs {COMPOSITE} itself" if COMPOSITE in logs else f"does not log {missing[0]}"
        raise ValueError(f"the model {said}, but {', '.join(sorted(logs))}")
    values = [(logs[term.name], term) for term in terms]
    if not all(math.isfinite(value) for value, _ in values):
        return {**logs, COMPOSITE: math.nan}
    signed = [term.weight * (value if term.direction == "min" else -value) for value, term in values]
    return {**logs, COMPOSITE: math.fsum(signed)}
