"""Where a model, its loss and the labels do not go together, the message says what each of them is."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from job.data import Split
from job.evaluation import evaluate
from job.models.fitting import shape_problem
from job.target import Target

FOUR = Target("classification", ("0", "1", "2", "3"))
TEN = Target("classification", tuple(map(str, range(1, 11))), tuple(map(float, range(1, 11))))
SIGNED = Target("classification", ("-1", "1"), (-1.0, 1.0))
FLOATS = Target("classification", ("0", "1"))
RATINGS = Target("classification", tuple("12345"), (1.0, 2.0, 3.0, 4.0, 5.0))
WORDS = Target("classification", ("bad", "fair", "good"))
CUSTOM = Target("custom")
ONE_HOT = np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]
CODES = np.array([0, 1, 2, 1])


def problem(loss, outputs, y, target, *, stated=False):
    """Of a model with so many outputs on a batch."""
    inputs = keras.Input((2,))
    heads = [keras.layers.Dense(int(count))(inputs) for count in np.atleast_1d(outputs)]
    model = keras.Model(inputs, heads if len(heads) > 1 else heads[0])
    model.compile(loss=loss)
    first = y[0] if isinstance(y, list) else y
    return shape_problem(model, model(np.ones((len(first), 2), np.float32)), y, target, stated=stated)


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "target"),
    [
        ("mse", 1, np.array([1, 3, 5, 4]), RATINGS),
        ("mae", 1, np.array([[1], [3], [5], [4]]), RATINGS),
        ("binary_crossentropy", 1, np.float32([0, 1, 1, 0]), FLOATS),
        (keras.losses.BinaryCrossentropy(), 1, np.array([[0], [1], [1], [0]]), FLOATS),
        ("hinge", 1, np.array([-1, 1, 1, -1]), SIGNED),
        ("squared_hinge", 1, np.array([0, 1, 1, 0]), FLOATS),
        ("mse", 1, np.array([-1, 1, 1, -1]), SIGNED),
        ("sparse_categorical_crossentropy", 4, np.array([0, 3]), FOUR),
        ("sparse_categorical_crossentropy", 6, np.array([[0], [3]]), FOUR),
        ("sparse_categorical_crossentropy", 11, np.array([1, 10]), TEN),
        (keras.losses.SparseCategoricalCrossentropy(ignore_class=-1), 2, np.array([-1, 1]), SIGNED),
        ("sparse_categorical_crossentropy", 9, np.array([3, 7]), CUSTOM),
        ("categorical_crossentropy", 3, ONE_HOT, CUSTOM),
        ("mse", 3, ONE_HOT, CUSTOM),
        ("binary_crossentropy", 3, ONE_HOT.astype(np.int64), CUSTOM),
        ("mse", 1, np.float32([0.5, 2.5]), Target("regression")),
        ("binary_crossentropy", 1, np.float32([0.5, 0.25]), Target("regression")),
        ("mse", [1, 1], [np.float32([0.5, 2.5]), np.float32([[1], [2]])], CUSTOM),
        (["mse", "sparse_categorical_crossentropy"], [1, 3], [np.float32([0.5, 2.5]), np.array([0, 2])], CUSTOM),
        ("mse", 3, ONE_HOT, Target("classification", ("0", "1", "2"))),
    ],
)
def test_what_keras_trains_on_is_let_through(loss, outputs, y, target):
    """Targets are what plain Keras takes with this loss."""
    assert problem(loss, outputs, y, target) is None


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "target", "labels", "wanted"),
    [
        ("sparse_categorical_crossentropy", 10, np.array([1, 10]), TEN,
         "whole numbers from 1 to 10, one per row (10 classes)", "wants whole numbers from 0 to 9"),
        ("sparse_categorical_crossentropy", 3, np.array([0, 3]), FOUR,
         "whole numbers 0, 1, 2 and 3, one per row (4 classes)", "wants whole numbers from 0 to 2"),
        ("sparse_categorical_crossentropy", 2, np.array([-1, 1]), SIGNED,
         "whole numbers -1 and 1, one per row", "wants whole numbers from 0 to 1"),
        ("sparse_categorical_crossentropy", 1, np.array([0, 1]), FLOATS,
         "whole numbers 0 and 1, one per row", "wants whole numbers from 0 to 0"),
        ("sparse_categorical_crossentropy", 3, ONE_HOT, CUSTOM,
         "rows of 3 numbers, one-hot for example", "one for each row of 3 outputs"),
        ("sparse_categorical_crossentropy", 3, ONE_HOT.astype(np.uint8), CUSTOM,
         "rows of 3 numbers, one-hot for example", "one for each row of 3 outputs"),
        ("sparse_categorical_crossentropy", 3, np.float32([0.5, 1]), Target("regression"),
         "numbers to predict", "wants whole numbers from 0 to 2"),
        ("categorical_crossentropy", 4, np.array([0, 3]), FOUR,
         "whole numbers 0, 1, 2 and 3, one per row", "wants one-hot rows of 4 columns"),
        (keras.losses.CategoricalFocalCrossentropy(), 4, np.array([[0], [3]]), FOUR,
         "whole numbers 0, 1, 2 and 3, one per row", "wants one-hot rows of 4 columns"),
        ("categorical_crossentropy", 1, np.array([0, 1]), FLOATS,
         "whole numbers 0 and 1", "wants one-hot rows, and an output for each class"),
        ("categorical_crossentropy", 4, ONE_HOT, CUSTOM,
         "rows of 3 numbers", "wants one-hot rows of 4 columns"),
        (keras.losses.BinaryCrossentropy(), 1, CODES, WORDS,
         "whole numbers 0, 1 and 2, one per row (3 classes)", "the loss BinaryCrossentropy wants 0 and 1"),
        ("binary_crossentropy", 3, CODES, WORDS,
         "whole numbers 0, 1 and 2, one per row (3 classes)", "wants 0 and 1, of shape (rows, 3)"),
        ("binary_crossentropy", 1, np.array([-1, 1]), SIGNED, "whole numbers -1 and 1", "wants 0 and 1"),
        ("hinge", 1, CODES, WORDS, "whole numbers 0, 1 and 2", "wants -1 and 1"),
        ("mse", 4, np.array([0, 3]), FOUR, "whole numbers 0, 1, 2 and 3, one per row", "numbers of shape (rows, 4)"),
        ("mse", 2, np.float32([0.5, 2.5]), Target("regression"), "numbers to predict", "numbers of shape (rows, 2)"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said(loss, outputs, y, target, labels, wanted):
    """What the labels are, and what the loss wants."""
    said = problem(loss, outputs, y, target)
    assert said is not None
    assert labels in said
    assert wanted in said


def test_classes_by_name_are_no_numbers_to_predict():
    """Nor are those that the spec calls classes."""
    assert "expected (rows, 3): there are 3 classes" in problem("mse", 1, CODES, WORDS)
    assert "expected (rows, 5): there are 5 classes" in problem("mse", 1, np.array([1, 5]), RATINGS, stated=True)


@pytest.mark.parametrize(
    ("loss", "values", "outputs", "labels", "names", "matrix"),
    [
        ("hinge", (-1.0, 1.0), [[-0.5], [0.5], [0.1]], [-1, 1, -1], ("-1", "1"), [[1, 1], [0, 1]]),
        ("hinge", None, [[-0.5], [0.5], [0.1]], [0, 1, 0], ("0", "1"), [[1, 1], [0, 1]]),
        ("binary_crossentropy", None, [[0.2], [0.6], [0.4]], [[0], [1], [0]], ("0", "1"), [[2, 0], [0, 1]]),
        ("sparse_categorical_crossentropy", (1.0, 2.0), np.eye(3)[[1, 0, 2]], [1, 1, 2], ("0", "1", "2"),
         [[0, 0, 0], [1, 1, 0], [0, 0, 1]]),
        ("categorical_crossentropy", (0.0, 2.0), np.eye(3)[[0, 1, 2]], np.eye(3)[[0, 2, 2]], ("0", "1", "2"),
         [[1, 0, 0], [0, 0, 0], [0, 1, 1]]),
    ],
)  # fmt: skip
def test_the_confusion_matrix_knows_labels_as_they_are(loss, values, outputs, labels, names, matrix, dataset):
    """Whichever numbers stand for two classes, and where a model has outputs that no label names."""
    outputs, labels = np.float32(outputs), np.asarray(labels)
    inputs = keras.Input((outputs.shape[1],))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile(loss=loss)
    named = tuple(str(int(value)) for value in values or (0, 1))
    rows = replace(
        dataset, test=Split(outputs, labels), target=Target("classification", named, values), preparation=None
    )
    report = evaluate(model, rows).report
    assert report["class_names"] == list(names)
    assert report["confusion_matrix"] == matrix
