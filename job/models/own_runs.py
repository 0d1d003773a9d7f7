"""What code declares with one set of values and not with another: runs of it, and the conditions that they show."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters as kt
from keras_tuner.src.engine.conditions import Parent  # it has no public name

from job.logs import get_logger

# So many values of an entry are tried one by one, as many as decide over other entries in code that people write.
_FEW_VALUES = 16
# More runs than these are not made: an entry that only they would show takes its default.
_MOST_RUNS = 200

Declare = Callable[[Mapping[str, Any]], keras_tuner.HyperParameters | None]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the code: the values that it used, and what it declared without conditions of its own, in order."""

    values: Mapping[str, Any]
    entries: tuple[kt.HyperParameter, ...]

    @classmethod
    def of(cls, hp: keras_tuner.HyperParameters) -> "Run":
        """From what the code has been handed."""
        return cls(dict(hp.values), tuple(entry for entry in hp.space if not entry.conditions))

    @property
    def names(self) -> frozenset[str]:
        """What it declared."""
        return frozenset(entry.name for entry in self.entries)


def varied_runs(first: Run, declare: Declare) -> list[Run]:
    """Run code with one value changed at a time until nothing new appears, the first run included.

    Tried are all values of a choice, a boolean, and whole numbers of which there are few; of others the smallest and
    the largest. Where a run shows what none before it has, all is varied again from there: what appears may depend on
    both.

    Args:
        first: with default values.
        declare: runs the code with values; None where it refuses them.
    """
    runs, tried = [first], {_key(first.values)}
    known, waiting = set(first.names), [first]
    while waiting:
        base = waiting.pop(0)
        for values in _variations(base):
            if _key(values) in tried:
                continue
            if len(runs) >= _MOST_RUNS:
                get_logger().warning(
                    "the code was not run with more values: what only these would show is not searched", runs=len(runs)
                )
                return runs
            tried.add(_key(values))
            hp = declare(values)
            if hp is None:
                continue
            run = Run.of(hp)
            runs.append(run)
            if not run.names <= known:
                known |= run.names
                waiting.append(run)
    return runs


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in values.items()))


def _variations(base: Run) -> Iterator[dict[str, Any]]:
    for entry in base.entries:
        for value in _values_to_try(entry):
            if value != base.values.get(entry.name):
                yield {**base.values, entry.name: value}


def _values_to_try(entry: kt.HyperParameter) -> list[Any]:
    values = _all_values(entry)
    if values is not None:
        return values
    ends = (getattr(entry, "min_value", None), getattr(entry, "max_value", None))
    return [value for value in ends if value is not None]


def _all_values(entry: kt.HyperParameter) -> list[Any] | None:
    """Every value of an entry that has few; None of another one, which then decides over no other."""
    if isinstance(entry, kt.Choice | kt.Boolean | kt.Fixed):
        values = list(entry.values)
    elif isinstance(entry, kt.Int) and entry.step is not None:
        values = [int(value) for value in entry.values]
    else:
        return None
    return values if len(values) <= _FEW_VALUES else None


def with_conditions(runs: Sequence[Run]) -> list[kt.HyperParameter]:
    """Return what all runs have declared, each entry under the conditions that explain where it was declared.

    An entry is in force where each of some entries before it has one of some values: the fewest that tell the runs that
    declared it from those that did not. Where none do, it is always in force.
    """
    found: dict[str, kt.HyperParameter] = {}
    for run in runs:
        for entry in run.entries:
            known = found.setdefault(entry.name, entry)
            if known.get_config() != entry.get_config():
                get_logger().warning(
                    "a hyperparameter is declared otherwise with other values: it is searched as it was first declared",
                    name=entry.name,
                )
    names = list(found)
    return [_conditioned(found[name], [found[one] for one in names[:place]], runs) for place, name in enumerate(names)]


def _conditioned(
    entry: kt.HyperParameter, before: Sequence[kt.HyperParameter], runs: Sequence[Run]
) -> kt.HyperParameter:
    shown = [run for run in runs if entry.name in run.names]
    hidden = [run for run in runs if entry.name not in run.names]
    if not hidden:
        return entry
    conditions = []
    candidates = [
        Parent(one.name, _in_order(one, shown))
        for one in before
        if _all_values(one) is not None and all(one.name in run.names for run in shown)
    ]
    while hidden and candidates:
        best = max(candidates, key=lambda one: sum(not _holds(one, run) for run in hidden))
        left = [run for run in hidden if _holds(best, run)]
        if len(left) == len(hidden):
            break
        conditions.append(best)
        hidden = left
    if hidden:
        get_logger().warning(
            "no other hyperparameter's value tells when this one is asked for: it is searched as if it always were",
            name=entry.name,
        )
        return entry
    conditioned = copy.copy(entry)
    # In the order in which they are declared, whichever told most.
    order = [one.name for one in before]
    conditioned.conditions = sorted(conditions, key=lambda one: order.index(one.name))
    return conditioned


def _in_order(parent: kt.HyperParameter, shown: Sequence[Run]) -> list[Any]:
    used = [run.values[parent.name] for run in shown]
    return [value for value in _all_values(parent) or () if value in used]


def _holds(condition: Any, run: Run) -> bool:  # noqa: ANN401 - KerasTuner has no annotations
    return condition.name in run.names and run.values[condition.name] in condition.values
