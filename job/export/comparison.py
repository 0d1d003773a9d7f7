"""How far predictions of one model in two formats are apart."""

from collections.abc import Mapping

import numpy as np

from job.data.arrays import AnyArray


class UnlikeError(ValueError):
    """Predictions that cannot be compared: another name, shape or kind, or a number where none should be."""


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
