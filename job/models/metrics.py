"""The metrics of built-in models (`job.spec.metrics`), made for Keras.

Keras's own of precision, recall, F1 and the ROC curve take probabilities and one-hot targets, and built-in classifiers
answer with logits for class numbers. Those here take these. They serve the search alone: a published model is compiled
with Keras's own metrics, and `job.evaluation` computes the others from its predictions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from job.target import Target

_BINARY = 2


def metrics_of(target: Target, asked: Sequence[str] = ()) -> list[Any]:
    """What a model of a task is compiled with: the task's own metrics, then those asked for, without `loss`."""
    if target.task == "regression":
        always: list[Any] = [
            keras.metrics.MeanAbsoluteError(name="mae"),
            keras.metrics.RootMeanSquaredError(name="rmse"),
        ]
    else:
        always = ["accuracy"]
    return [*always, *(_ASKABLE[name](target) for name in dict.fromkeys(asked) if name in _ASKABLE)]


class _ClassCounts(keras.metrics.Metric):  # type: ignore[misc]  # Keras has no annotations
    """Counts, by class, rows of it, rows predicted to be of it, and those of both; or sums of their weights.

    The score is that of the second of two classes, or the mean over the classes that occur in the targets, as in
    `sklearn.metrics` with these as `labels` and `zero_division=0`.
    """

    def __init__(self, classes: int, name: str) -> None:
        super().__init__(name=name)
        self._classes = classes
        self._right, self._predicted, self._actual = (
            self.add_weight(shape=(classes,), initializer="zeros", name=count)
            for count in ("right", "predicted", "actual")
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ANN401 - tensors
        """Count a batch: class numbers and weights, (rows,) or (rows, 1); logits, (rows, classes)."""
        actual = _one_hot(y_true, self._classes)
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), self._classes, dtype="float32")
        if sample_weight is not None:
            weights = ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
            actual, predicted = actual * weights, predicted * weights
            self._right.assign_add(ops.sum(ops.minimum(actual, predicted), axis=0))
        else:
            self._right.assign_add(ops.sum(actual * predicted, axis=0))
        self._predicted.assign_add(ops.sum(predicted, axis=0))
        self._actual.assign_add(ops.sum(actual, axis=0))

    def result(self) -> Any:  # noqa: ANN401 - a tensor
        """The score."""
        scores = self._scores(self._right, self._predicted, self._actual)
        if self._classes == _BINARY:
            return scores[1]
        occurs = ops.cast(self._actual > 0, "float32")
        return ops.divide_no_nan(ops.sum(scores * occurs), ops.sum(occurs))

    def _scores(self, right: Any, predicted: Any, actual: Any) -> Any:  # noqa: ANN401 - tensors
        raise NotImplementedError


class Precision(_ClassCounts):
    """The share of rows predicted to be of a class that are."""

    def _scores(self, right: Any, predicted: Any, actual: Any) -> Any:  # noqa: ANN401 - tensors
        del actual
        return ops.divide_no_nan(right, predicted)


class Recall(_ClassCounts):
    """The share of a class's rows that are predicted to be of it."""

    def _scores(self, right: Any, predicted: Any, actual: Any) -> Any:  # noqa: ANN401 - tensors
        del predicted
        return ops.divide_no_nan(right, actual)


class F1Score(_ClassCounts):
    """The harmonic mean of precision and recall."""

    def _scores(self, right: Any, predicted: Any, actual: Any) -> Any:  # noqa: ANN401 - tensors
        return ops.divide_no_nan(2.0 * right, predicted + actual)


class Auc(keras.metrics.AUC):  # type: ignore[misc]  # Keras has no annotations
    """The area under the ROC curve by 200 thresholds, of the second of two classes or the mean of each one's."""

    def __init__(self, classes: int, name: str) -> None:
        several = {} if classes == _BINARY else {"multi_label": True, "num_labels": classes}
        super().__init__(name=name, **several)
        self._classes = classes

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ANN401 - tensors
        """Count a batch, as `Precision` does."""
        actual, probable = _one_hot(y_true, self._classes), ops.softmax(ops.cast(y_pred, "float32"))
        if self._classes == _BINARY:
            actual, probable = actual[:, 1], probable[:, 1]
        super().update_state(actual, probable, sample_weight)


class StandardisedR2(keras.metrics.R2Score):  # type: ignore[misc]  # Keras has no annotations
    """R2 of targets that are standardised first: it is the same, and float32 squares lose nothing."""

    def __init__(self, target: Target, name: str) -> None:
        super().__init__(name=name)
        self._mean, self._scale = target.mean, target.scale

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ANN401 - tensors
        """Count a batch: numbers and weights, (rows,) or (rows, 1), and predictions, (rows, 1)."""
        actual, predicted = (
            ops.reshape((ops.cast(values, "float32") - self._mean) / self._scale, (-1, 1))
            for values in (y_true, y_pred)
        )
        super().update_state(actual, predicted, sample_weight)


def _one_hot(y_true: Any, classes: int) -> Any:  # noqa: ANN401 - tensors
    return ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes, dtype="float32")


# By the names of `job.spec.metrics`.
_ASKABLE: dict[str, Callable[[Target], keras.metrics.Metric]] = {
    "cross_entropy": lambda _: keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy"),
    "top_5_accuracy": lambda _: keras.metrics.SparseTopKCategoricalAccuracy(k=5, name="top_5_accuracy"),
    "precision": lambda target: Precision(target.outputs, "precision"),
    "recall": lambda target: Recall(target.outputs, "recall"),
    "f1_score": lambda target: F1Score(target.outputs, "f1_score"),
    "auc": lambda target: Auc(target.outputs, "auc"),
    "r2": lambda target: StandardisedR2(target, "r2"),
    "mape": lambda _: keras.metrics.MeanAbsolutePercentageError(name="mape"),
}
