"""The weighted sum of several objectives, as a metric like any other."""

import math
from collections.abc import Mapping, Sequence

from job.spec.sections import COMPOSITE, WeightedObjective


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
