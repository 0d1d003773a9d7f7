"""A configuration's neighbours: one hyperparameter changed at a time, the others as they are. Pure."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import keras_tuner
from keras_tuner.engine import hyperparameters as hp_types

from job.layout import variation_id
from job.records import Hyperparameters, HyperparameterValue
from job.search.sampling import is_active, values_of

# Of a choice, so many other values at most: of an ordered one the nearest.
_MOST_CHOICES = 4
# How far a range is left, on its own scale.
_SHARE_OF_RANGE = 0.1
# What a value between is rounded to: nobody reads more, and every machine works out the same.
_DIGITS = 4
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A configuration that differs from another in one hyperparameter, and in what depends on that.

    Attributes:
        trial_id: `s-<name>-<number>`.
        name, value: what was changed, and to what.
        hyperparameters: the whole configuration.
    """

    trial_id: str
    name: str
    value: HyperparameterValue
    hyperparameters: Hyperparameters


def neighbours_of(space: keras_tuner.HyperParameters, centre: Hyperparameters) -> Iterator[Neighbour]:
    """Every neighbour, in the order of the space and of values.

    Of a choice these are its other values, of an ordered one the nearest; of a range the values a tenth of it, or one
    step, below and above, on its own scale. What a change switches off is left out; what it switches on has its
    default.
    """
    names: dict[str, str] = {}
    for position, entry in enumerate(space.space):
        if entry.name not in centre or entry.name in names or not is_active(entry, centre):
            continue
        safe = _NOT_IN_A_NAME.sub("-", entry.name)
        names[entry.name] = f"{safe}-{position}" if safe in names.values() else safe
        for number, value in enumerate(_values_near(entry, centre[entry.name])):
            yield Neighbour(
                variation_id(names[entry.name], number), entry.name, value, _changed(space, centre, entry.name, value)
            )


def _changed(
    space: keras_tuner.HyperParameters, centre: Hyperparameters, name: str, value: HyperparameterValue
) -> Hyperparameters:
    found: Hyperparameters = {}
    wanted = {**centre, name: value}
    for entry in space.space:
        if entry.name not in found and is_active(entry, found):
            found[entry.name] = wanted.get(entry.name, entry.default)
    return found


def _values_near(entry: hp_types.HyperParameter, centre: HyperparameterValue) -> list[HyperparameterValue]:
    match entry:
        case hp_types.Fixed():
            return []
        case hp_types.Boolean():
            return [not centre]
        case hp_types.Choice():
            return _choices_near(list(entry.values), centre, is_ordered=bool(entry.ordered))
        case hp_types.Int() | hp_types.Float() if _is_stepped(entry):
            return _steps_near(values_of(entry), centre)
    return _numbers_near(entry, float(centre))


def _is_stepped(entry: hp_types.Int | hp_types.Float) -> bool:
    return entry.step is not None


def _choices_near(
    values: list[HyperparameterValue], centre: HyperparameterValue, *, is_ordered: bool
) -> list[HyperparameterValue]:
    others = [value for value in values if value != centre]
    if is_ordered and centre in values:
        ranked = sorted(values)
        place = ranked.index(centre)
        others.sort(key=lambda value: (abs(ranked.index(value) - place), ranked.index(value)))
    chosen = others[:_MOST_CHOICES]
    return [value for value in values if value in chosen]


def _steps_near(values: list[HyperparameterValue], centre: HyperparameterValue) -> list[HyperparameterValue]:
    """A tenth of the values away, at least one of them; what lies beyond the end is the end."""
    # A value that came from elsewhere may lie between two steps.
    place = min(range(len(values)), key=lambda index: abs(float(values[index]) - float(centre)))
    distance = max(1, round(len(values) * _SHARE_OF_RANGE))
    found = [values[max(0, place - distance)], values[min(len(values) - 1, place + distance)]]
    return [value for value in found if value != centre]


def _numbers_near(entry: hp_types.Int | hp_types.Float, centre: float) -> list[HyperparameterValue]:
    low, high = float(entry.min_value), float(entry.max_value)
    is_whole = isinstance(entry, hp_types.Int)
    # A reverse logarithmic range is a logarithmic one, looked at from its other end.
    is_reversed, is_linear = entry.sampling == "reverse_log", entry.sampling in {None, "linear"}

    def scaled(value: float) -> float:
        value = low + high - value if is_reversed else value
        return value if is_linear else math.log(value)

    def unscaled(place: float) -> float:
        value = place if is_linear else math.exp(place)
        return low + high - value if is_reversed else value

    distance = _SHARE_OF_RANGE * abs(scaled(high) - scaled(low))
    found: set[float] = set()
    for sign in (-1, 1):
        value = float(f"{unscaled(scaled(centre) + sign * distance):.{_DIGITS}g}")
        if is_whole:
            # At least the next whole number.
            value = min(round(value), centre - 1) if value < centre else max(round(value), centre + 1)
        found.add(min(max(value, low), high))
    ordered = sorted(found - {centre})
    return [int(value) for value in ordered] if is_whole else [*ordered]
