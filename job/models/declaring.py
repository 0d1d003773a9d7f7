"""Entries of a space, declared to KerasTuner."""

from collections.abc import Sequence

import keras_tuner

from job.spaces import AnyEntry, BooleanEntry, ChoiceEntry, FixedEntry, FloatEntry, IntEntry, Scalar


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
