"""What inputs must be before anything is trained on them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, SourceArray, chunks
from job.errors import DataError

_FLOATS = (np.float16, np.float32, np.float64)
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_MIN_RANK = 2


def check_inputs(x: SourceArray) -> None:
    """Check one array of inputs: at least rank 2, numbers or booleans, finite in float32.

    Raises:
        DataError: names the file and the array.
    """
    shape, dtype = x.values.shape, x.values.dtype
    if dtype.kind not in "biuf" or (dtype.kind == "f" and dtype not in _FLOATS):
        raise DataError(
            f"{x} has dtype {dtype}: inputs must be booleans, integers, or floats of 16, 32 or 64 bits",
            advice="Encode other values as numbers first.",
        )
    if len(shape) < _MIN_RANK:
        raise DataError(
            f"{x} has shape {shape}: a row of inputs is expected for every example, such as ({shape[0]}, features)",
            advice="x.reshape(-1, 1) makes one feature of it.",
        )
    if dtype.kind == "f":
        _check_finite(x)


def check_lengths(x: SourceArray, y: SourceArray) -> None:
    """Check that every row of inputs has a label; raises DataError."""
    if len(x.values) != len(y.values):
        raise DataError(
            f"{x} has {len(x.values)} rows, but array {y.name!r} has {len(y.values)} labels: one for each "
            "row is expected"
        )


def check_alike(train: SourceArray, other: SourceArray) -> None:
    """Check that rows of `other` are of the kind that a model learns from `train`.

    Another dtype will do where `train`'s can hold every value, and among floats.

    Raises:
        DataError: shape or dtype differ.
    """
    if train.values.shape[1:] != other.values.shape[1:]:
        raise DataError(
            f"{other} has rows of shape {other.values.shape[1:]}, but those of {train} have shape "
            f"{train.values.shape[1:]}"
        )
    wanted, found = train.values.dtype, other.values.dtype
    floats = wanted in (np.float32, np.float64) and found.kind == "f"
    if not floats and (wanted.kind != found.kind or not np.can_cast(found, wanted, "safe")):
        raise DataError(f"{other} has dtype {found}, but {train} has {wanted}")


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The least and the greatest value of an array."""

    minimum: float
    maximum: float


def value_range(array: AnyArray) -> ValueRange:
    """The range of an array of finite numbers, read in pieces."""
    extremes = [(float(piece.min()), float(piece.max())) for piece in chunks(array)]
    return ValueRange(min(low for low, _ in extremes), max(high for _, high in extremes))


def _check_finite(x: SourceArray) -> None:
    """Refuse NaN, infinities, and float64 values that float32, which models compute in, turns into such."""
    unusable, first, start = 0, None, 0
    for piece in chunks(x.values):
        bad = _not_finite(piece)
        if bad.any():
            unusable += int(bad.sum())
            if first is None:
                first = start + int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
        start += len(piece)
    if first is not None:
        raise DataError(
            f"{x} has {unusable} values that are NaN, infinite or too large for float32, the first in row "
            f"{first}: every input must be a finite number",
            advice="Remove these rows, or replace the values (for example by the column's mean).",
        )


def _not_finite(piece: AnyArray) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = ~np.isfinite(piece)
    if piece.dtype == np.float64:
        bad |= np.abs(piece) > _FLOAT32_MAX
    return bad
