"""What is wrong with data is a DataError that names the file and the array."""

import re

import numpy as np
import pytest

from job.data import load_dataset
from job.errors import DataError
from job.spec import DataSpec

ROWS = 60
X = np.arange(ROWS * 6, dtype=np.float64).reshape(ROWS, 3, 2) / 8
Y = np.arange(ROWS) % 3
FEW, FEW_LABELS = X[:10], Y[:10]


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def refusal(folder, *, spec=None, **arrays):
    """The error that loading these arrays ends with; the file is called rows.npz."""
    np.savez(folder / "rows.npz", **arrays)
    return refusal_of(folder, source=str(folder / "rows.npz"), **(spec or {}))


def refusal_of(folder, **spec):
    with pytest.raises(DataError) as caught:
        load_dataset(DataSpec(**spec), seed=0, scratch=folder / "scratch")
    return caught.value


BAD_ARRAYS = {
    "no arrays": ({}, "rows.npz: no training rows; found no arrays; expected x and y"),
    "arrays without names": ({"arr_0": X, "arr_1": Y}, "arr_0, arr_1 belongs to no split"),
    "a misspelt array": ({"x": X, "y": Y, "x_tset": FEW}, "rows.npz: x_tset belongs to no split"),
    "inputs without labels": ({"x": X}, "rows.npz: x has no y; found x"),
    "labels without inputs": ({"x": X, "y": Y, "y_test": Y}, "rows.npz: y_test has no x_test"),
    "test rows alone": ({"x_test": X, "y_test": Y}, "rows.npz: no training rows; found x_test, y_test"),
    "training rows twice": ({"x": X, "y": Y, "x_train": X, "y_train": Y}, "x_train and x are the same rows twice"),
    "validation rows twice": (
        {"x": X, "y": Y, "x_val": FEW, "y_val": FEW_LABELS, "x_validation": FEW, "y_validation": FEW_LABELS},
        "x_validation and x_val are the same rows twice",
    ),
    "inputs of rank 0": ({"x": np.float64(1), "y": Y}, "rows.npz: array 'x' is a single value"),
    "inputs of rank 1": ({"x": np.arange(ROWS), "y": Y}, "rows.npz: array 'x' has shape (60,)"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "rows.npz: array 'x' is empty: its shape is (0, 3, 2)"),
    "no features": ({"x": X[:, :0], "y": Y}, "rows.npz: array 'x' is empty: its shape is (60, 0, 2)"),
    "no test rows": (
        {"x_train": X, "y_train": Y, "x_test": X[:0], "y_test": Y[:0]},
        "rows.npz: array 'x_test' is empty",
    ),
    "other lengths": ({"x": X, "y": Y[:50]}, "rows.npz: array 'x' has 60 rows, but array 'y' has 50 labels"),
    "objects": ({"x": X.astype(object), "y": Y}, "rows.npz: array 'x' holds Python objects"),
    "labels that are objects": ({"x": X, "y": Y.astype(object)}, "rows.npz: array 'y' holds Python objects"),
    "strings as inputs": ({"x": X.astype(str), "y": Y}, "rows.npz: array 'x' has dtype <U"),
    "complex inputs": ({"x": X.astype(complex), "y": Y}, "rows.npz: array 'x' has dtype complex128"),
    "dates as inputs": ({"x": X.astype(int).astype("M8[s]"), "y": Y}, "rows.npz: array 'x' has dtype datetime64"),
    "long doubles": ({"x": X.astype(np.longdouble), "y": Y}, "rows.npz: array 'x' has dtype float128"),
    "fields": ({"x": np.zeros((ROWS, 2), dtype=[("a", "f4")]), "y": Y}, "rows.npz: array 'x' has dtype [('a', '<f4')]"),
    "NaN": (
        {"x": changed(changed(X, 7, np.nan), (20, 0, 0), np.nan), "y": Y},
        "rows.npz: array 'x' has 7 values that are NaN, infinite or too large for float32, the first in row 7",
    ),
    "infinity": ({"x": changed(X, (9, 1, 1), -np.inf), "y": Y}, "array 'x' has 1 values that are NaN, infinite"),
    "infinity in half precision": (
        {"x": changed(X.astype(np.float16), (9, 1, 1), np.inf), "y": Y},
        "array 'x' has 1 values that are NaN, infinite or too large for float32, the first in row 9",
    ),
    "beyond float32": ({"x": changed(X, (9, 1, 1), 1e39), "y": Y}, "too large for float32, the first in row 9"),
    "NaN in the test rows": (
        {"x_train": X, "y_train": Y, "x_test": changed(FEW, 3, np.nan), "y_test": FEW_LABELS},
        "rows.npz: array 'x_test' has 6 values that are NaN",
    ),
    "test rows of another shape": (
        {"x_train": X, "y_train": Y, "x_test": FEW[:, :2], "y_test": FEW_LABELS},
        "rows.npz: array 'x_test' has rows of shape (2, 2), but those of",
    ),
    "test rows of another dtype": (
        {"x_train": X.astype(np.uint8), "y_train": Y, "x_test": FEW, "y_test": FEW_LABELS},
        "rows.npz: array 'x_test' has dtype float64, but",
    ),
    "test rows of a wider dtype": (
        {"x_train": X.astype(np.uint8), "y_train": Y, "x_test": FEW.astype(np.uint16), "y_test": FEW_LABELS},
        "rows.npz: array 'x_test' has dtype uint16, but",
    ),
}

