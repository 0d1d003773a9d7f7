"""What is to be predicted: the task that targets are for, and the targets as models are trained on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, SourceArray, chunks
from job.data.labels import class_name, classes_of, encode, read_labels
from job.errors import DataError
from job.target import Target, Task

AskedTask = Literal["auto", "classification", "regression"]

# Whole numbers are classes where there are so few of them, whichever they are.
_FEW_VALUES = 20
# More are, too, where they number classes: from 0 or 1 up with hardly a gap, each for several rows.
_MOST_GAPS = 0.1
_FEW_ROWS_PER_VALUE = 2
_FEW_ROWS_PER_FLOAT_VALUE = 10
_ONE_HOT_RANK = 2

# Beyond these the square of an error, or its reciprocal, is no float32.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-15, 1e15
_LARGEST_TARGET = 1e17
_RESOLVED = 1e5


@dataclass(frozen=True, slots=True, eq=False)
class EncodedTargets:
    """Targets as models are trained on them.

    Attributes:
        target: what they are; `mean` and `scale` are not set yet: that takes the training rows alone.
        train: shape (rows,): int64 indices into the class names, or float32 numbers in the source's unit.
        others: likewise, in the order in which they were given; None where None was given.
        notes: what the log should say.
    """

    target: Target
    train: AnyArray
    others: tuple[AnyArray | None, ...]
    notes: tuple[str, ...] = ()


def decide_task(train: SourceArray, asked: AskedTask, leaning: Task | None = None) -> Task:
    """What the targets of the source's own rows are for.

    With `auto` strings, booleans and one-hot rows are classes, and numbers with a fractional part are to be predicted
    as numbers. Whole numbers are classes if there are at most 20 different ones, or if they count classes through: from
    0 or 1 with hardly a gap, several rows each. All others are to be predicted as numbers.

    Args:
        train: the targets, shape (rows,), (rows, 1) or (rows, classes).
        asked: the spec's `data.task`.
        leaning: what else in the spec tells of the task: it decides of whole numbers, which may be either.

    Raises:
        DataError: the targets cannot be what is asked for; `encode_targets` looks at each of them.
    """
    values = train.values
    if asked == "regression" and values.dtype.kind not in "biuf":
        raise DataError(
            f"{train} has dtype {values.dtype}: a regression (data.task) needs numbers",
            advice="data.task: classification takes strings.",
        )
    if asked != "auto":
        return asked
    if values.dtype.kind not in "iuf" or (values.ndim >= _ONE_HOT_RANK and values.shape[-1] > 1):
        return "classification"
    if leaning is not None and not _have_fractions(values):
        return leaning
    return "classification" if _are_class_numbers(values) else "regression"


def _have_fractions(values: AnyArray) -> bool:
    # In pieces: a float that is no whole number is found at once.
    if values.dtype.kind != "f":
        return False
    known = (piece[np.isfinite(piece)] for piece in chunks(values))
    return any((piece != np.floor(piece)).any() for piece in known)


def _are_class_numbers(values: AnyArray) -> bool:
    if _have_fractions(values):
        return False
    different = np.unique(values)
    if values.dtype.kind == "f":
        different = different[np.isfinite(different)]
    count = len(different)
    if count <= _FEW_VALUES:
        return True
    lowest, highest = int(different[0]), int(different[-1])
    few_rows = _FEW_ROWS_PER_FLOAT_VALUE if values.dtype.kind == "f" else _FEW_ROWS_PER_VALUE
    counted_through = lowest in {0, 1} and count >= (1 - _MOST_GAPS) * (highest - lowest + 1)
    return counted_through and len(values) >= few_rows * count


def encode_targets(task: Task, train: SourceArray, others: Sequence[SourceArray | None]) -> EncodedTargets:
    """Check targets and bring them into the form that models are trained on.

    Args:
        task: what they are for.
        train: the targets that validation and test rows may be drawn from; classes are those that it has.
        others: those of rows that were given apart.

    Raises:
        DataError: a target cannot be used; names the file, the array and the row.
    """
    if task == "regression":
        numbers = read_numbers(train)
        return EncodedTargets(
            Target("regression"),
            numbers,
            tuple(None if other is None else read_numbers(other) for other in others),
            _note(train, len(np.unique(numbers)), "numbers to predict"),
        )
    labels = read_labels(train)
    classes = classes_of(labels)
    return EncodedTargets(
        Target("classification", tuple(class_name(value) for value in classes)),
        encode(labels, classes, labels),
        tuple(None if other is None else encode(read_labels(other), classes, labels) for other in others),
        _note(train, len(classes), "classes") if labels.form == "whole numbers" else (),
    )


def numbered_classes(*targets: AnyArray) -> Target | None:
    """Return a classification by the whole numbers that targets are; None where they are no whole numbers.

    Args:
        targets: of all splits, each of shape (rows,) or (rows, 1).
    """
    values = np.unique(np.concatenate([np.unique(one) for one in targets]))
    if (values != np.floor(values)).any():
        return None
    names = tuple(class_name(int(value)) for value in values)
    return Target("classification", names, class_values(values))


def class_values(values: AnyArray) -> tuple[float, ...] | None:
    """Return what `Target.class_values` is where these are the classes' numbers, sorted."""
    counted = np.array_equal(values, np.arange(len(values)))
    return None if counted else tuple(float(value) for value in values)


