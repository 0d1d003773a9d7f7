"""Addressed sampling: a configuration is a function of the seed, its address and the space.

Nothing depends on what was drawn before, except that a point is not proposed twice while unused points remain;
addresses are visited in their fixed order, so that too is the same in every run.
"""

import math
import random
from collections.abc import Iterator

import keras_tuner
from keras_tuner.engine import hyperparameters as hp_types

from job.records import Hyperparameters, HyperparameterValue
from job.seeds import derive_seed

# After so many draws that were all proposed before, what is left is small enough to be listed.
_MAX_DRAWS = 200
# Steps such as 0.1 have no exact binary form.
_STEP_TOLERANCE = 1e-9

_Key = tuple[tuple[str, HyperparameterValue], ...]


class AddressedSampler:
    """Draws configurations from a frozen space.

    Args:
        space: the space; its current values are not used.
        seed: the search's seed; 0 is a seed.
    """

    def __init__(self, space: keras_tuner.HyperParameters, seed: int) -> None:
        self._space = space
        self._entries = list(space.space)
        self._seed = seed
        self._used: set[_Key] = set()
        # Every point that is not used, once so few are left that they are listed.
        self._unused: dict[_Key, Hyperparameters] | None = None

    def draw(self, *address: int) -> Hyperparameters | None:
        """The configuration at an address; None once every point of the space is used.

        Addresses must be visited in the same order in every run.
        """
        values = self._draw_unused(address) if self._unused is None else None
        if values is None:
            values = self._choose_among_unused(address)
        if values is not None:
            self.use(values)
        return values

    def use(self, values: Hyperparameters) -> None:
        """Do not draw this point any more."""
        self._used.add(point_key(values))
        if self._unused is not None:
            self._unused.pop(point_key(values), None)

    def _draw_unused(self, address: tuple[int, ...]) -> Hyperparameters | None:
        for attempt in range(_MAX_DRAWS):
            values = self._sample(address, attempt)
            if point_key(values) not in self._used:
                return values
        return None

    def _sample(self, address: tuple[int, ...], attempt: int) -> Hyperparameters:
        values: Hyperparameters = {}
        for entry in self._entries:
            if is_active(entry, values):
                seed = derive_seed(self._seed, "sample", *address, attempt, entry.name)
                values[entry.name] = entry.random_sample(seed)
        return values

    def _choose_among_unused(self, address: tuple[int, ...]) -> Hyperparameters | None:
        if self._unused is None:
            points = ((point_key(values), values) for values in self._all_points())
            self._unused = {key: values for key, values in points if key not in self._used}
        if not self._unused:
            return None
        chosen = random.Random(derive_seed(self._seed, "unused", *address)).choice(list(self._unused))  # noqa: S311 - a draw, no secret
        return self._unused[chosen]

    def _all_points(self) -> Iterator[Hyperparameters]:
        return points_of(self._space)


def points_of(space: keras_tuner.HyperParameters) -> Iterator[Hyperparameters]:
    """Every point of a finite space, the last entry's values changing fastest.

    A continuous entry counts by KerasTuner's ten samples of it.
    """
    return _points_from(list(space.space), {})


def count_points(space: keras_tuner.HyperParameters) -> int | None:
    """How many points `points_of` would list; None where an entry is continuous. Lists none of them."""
    if any(isinstance(entry, hp_types.Float) and not _is_finite(entry) for entry in space.space):
        return None
    # Of what is chosen so far, only the values that later conditions look at tell configurations apart.
    counts: dict[_Key, int] = {(): 1}
    entries = list(space.space)
    for number, entry in enumerate(entries):
        wanted = {condition.name for later in entries[number + 1 :] for condition in later.conditions}
        following: dict[_Key, int] = {}
        for key, count in counts.items():
            known = dict(key)
            active = is_active(entry, known)
            for value in values_of(entry) if active and entry.name in wanted else [None]:
                chosen = known if value is None else {**known, entry.name: value}
                kept = tuple(sorted((name, one) for name, one in chosen.items() if name in wanted))
                factor = len(values_of(entry)) if active and value is None else 1
                following[kept] = following.get(kept, 0) + count * factor
        counts = following
    return sum(counts.values())


def _is_finite(entry: hp_types.Float) -> bool:
    return entry.step is not None or entry.min_value == entry.max_value


def _points_from(entries: list[hp_types.HyperParameter], values: Hyperparameters) -> Iterator[Hyperparameters]:
    if not entries:
        yield dict(values)
        return
    entry, *others = entries
    if not is_active(entry, values):
        yield from _points_from(others, values)
        return
    for value in values_of(entry):
        yield from _points_from(others, {**values, entry.name: value})


def is_active(entry: hp_types.HyperParameter, values: Hyperparameters) -> bool:
    """Whether an entry is in force, given the values of those that it depends on."""
    return all(condition.is_active(values) for condition in entry.conditions)


def point_key(values: Hyperparameters) -> _Key:
    """What tells points apart."""
    return tuple(sorted(values.items()))


def values_of(entry: hp_types.HyperParameter) -> list[HyperparameterValue]:
    """All values of a finite entry, in its order; of a continuous one KerasTuner's ten samples."""
    if isinstance(entry, hp_types.Float) and entry.step is not None:
        return _float_values(entry)
    if not isinstance(entry, hp_types.Int):
        return list(entry.values)
    # KerasTuner lists ten samples of a whole-number range that has no step (logarithmic sampling), and floats of
    # a logarithmic one that has.
    if entry.step is None:
        return list(range(entry.min_value, entry.max_value + 1))
    return [int(value) for value in entry.values]


def _float_values(entry: hp_types.Float) -> list[HyperparameterValue]:
    # KerasTuner's own count drops the last value of 0, 0.1, …, 1: 1 // 0.1 is 9.
    low, high, step = entry.min_value, entry.max_value, entry.step
    if low == high:
        return [low]
    steps = (high - low) / step if entry.sampling == "linear" else math.log(high / low, step)
    count = math.floor(steps * (1 + _STEP_TOLERANCE)) + 1
    return [entry._get_value_by_index(index) for index in range(count)]  # noqa: SLF001 - as it samples, to the last bit
