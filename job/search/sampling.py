"""Addressed sampling: a configuration is a function of the seed, its address and the space.

Nothing depends on what was drawn before, except that a point is not proposed twice while unused points remain;
addresses are visited in their fixed order, so that too is the same in every run.
"""

import random
from collections.abc import Iterator

import keras_tuner
from keras_tuner.engine import hyperparameters as hp_types

from job.records import Hyperparameters, HyperparameterValue
from job.seeds import derive_seed

# After so many draws that were all proposed before, what is left is small enough to be listed.
_MAX_DRAWS = 200

_Key = tuple[tuple[str, HyperparameterValue], ...]


class AddressedSampler:
    """Draws configurations from a frozen space.

    Args:
        space: the space; its current values are not used.
        seed: the search's seed; 0 is a seed.
    """

    def __init__(self, space: keras_tuner.HyperParameters, seed: int) -> None:
        self._entries = list(space.space)
        self._seed = seed
        self._used: set[_Key] = set()
        self._exhausted = False

    def draw(self, *address: int) -> Hyperparameters | None:
        """The configuration at an address; None once every point of the space is used.

        Addresses must be visited in the same order in every run.
        """
        if self._exhausted:
            return None
        values = self._draw_unused(address)
        if values is None:
            values = self._choose_among_unused(address)
        if values is None:
            self._exhausted = True
            return None
        self._used.add(_key(values))
        return values

    def _draw_unused(self, address: tuple[int, ...]) -> Hyperparameters | None:
        for attempt in range(_MAX_DRAWS):
            values = self._sample(address, attempt)
            if _key(values) not in self._used:
                return values
        return None

    def _sample(self, address: tuple[int, ...], attempt: int) -> Hyperparameters:
        hp = keras_tuner.HyperParameters()
        for entry in self._entries:
            hp.merge([entry])
            if hp.is_active(entry):
                seed = derive_seed(self._seed, "sample", *address, attempt, entry.name)
                hp.values[entry.name] = entry.random_sample(seed)
        values: Hyperparameters = hp.values
        return values

    def _choose_among_unused(self, address: tuple[int, ...]) -> Hyperparameters | None:
        unused = [values for values in self._all_points() if _key(values) not in self._used]
        if not unused:
            return None
        return random.Random(derive_seed(self._seed, "unused", *address)).choice(unused)  # noqa: S311 - a draw, no secret

    def _all_points(self) -> Iterator[Hyperparameters]:
        """Every point of a finite space. A continuous entry counts by its sampled values: it is never exhausted."""
        yield from self._points_from(0, keras_tuner.HyperParameters())

    def _points_from(self, position: int, hp: keras_tuner.HyperParameters) -> Iterator[Hyperparameters]:
        if position == len(self._entries):
            yield dict(hp.values)
            return
        entry = self._entries[position]
        hp.merge([entry])
        if not hp.is_active(entry):
            yield from self._points_from(position + 1, hp.copy())
            return
        for value in _values(entry):
            branch = hp.copy()
            branch.values[entry.name] = value
            yield from self._points_from(position + 1, branch)


def _key(values: Hyperparameters) -> _Key:
    return tuple(sorted(values.items()))


def _values(entry: hp_types.HyperParameter) -> list[HyperparameterValue]:
    if not isinstance(entry, hp_types.Int):
        return list(entry.values)
    # KerasTuner lists ten samples of a whole-number range that has no step (logarithmic sampling), and floats of
    # a logarithmic one that has.
    if entry.step is None:
        return list(range(entry.min_value, entry.max_value + 1))
    return [int(value) for value in entry.values]
