"""How far predictions of one model in two formats are apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from job.data.arrays import AnyArray

# What is set before a model is asked for the first time.
SEED = 0
# How often a model that draws at random is asked, and what its means may differ by, in standard errors: one number, and
# the root of the mean square of all, which may all hang on one draw. A Student's t with 62 degrees of freedom is beyond
# 8 once in 10^10, beyond 4 twice in 10,000.
_DRAWS = 32
_FARTHEST, _FAR = 8.0, 4.0
# By what factor the spread of draws may differ, and the variance by its square: beyond twice in 10,000 by chance.
_WIDER = 2.0


class UnlikeError(ValueError):
    """Predictions that cannot be compared: another name, shape or kind, or a number where none should be."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a trained model predicts, by the outputs' names; moments as well, where it draws at random.

    Attributes:
        once: its first answer.
        mean, variance: over several answers; empty where it always answers alike.
    """

    once: Mapping[str, AnyArray]
    mean: Mapping[str, AnyArray]
    variance: Mapping[str, AnyArray]

    @classmethod
    def of(cls, predict: Callable[[], dict[str, AnyArray]], tolerance: float) -> Self:
        """Ask a model, twice at least."""
        once, again = predict(), predict()
        try:
            is_alike = greatest_difference(again, once) <= tolerance
        except UnlikeError:
            is_alike = False
        if is_alike or not all(one.dtype.kind in "biuf" for one in once.values()):
            return cls(once, {}, {})
        return cls(once, *_moments([once, again, *(predict() for _ in range(_DRAWS - 2))]))

    @property
    def is_random(self) -> bool:
        """Whether the model draws at random when it predicts."""
        return bool(self.mean)

    def first(self, rows: int) -> "Expected":
        """The same for the first rows alone."""
        parts = (self.once, self.mean, self.variance)
        return Expected(*({name: values[:rows] for name, values in part.items()} for part in parts))

    def write(self, path: Path) -> None:
        """Write an `.npz` file: keys are `once/…`, `mean/…` and `variance/…`."""
        parts = {"once": self.once, "mean": self.mean, "variance": self.variance}
        named: dict[str, Any] = {
            f"{part}/{name}": storable(values) for part, found in parts.items() for name, values in found.items()
        }
        np.savez(path, **named)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` has written."""
        stored = np.load(path)
        once, mean, variance = (
            {name.split("/", 1)[1]: stored[name] for name in stored if name.startswith(f"{part}/")}
            for part in ("once", "mean", "variance")
        )
        return cls(once, mean, variance)


def storable(array: AnyArray) -> AnyArray:
    """Strings as NumPy's own: objects would be pickled."""
    if array.dtype.kind != "O":
        return array
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in array.reshape(-1)]
    return np.array(texts).reshape(array.shape)


def compare(
    predict: Callable[[], dict[str, AnyArray]], expected: Expected, tolerance: float
) -> tuple[float, float, str | None]:
    """Compare what a file predicts with what the trained model did.

    Returns:
        The greatest difference and what is allowed, both in standard errors where the model draws at random; and what
        is wrong, None where they agree.

    Raises:
        UnlikeError: the outputs are not of one kind.
    """
    first = predict()
    difference = greatest_difference(first, expected.once)
    if difference <= tolerance:
        return difference, tolerance, None
    if not expected.is_random:
        return (
            difference,
            tolerance,
            f"its predictions differ from the trained model's by {difference:.3g}, more than {tolerance:g}",
        )
    mean, variance = _moments([first, *(predict() for _ in range(_DRAWS - 1))])
    return _compare_moments(mean, variance, expected, tolerance)


def _moments(answers: Sequence[Mapping[str, AnyArray]]) -> tuple[dict[str, AnyArray], dict[str, AnyArray]]:
    drawn = {name: np.stack([one[name].astype(np.float64) for one in answers]) for name in answers[0]}
    mean = {name: values.mean(axis=0) for name, values in drawn.items()}
    return mean, {name: values.var(axis=0, ddof=1) for name, values in drawn.items()}


def _compare_moments(
    mean: Mapping[str, AnyArray], variance: Mapping[str, AnyArray], expected: Expected, tolerance: float
) -> tuple[float, float, str | None]:
    far = 0.0
    for name, other in expected.mean.items():
        allowed = tolerance * max(1.0, float(np.abs(other).max(initial=0.0)))
        error = np.sqrt((variance[name] + expected.variance[name]) / _DRAWS) + allowed
        distances = np.abs(mean[name] - other) / error
        far = max(far, float(np.sqrt(np.mean(distances**2))), float(distances.max(initial=0.0)) * _FAR / _FARTHEST)
        spread = (np.sqrt(variance[name].mean()) + allowed) / (np.sqrt(expected.variance[name].mean()) + allowed)
        if not 1 / _WIDER <= spread <= _WIDER:
            return far, _FAR, f"it draws at random, and {spread:.3g} times as widely as the trained model"
    problem = f"the mean of {_DRAWS} of its random answers is {far:.3g} standard errors off"
    return far, _FAR, None if far <= _FAR else problem


def greatest_difference(found: Mapping[str, AnyArray], expected: Mapping[str, AnyArray]) -> float:
    """The greatest difference of an output, in units of its largest value where that is above 1.

    Float32 rounds relative to a number's size, and a sum's error follows its largest terms; below 1 the difference
    itself counts, so that an output near 0 does not make much of little.

    Raises:
        UnlikeError: the outputs are not of one kind.
    """
    if set(found) != set(expected):
        raise UnlikeError(f"outputs {sorted(found)} instead of {sorted(expected)}")
    return max(_difference(name, np.asarray(found[name]), np.asarray(expected[name])) for name in expected)


def _difference(name: str, found: AnyArray, expected: AnyArray) -> float:
    if found.shape != expected.shape:
        raise UnlikeError(f"output {name} has shape {found.shape} instead of {expected.shape}")
    if expected.dtype.kind not in "biuf" or found.dtype.kind not in "biuf":
        # As text: the runtimes have types of their own for strings.
        different = _as_text(found) != _as_text(expected)
        if different.any():
            raise UnlikeError(f"output {name} has other texts in {int(different.sum())} places")
        return 0.0
    one, other = found.astype(np.float64), expected.astype(np.float64)
    known = np.isfinite(other)
    if not (np.isfinite(one) == known).all() or not np.array_equal(one[~known], other[~known], equal_nan=True):
        raise UnlikeError(f"output {name} has NaN or infinities in other places")
    if not known.any():
        return 0.0
    scale = max(1.0, float(np.abs(other[known]).max()))
    return float(np.abs(one[known] - other[known]).max()) / scale


def _as_text(values: AnyArray) -> AnyArray:
    return np.array([one.decode() if isinstance(one, bytes) else str(one) for one in values.reshape(-1).tolist()])
