"""Entries of a space as KerasTuner's, and the other way round."""

import math
from collections.abc import Sequence

import keras_tuner
from keras_tuner.engine import hyperparameters as kt

from job.spaces import AnyEntry, BooleanEntry, ChoiceEntry, FixedEntry, FloatEntry, IntEntry, Sampling, Scalar

# Steps such as 0.1 have no exact binary form.
_STEP_TOLERANCE = 1e-9


def declare_entry(hp: keras_tuner.HyperParameters, name: str, entry: AnyEntry) -> Scalar | None:
    """Register one entry in the scopes that are open; returns its value, or None while one of them is inactive."""
    value: Scalar | None
    match entry:
        case IntEntry() | FloatEntry():
            declare = hp.Int if isinstance(entry, IntEntry) else hp.Float
            value = declare(
                name, entry.min_value, entry.max_value, step=entry.step, sampling=entry.sampling, default=entry.default
            )
        case ChoiceEntry():
            value = hp.Choice(name, list(entry.values), ordered=entry.ordered, default=entry.default)
        case BooleanEntry():
            value = hp.Boolean(name, default=entry.default)
        case FixedEntry():
            value = hp.Fixed(name, entry.value)
    return value


def of_one_type(values: Sequence[Scalar]) -> list[Scalar]:
    """KerasTuner makes all of a parent's values whole numbers if the first one is: 0, 0.5 would become 0, 0."""
    if any(isinstance(value, float) for value in values):
        return [value if isinstance(value, str) else float(value) for value in values]
    return list(values)


def default_of(entry: AnyEntry) -> Scalar:
    """The value of an entry that is not searched at the moment."""
    match entry:
        case FixedEntry():
            return entry.value
        case BooleanEntry():
            return entry.default
        case ChoiceEntry():
            return entry.values[0] if entry.default is None else entry.default
        case IntEntry() | FloatEntry():
            return entry.min_value if entry.default is None else entry.default
    raise AssertionError(entry)


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
