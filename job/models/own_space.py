"""The space that the user's own code declares: found out by running it, narrowed by the spec, then frozen."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters as kt

from job.errors import Problem
from job.logs import get_logger
from job.models.narrowing import narrowed
from job.models.own_runs import Run, varied_runs, with_conditions
from job.spaces import AnyEntry, BooleanEntry, ChoiceEntry, FixedEntry, FloatEntry, IntEntry, Sampling, can_take
from job.spec.fields import listed, nearest

BATCH_SIZE = "batch_size"
# Steps such as 0.1 have no exact binary form.
_STEP_TOLERANCE = 1e-9

# Conditions, all of which must hold; KerasTuner does not export their class.
_Scope = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the code has declared.

    Attributes:
        space: every entry, in the order in which they were declared, as the spec narrows them.
        problems: what of the spec's `space` does not fit.
    """

    space: keras_tuner.HyperParameters
    problems: tuple[Problem, ...]


class NarrowedHyperParameters(keras_tuner.HyperParameters):  # type: ignore[misc]  # KerasTuner has no annotations
    """What is handed to the user's code before the search: takes what it declares, as the spec narrows it.

    Args:
        narrowing: the spec's `space`.
        values: of entries, before they are declared; others take their defaults.
    """

    def __init__(self, narrowing: Mapping[str, AnyEntry], values: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.values = dict(values or {})
        self.problems: dict[str, str] = {}
        self._narrowing = narrowing

    def _register(self, hyperparameter: kt.HyperParameter, overwrite: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - KerasTuner's own
        entry = self._narrowing.get(hyperparameter.name)
        if entry is not None:
            result = narrowed(hyperparameter, declared_entry(hyperparameter), entry)
            if isinstance(result, str):
                # Raised here, it would be caught or shown as a mistake of the user's code.
                self.problems[hyperparameter.name] = result
            else:
                hyperparameter = result
        return super()._register(hyperparameter, overwrite)


def discover(
    declare: Callable[[keras_tuner.HyperParameters], object],
    narrowing: Mapping[str, AnyEntry],
    *,
    first: NarrowedHyperParameters | None = None,
    of_fit: Sequence[kt.HyperParameter] = (),
) -> Discovery:
    """Run code with other values until nothing new appears; the entries of all runs, and when each is in force.

    What stands in a plain loop or `if` is found by changing one value after the other, and its conditions are those
    that the runs show (see `job.models.own_runs`); a conditional scope is entered once, as KerasTuner's tuners do.

    Args:
        declare: builds a model, for what it declares on the way. What it raises with other values than the default ones
            is a trial's affair.
        narrowing: the spec's `space`.
        first: what the code has declared already, with default values; None runs it for that.
        of_fit: what the user's own `fit` has declared besides.

    Raises:
        Exception: whatever the code raises with default values.
    """
    if first is None:
        first = NarrowedHyperParameters(narrowing)
        declare(first)
    problems = dict(first.problems)
    handed = [first]

    def run_with(values: Mapping[str, Any]) -> NarrowedHyperParameters | None:
        hp = NarrowedHyperParameters(narrowing, values)
        try:
            declare(hp)
        except Exception as error:  # noqa: BLE001 - the user's code may refuse values as it likes
            get_logger().debug("the code refuses values", values=dict(values), reason=str(error))
            return None
        problems.update(hp.problems)
        handed.append(hp)
        return hp

    found = with_conditions(varied_runs(Run.of(first), run_with))
    space = keras_tuner.HyperParameters()
    in_scopes = (entry for hp in handed for entry in hp.space if entry.conditions)
    for entry in (*found, *in_scopes):
        _add(space, entry)
    _enter_scopes(space, handed, run_with)
    problems |= _add_of_fit(space, of_fit, narrowing)
    wrong = [Problem(f"space.{name}", message) for name, message in problems.items()]
    wrong += _add_batch_size(space, narrowing)
    return Discovery(space, (*wrong, *_unknown(space, narrowing)))


def _add_of_fit(
    space: keras_tuner.HyperParameters, of_fit: Sequence[kt.HyperParameter], narrowing: Mapping[str, AnyEntry]
) -> dict[str, str]:
    """Add what `fit` has declared and `build` has not; returns what of the spec's `space` does not fit."""
    hp = NarrowedHyperParameters(narrowing)
    for entry in of_fit:
        if not _has(space, entry.name):
            hp._register(entry)  # noqa: SLF001 - it has no public name
    for entry in hp.space:
        _add(space, entry)
    return hp.problems


def _has(space: keras_tuner.HyperParameters, name: str) -> bool:
    return any(one.name == name for one in space.space)


def _enter_scopes(
    space: keras_tuner.HyperParameters,
    handed: Sequence[NarrowedHyperParameters],
    run_with: Callable[[Mapping[str, Any]], NarrowedHyperParameters | None],
) -> None:
    """Have every conditional scope be active once."""
    waiting: list[_Scope] = []
    seen: list[_Scope] = []
    for hp in handed:
        _note_scopes(hp, waiting, seen)
    while waiting:
        scope = waiting.pop(0)
        if scope in seen:
            continue
        seen.append(scope)
        values = _values_for(scope, space)
        more = None if values is None else run_with(values)
        if more is None:
            continue
        for entry in more.space:
            if entry.conditions or not _has(space, entry.name):
                _add(space, entry)
        _note_scopes(more, waiting, seen)


def _add(space: keras_tuner.HyperParameters, entry: kt.HyperParameter) -> None:
    if not space._exists(entry.name, entry.conditions):  # noqa: SLF001 - it has no public name
        space._register(entry)  # noqa: SLF001 - likewise


def _note_scopes(hp: keras_tuner.HyperParameters, waiting: list[_Scope], seen: list[_Scope]) -> None:
    seen.extend(scope for scope in hp.active_scopes if scope not in seen)
    waiting.extend(scope for scope in hp.inactive_scopes if scope not in seen and scope not in waiting)


def _values_for(scope: _Scope, space: keras_tuner.HyperParameters) -> dict[str, Any] | None:
    """Values that make a scope active; None where the spec leaves none that do."""
    values: dict[str, Any] = {}
    for condition in scope:
        parents = [declared_entry(entry) for entry in space.space if entry.name == condition.name]
        possible = [value for value in condition.values if any(can_take(entry, value) for entry in parents)]
        if not possible:
            return None
        values[condition.name] = possible[0]
    return values


def _add_batch_size(space: keras_tuner.HyperParameters, narrowing: Mapping[str, AnyEntry]) -> list[Problem]:
    """Code need not know of batches: the spec may search or fix their size all the same."""
    entry = narrowing.get(BATCH_SIZE)
    if entry is None or any(one.name == BATCH_SIZE for one in space.space):
        return []
    match entry:
        case IntEntry(min_value=low) if low >= 1:
            space.Int(BATCH_SIZE, low, entry.max_value, entry.step, entry.sampling, entry.default)
        case FixedEntry(value=int(value)) if value >= 1 and not isinstance(value, bool):
            space.Fixed(BATCH_SIZE, value)
        case ChoiceEntry(values=values) if all(type(one) is int and one >= 1 for one in values):
            space.Choice(BATCH_SIZE, list(values), entry.ordered, entry.default)
        case _:
            return [Problem(f"space.{BATCH_SIZE}", "expected whole numbers of at least 1")]
    return []


def _unknown(space: keras_tuner.HyperParameters, narrowing: Mapping[str, AnyEntry]) -> list[Problem]:
    names = list(dict.fromkeys(entry.name for entry in space.space))
    problems = []
    for name in narrowing:
        if name in names or name == BATCH_SIZE:
            continue
        close = nearest(name, names)
        known = f"it declares {listed(names, 'and')}" if names else "it declares none"
        hint = f"did you mean {close}? " if close else ""
        problems.append(Problem(f"space.{name}", f"the model's code declares no such hyperparameter; {hint}{known}"))
    return problems


def declared_entry(declared: kt.HyperParameter) -> AnyEntry:
    """An entry of KerasTuner's as one of a spec's, without its conditions."""
    if isinstance(declared, kt.Fixed):
        return FixedEntry(type="fixed", value=declared.value)
    if isinstance(declared, kt.Boolean):
        return BooleanEntry(type="boolean", default=bool(declared.default))
    if isinstance(declared, kt.Choice):
        return ChoiceEntry(type="choice", values=tuple(declared.values), ordered=None, default=declared.default)
    last = _last_value(declared)
    # None stood for linear once.
    sampling: Sampling = declared.sampling or "linear"
    # KerasTuner fills in 1 where nothing is said.
    is_every = sampling == "linear" and declared.step == 1
    if isinstance(declared, kt.Int):
        return IntEntry(
            type="int",
            min_value=int(declared.min_value),
            max_value=int(last),
            step=None if declared.step is None or is_every else int(declared.step),
            sampling=sampling,
        )
    step = None if declared.step is None else float(declared.step)
    return FloatEntry(
        type="float", min_value=float(declared.min_value), max_value=float(last), step=step, sampling=sampling
    )


def _last_value(declared: kt.HyperParameter) -> float:
    """The last value that steps from the lower bound meet: KerasTuner's bounds need not be one."""
    low, high, step = declared.min_value, declared.max_value, declared.step
    if step is None or low == high:
        return float(high)
    if declared.sampling in {None, "linear"}:
        last = low + math.floor((high - low) / step * (1 + _STEP_TOLERANCE)) * step
    else:
        last = low * step ** math.floor(math.log(high / low, step) * (1 + _STEP_TOLERANCE))
    return float(high if math.isclose(last, high) else last)