BAD_LABELS = {
    "of rank 3": (np.zeros((ROWS, 1, 1), dtype=int), "array 'y' has shape (60, 1, 1): one label per row"),
    "several strings per row": (np.full((ROWS, 2), "a"), "array 'y' has shape (60, 2): one string per row"),
    "complex": (Y.astype(complex), "array 'y' has dtype complex128"),
    "dates": (Y.astype("M8[s]"), "array 'y' has dtype datetime64[s]"),
    "of one class": (np.zeros(ROWS, dtype=int), "array 'y' has the one label '0' in all its 60 rows"),
    "missing": (
        changed(Y.astype(float), [4, 9], np.nan),
        "array 'y': label 'nan' of row 4 is missing (NaN); 2 such labels",
    ),
    "missing in a column": (
        changed(Y.astype(float).reshape(-1, 1), (4, 0), np.nan),
        "array 'y': label 'nan' of row 4 is missing (NaN); 1 such labels",
    ),
    "missing from one-hot rows": (
        changed(np.eye(3)[Y], (4, 1), np.nan),
        "array 'y': label 'nan' of row 4 is missing (NaN); 1 such labels",
    ),
    "empty strings": (
        changed(np.array(["a", "b", "c"])[Y], 5, ""),
        "array 'y': label '' of row 5 is missing (an empty string); 1 such labels",
    ),
    "not UTF-8": (changed(np.array([b"a", b"b", b"c"])[Y], 5, b"\xff"), "array 'y' has labels that are not UTF-8"),
    "fractional": (
        changed(Y.astype(float), 6, 0.5),
        "array 'y': label '0.5' of row 6 is not a whole number, and so no class",
    ),
    "infinite": (changed(Y.astype(float), 6, np.inf), "array 'y': label 'inf' of row 6 is too large"),
    "beyond int64": (changed(Y.astype(np.uint64), 6, 2**63), "of row 6 is too large for a class"),
    "negative": (
        changed(Y, [6, 8], -1),
        "array 'y': label '-1' of row 6 is below 0, which often marks a missing label",
    ),
    "not one-hot": (changed(np.eye(3)[Y], (4, 0), 1) * 1, "array 'y' has shape (60, 3), but row 4 is not one-hot"),
    "soft": (changed(np.eye(3)[Y], 4, [0.5, 0.5, 0]), "array 'y' has shape (60, 3), but row 4 is not one-hot"),
    "without a one": (changed(np.eye(3)[Y], 4, 0), "array 'y' has shape (60, 3), but row 4 is not one-hot"),
}

