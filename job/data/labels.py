"""Labels: checked, made into classes, and encoded as indices into the class names."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, SourceArray, chunks
from job.errors import DataError
from job.target import Target

_ONE_COLUMN = 1
_ONE_HOT_RANK = 2
# More classes than this, with hardly any rows each, are no classes.
_MANY_CLASSES = 1000
_FEW_ROWS_PER_CLASS = 2
_FEW_ROWS_PER_FLOAT_CLASS = 10
_SHOWN = 10
# Beyond it not every whole number is a float64, and two labels may have become one.
_LARGEST_EXACT_FLOAT = 2.0**53

Form = Literal["whole numbers", "booleans", "strings", "one-hot rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The labels of one array, one per row.

    Attributes:
        values: shape (rows,): int64, bool or str. One-hot rows are the index of their column.
        columns: of one-hot rows; None for the other forms.
    """

    array: SourceArray
    form: Form
    values: AnyArray
    columns: int | None = None


def read_labels(y: SourceArray) -> Labels:
    """Read an array of labels.

    Args:
        y: shape (rows,), (rows, 1), or one-hot (rows, classes); whole numbers from 0 (of any dtype), booleans or
            strings.

    Raises:
        DataError: the labels are none, or some are missing; names the file and the array.
    """
    values = y.values
    if values.dtype.kind not in "biufSU":
        raise DataError(f"{y} has dtype {values.dtype}: labels must be whole numbers, booleans or strings")
    if values.dtype.kind == "f":
        _refuse_first(y, np.isnan(values), "is missing (NaN)")
    if values.ndim == _ONE_HOT_RANK and values.shape[1] > _ONE_COLUMN:
        return _read_one_hot(y)
    if values.ndim > _ONE_HOT_RANK:
        raise DataError(
            f"{y} has shape {values.shape}: one label per row is expected, shape ({len(values)},), "
            f"({len(values)}, 1) or one-hot ({len(values)}, classes)"
        )
    flat = np.array(values).reshape(-1)
    if flat.dtype.kind in "SU":
        return Labels(y, "strings", _read_strings(y, flat))
    if flat.dtype.kind == "b":
        return Labels(y, "booleans", flat)
    return Labels(y, "whole numbers", _read_whole_numbers(y, flat))


def classes_of(labels: Labels) -> AnyArray:
    """The classes that labels name, sorted: numbers by value, strings by code point.

    Raises:
        DataError: fewer than two classes, or so many that they look like measurements or identifiers.
    """
    classes = np.unique(labels.values)
    count, rows = len(classes), len(labels.values)
    if count < 2:  # noqa: PLR2004 - what a classification needs
        raise DataError(
            f"{labels.array} has the one label {class_name(classes[0])!r} in all its {rows} rows: at least two "
            "classes are expected"
        )
    floats = labels.array.values.dtype.kind == "f"
    few = _FEW_ROWS_PER_FLOAT_CLASS if floats else _FEW_ROWS_PER_CLASS
    if count > _MANY_CLASSES and rows < few * count:
        looks_like = "identifiers" if labels.form == "strings" else "numbers to predict (regression)"
        raise DataError(
            f"{labels.array} has {count} different labels in {rows} rows, which look like {looks_like}, "
            "not like classes",
            advice=None if labels.form == "strings" else "data.task: regression predicts numbers.",
        )
    return classes


def encode(labels: Labels, classes: AnyArray, train: Labels) -> NDArray[np.int64]:
    """Labels as indices into `classes`, which are those of `train`.

    Raises:
        DataError: the labels are of another form than `train`'s, or name a class that `train` never has.
    """
    if (labels.form, labels.columns) != (train.form, train.columns):
        raise DataError(f"{labels.array} has {_form(labels)}, but {train.array} has {_form(train)}")
    codes: NDArray[np.int64] = np.searchsorted(classes, labels.values).astype(np.int64)
    unknown = classes[np.minimum(codes, len(classes) - 1)] != labels.values
    if unknown.any():
        value = labels.values[np.argmax(unknown)]
        rows = int((labels.values == value).sum())
        raise DataError(
            f"{labels.array}: label {class_name(value)!r} ({rows} rows, the first is row "
            f"{int(np.argmax(unknown))}) does not occur in {train.array}, which has {_listed(classes)}"
        )
    return codes


def class_codes(y: AnyArray, target: Target) -> NDArray[np.int64]:
    """Return the class numbers of a classification's targets.

    Args:
        y: shape (rows,) or (rows, 1), in the numbers that the target says; or one-hot, (rows, classes).
        target: what they are.
    """
    if y.ndim == _ONE_HOT_RANK and y.shape[1] > _ONE_COLUMN:
        codes: NDArray[np.int64] = np.asarray(y).argmax(axis=1).astype(np.int64)
        return codes
    flat = np.asarray(y).reshape(-1)
    if target.class_values is None:
        return flat.astype(np.int64)
    return np.searchsorted(np.asarray(target.class_values), flat).astype(np.int64)


def class_name(value: object) -> str:
    """A class as text."""
    return str(value)


def _read_one_hot(y: SourceArray) -> Labels:
    if y.values.dtype.kind in "SU":
        raise DataError(f"{y} has shape {y.values.shape}: one string per row is expected")
    columns, start = [], 0
    for piece in chunks(y.values):
        wrong = ((piece == 1).sum(axis=1) != 1) | ((piece != 0).sum(axis=1) != 1)
        if wrong.any():
            raise DataError(
                f"{y} has shape {y.values.shape}, but row {start + int(np.argmax(wrong))} is not one-hot: a "
                "single 1 among zeros is expected"
            )
        columns.append(piece.argmax(axis=1).astype(np.int64))
        start += len(piece)
    return Labels(y, "one-hot rows", np.concatenate(columns), y.values.shape[1])


def _read_strings(y: SourceArray, values: AnyArray) -> AnyArray:
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{y} has labels that are not UTF-8 text: {error}") from error
    _refuse_first(y, values == "", "is missing (an empty string)")
    return values


def _read_whole_numbers(y: SourceArray, values: AnyArray) -> NDArray[np.int64]:
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
        _refuse_first(y, values != np.floor(values), "is not a whole number, and so no class (data.task)")
        _refuse_first(y, np.abs(values) > _LARGEST_EXACT_FLOAT, "is too large for a class")
    if values.dtype == np.uint64:
        _refuse_first(y, values > np.iinfo(np.int64).max, "is too large for a class")
    numbers = values.astype(np.int64)
    # -1 among others often marks a missing label; of two classes it is one.
    if not set(np.unique(numbers).tolist()) <= {-1, 1}:
        _refuse_first(y, values < 0, "is below 0, which often marks a missing label")
    return numbers


def _refuse_first(y: SourceArray, bad: NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        first = int(np.argmax(bad.reshape(-1)))
        row = first // (bad.size // len(bad))
        label = class_name(y.values.reshape(-1)[first])
        raise DataError(f"{y}: label {label!r} of row {row} {problem}; {int(bad.sum())} such labels")


def _form(labels: Labels) -> str:
    return labels.form if labels.columns is None else f"{labels.form} of {labels.columns} columns"


def _listed(classes: AnyArray) -> str:
    shown = ", ".join(repr(class_name(value)) for value in classes[:_SHOWN])
    return shown if len(classes) <= _SHOWN else f"{shown} and {len(classes) - _SHOWN} more"
