"""What code declares with one set of values and not with another: runs of it, and the conditions that they show."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters as kt
from keras_tuner.src.engine.conditions import Parent  # it has no public name

from job.logs import get_logger
from job.models.declaring import declared_entry
from job.spaces import values_of

# So many numbers are tried one by one, as many as decide over other entries in code that people write.
_FEW_VALUES = 16
# A condition lists values: a number that has more decides over no other entry.
_MOST_VALUES = 1000
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

    Tried are all values of a choice, a boolean, and numbers of which there are few; of others the smallest and the
    largest, and between two that show different entries the one in the middle, until they are next to each other. Where
    a run shows what none before it has, all is varied again from there: what appears may depend on both.

    Args:
        first: with default values.
        declare: runs the code with values; None where it refuses them.
    """
    runs = {_key(first.values): first}
    refused: set[_Key] = set()
    known, waiting = set(first.names), [first]

    def run_with(values: Mapping[str, Any]) -> Run | None:
        key = _key(values)
        if key in runs or key in refused:
            return runs.get(key)
        if len(runs) + len(refused) >= _MOST_RUNS:
            raise _TooManyRunsError
        hp = declare(values)
        if hp is None:
            refused.add(key)
            return None
        runs[key] = run = Run.of(hp)
        if not run.names <= known:
            known.update(run.names)
            waiting.append(run)
        return run

    try:
        while waiting:
            base = waiting.pop(0)
            for entry in base.entries:
                _vary(entry, base, run_with)
    except _TooManyRunsError:
        get_logger().warning(
            "the code was not run with more values: what only these would show is not searched", runs=len(runs)
        )
    return list(runs.values())


class _TooManyRunsError(Exception):
    """As many runs were made as may be."""


_Key = tuple[tuple[str, str], ...]


def _key(values: Mapping[str, Any]) -> _Key:
    return tuple(sorted((name, repr(value)) for name, value in values.items()))


def _vary(entry: kt.HyperParameter, base: Run, run_with: Callable[[Mapping[str, Any]], Run | None]) -> None:
    """Run with other values of one entry."""

    def shown_by(value: object) -> frozenset[str] | None:
        run = base if value == base.values.get(entry.name) else run_with({**base.values, entry.name: value})
        return None if run is None else run.names

    values = _all_values(entry)
    if values is None:
        for value in (entry.min_value, entry.max_value):
            shown_by(value)
        return
    if len(values) <= _FEW_VALUES or not isinstance(entry, kt.Int | kt.Float):
        for value in values:
            shown_by(value)
        return
    current = base.values.get(entry.name)
    middle = [values.index(current)] if current in values else []
    places = sorted({0, *middle, len(values) - 1})
    gaps = list(pairwise(places))
    while gaps:
        low, high = gaps.pop(0)
        if high - low > 1 and shown_by(values[low]) != shown_by(values[high]):
            between = (low + high) // 2
            gaps += [(low, between), (between, high)]


def _all_values(entry: kt.HyperParameter) -> list[Any] | None:
    """Every value of an entry; None of a continuous one and one of very many, which then decide over no other."""
    if isinstance(entry, kt.Choice | kt.Boolean | kt.Fixed):
        return list(entry.values)
    known = declared_entry(entry)
    size = known.size()
    return None if size is None or size > _MOST_VALUES else list(values_of(known))


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
        Parent(one.name, _values_that_show(one, shown, runs))
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


def _values_that_show(parent: kt.HyperParameter, shown: Sequence[Run], runs: Sequence[Run]) -> list[Any]:
    """The parent's values with which an entry was shown, and those not tried that lie next to one in the order."""
    values = _all_values(parent) or []
    used = [run.values[parent.name] for run in shown]
    tried = [run.values[parent.name] for run in runs if parent.name in run.names]
    places = [place for place, value in enumerate(values) if value in tried]
    admitted = {place for place in places if values[place] in used}
    for low, high in pairwise(places):
        if admitted & {low, high}:
            admitted.update(range(low + 1, high))
    return [values[place] for place in sorted(admitted)]


def _holds(condition: Any, run: Run) -> bool:  # noqa: ANN401 - KerasTuner has no annotations
    return condition.name in run.names and run.values[condition.name] in condition.values
