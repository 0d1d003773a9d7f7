"""The configurations of each bracket's first rung, in the form in which the benchmark compares both sides' ones."""

from collections.abc import Mapping, Sequence
from typing import Any

# What the tutorial's script searches; the job's configurations also hold what a case fixes.
SEARCHED = ("units", "learning_rate")

# By bracket number, which counts a bracket's promotions on both sides, in the order of the indexes.
FirstRungs = dict[int, list[dict[str, Any]]]


def first_rungs(rungs: Mapping[Any, Sequence[Mapping[str, Any]]]) -> FirstRungs:
    """What is searched of configurations by bracket number, which JSON turns into text."""
    return {
        int(bracket): [{name: values[name] for name in SEARCHED} for values in rung] for bracket, rung in rungs.items()
    }