def _note(train: SourceArray, count: int, what: str) -> tuple[str, ...]:
    """Whole numbers may be either: the log says what they were taken for."""
    if train.values.dtype.kind == "f" and what != "classes":
        return ()
    return (f"the {count} different targets of {train} are {what} (data.task)",)


def read_numbers(y: SourceArray) -> NDArray[np.float32]:
    """Numbers to predict, one per row: shape (rows,), from shape (rows,) or (rows, 1).

    Raises:
        DataError: there are several numbers per row, or one of them is missing or too large.
    """
    values = y.values
    if values.dtype.kind not in "biuf":
        raise DataError(f"{y} has dtype {values.dtype}: numbers to predict are expected")
    if values.size != len(values):
        raise DataError(
            f"{y} has shape {values.shape}: one number to predict per row is expected, shape ({len(values)},) or "
            f"({len(values)}, 1)",
            advice="Several numbers per row take a model of your own.",
        )
    numbers = np.array(values, dtype=np.float64).reshape(-1)
    _refuse_first(y, np.isnan(numbers), "is missing (NaN)")
    _refuse_first(y, ~(np.abs(numbers) <= _LARGEST_TARGET), f"is above {_LARGEST_TARGET:g}, too large to train on")
    return numbers.astype(np.float32)


def _refuse_first(y: SourceArray, bad: NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        found = y.values.reshape(-1)[row]
        raise DataError(f"{y}: target {found} of row {row} {problem}; {int(bad.sum())} such targets")


def with_scale(target: Target, train_y: NDArray[np.float32]) -> Target:
    """The target of a regression with the mean and the standard deviation of the training rows.

    Args:
        target: of any task; only that of a regression is changed.
        train_y: the training rows' targets, shape (rows,).

    Raises:
        DataError: the targets differ so little, or so much, that no float32 holds the square of their errors.
    """
    if target.task != "regression":
        return target
    numbers = np.asarray(train_y, dtype=np.float64)
    mean, scale = float(numbers.mean()), float(numbers.std())
    # Rounding makes equal numbers differ from their mean in the last bit.
    if scale <= np.finfo(np.float64).eps * abs(mean):
        return replace(target, mean=mean, scale=1.0)
    if not _SMALLEST_SCALE <= scale <= _LARGEST_SCALE:
        raise DataError(
            f"the targets of the training rows have a standard deviation of {scale:.3g}, which cannot be trained on in "
            "float32",
            advice="Give them in another unit.",
        )
    return replace(target, mean=mean, scale=scale)


def scale_notes(target: Target) -> tuple[str, ...]:
    """What the log should say of a regression's targets."""
    if target.task != "regression" or math.isclose(target.mean, 0) or abs(target.mean) < _RESOLVED * target.scale:
        return ()
    return (f"targets of {target.mean:.6g} +- {target.scale:.3g}: float32 resolves them poorly; subtract a constant",)
