"""What the rows of each class count in training."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from job.data.dataset import Dataset
from job.data.labels import class_codes
from job.errors import Problem, SpecError
from job.spec.fields import listed

_SHOWN = 10


def class_weights(asked: Literal["balanced"] | Mapping[str, float], dataset: Dataset) -> dict[int, float]:
    """What training rows count, by the number that stands for their class in the targets.

    Balanced weights are inverse to a class's share of the training rows, and 1 on average over the rows, as
    scikit-learn's are; where rows have weights of their own, it is those that are shared out.

    Args:
        asked: the spec's `training.class_weight`, if it is not `none`.
        dataset: the data.

    Raises:
        SpecError: the task is no classification, or has no class of a name.
    """
    names = dataset.class_names
    if names is None:
        raise _wrong(f"expected none: the targets of {dataset.source} make a {dataset.target.task} (data.task)")
    if asked == "balanced":
        train = dataset.train
        counts = np.bincount(
            class_codes(train.y, dataset.target), weights=train.sample_weight, minlength=len(names)
        ).astype(np.float64)
        present = counts > 0
        shares = counts.sum() / present.sum()
        found = {number: float(shares / counts[number]) for number in np.flatnonzero(present).tolist()}
        return _by_value(found, dataset)
    unknown = [name for name in asked if name not in names]
    if unknown:
        shown = listed(names[:_SHOWN], "and") if len(names) <= _SHOWN else f"{', '.join(names[:_SHOWN])} …"
        raise _wrong(f"{dataset.source} has no class {listed(unknown, 'or')}; it has {shown}")
    weights = {names.index(name): float(weight) for name, weight in asked.items()}
    if not any(weights.get(number, 1.0) for number in range(len(names))):
        raise _wrong("expected a class that counts more than 0")
    return _by_value(weights, dataset)


def _by_value(weights: Mapping[int, float], dataset: Dataset) -> dict[int, float]:
    values = dataset.target.class_values
    return {number if values is None else int(values[number]): weight for number, weight in weights.items()}


def _wrong(message: str) -> SpecError:
    return SpecError([Problem("training.class_weight", message)])