BAD_OTHER_LABELS = {
    "unknown": (
        {"y_train": Y, "y_test": changed(FEW_LABELS, [5, 7], 11)},
        "array 'y_test': label '11' (2 rows, the first is row 5) does not occur in",
    ),
    "unknown between known ones": (
        {"y_train": Y * 2, "y_test": changed(FEW_LABELS * 2, 5, 3)},
        "array 'y_test': label '3' (1 rows, the first is row 5) does not occur in",
    ),
    "strings for numbers": (
        {"y_train": Y, "y_test": FEW_LABELS.astype(str)},
        "array 'y_test' has strings, but",
    ),
    "one-hot rows for numbers": (
        {"y_train": Y, "y_test": np.eye(3)[FEW_LABELS]},
        "array 'y_test' has one-hot rows of 3",
    ),
    "other columns": (
        {"y_train": np.eye(3)[Y], "y_test": np.eye(4)[FEW_LABELS]},
        "array 'y_test' has one-hot rows of 4 columns, but",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_cannot_be_used_are_refused(tmp_path, arrays, message):
    """The message names the file, the array and what is wrong with it."""
    error = refusal(tmp_path, **arrays)
    assert message in error.message
    assert str(tmp_path / "rows.npz") in error.message


@pytest.mark.parametrize(("labels", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_labels_that_are_none_are_refused(tmp_path, labels, message):
    """The message names the file, the array, the label and its row."""
    error = refusal(tmp_path, x=X, y=labels, spec={"task": "classification"})
    assert error.message.startswith(f"{tmp_path / 'rows.npz'}: ")
    assert message in error.message


@pytest.mark.parametrize(("labels", "message"), BAD_OTHER_LABELS.values(), ids=BAD_OTHER_LABELS)
def test_labels_that_training_never_has_are_refused(tmp_path, labels, message):
    """A model cannot be scored on classes that it has no output for."""
    error = refusal(tmp_path, x_train=X, x_test=FEW, **labels)
    assert error.message.startswith(f"{tmp_path / 'rows.npz'}: {message}")
    assert "array 'y_train'" in error.message


@pytest.mark.parametrize(
    ("labels", "looks_like"),
    [
        pytest.param(np.arange(1500), "numbers to predict", id="whole numbers"),
        pytest.param(np.arange(4500) // 3 * 100.0, "numbers to predict", id="whole floats that repeat"),
        pytest.param(np.arange(1500).astype(str), "identifiers", id="strings"),
    ],
)
def test_targets_and_identifiers_are_no_classes(tmp_path, labels, looks_like):
    """More than a thousand classes of hardly any rows each are refused, with what they look like."""
    error = refusal(tmp_path, x=np.zeros((len(labels), 1)), y=labels, spec={"task": "classification"})
    assert re.search(
        rf"array 'y' has 1500 different labels in {len(labels)} rows, which look like {looks_like}", error.message
    )


def test_a_thousand_classes_of_many_rows_are_classes(tmp_path):
    """Many classes alone are no reason to refuse."""
    y = np.arange(4500) // 3
    np.savez(tmp_path / "rows.npz", x=np.zeros((len(y), 1)), y=y)
    dataset = load_dataset(DataSpec(source=str(tmp_path / "rows.npz")), seed=0, scratch=tmp_path)
    assert len(dataset.class_names) == 1500
    assert dataset.profile()["rows_per_class"] == {"fewest": 3, "most": 3}


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_fraction_that_leaves_an_empty_split_is_refused(tmp_path, split):
    """The message has the field and the numbers."""
    error = refusal(tmp_path, x=X, y=Y, spec={f"{split}_fraction": 0.001})
    assert f"array 'x': no {split} split with data.{split}_fraction 0.001: 0.001 of" in error.message
    assert "rows is 0" in error.message


def test_a_fraction_that_leaves_a_class_without_training_rows_is_refused(tmp_path):
    """Stratified training rows hold every class, and the message says when they cannot."""
    error = refusal(tmp_path, x=X, y=Y, spec={"test_fraction": 0.97})
    assert "58 of 60 rows cannot be drawn, because each of the 3 classes keeps one" in error.message


def test_a_divisor_that_overflows_float32_is_refused(tmp_path):
    """Inputs that data.rescale turns into infinities are refused before training."""
    error = refusal(tmp_path, x=X * 1e30, y=Y, spec={"rescale": 1e-20})
    assert error.message == "data.rescale 1e-20 makes inputs too large for float32"
