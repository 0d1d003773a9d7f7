"""The published model on the test split: the only use that is made of those rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from job.data import Dataset, Split

_BATCH_ROWS = 1024
_BINARY = 2
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

Predictions = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The published model on the test split.

    Attributes:
        scores: loss and the compiled metrics; of a classification those that were asked for, of a regression R2.
        report: what `metrics.json` holds of the test split.
    """

    scores: dict[str, float]
    report: dict[str, Any]


def evaluate(model: keras.Model, dataset: Dataset, asked: Sequence[str] = ()) -> Evaluation:
    """Score the published model on the test split's raw rows.

    Args:
        model: takes raw rows; compiled.
        dataset: with the test split.
        asked: metrics besides those that the task always has; see `job.spec.metrics`.
    """
    test = dataset.test
    logs = model.evaluate(
        test.x, test.y, sample_weight=test.sample_weight, batch_size=_BATCH_ROWS, verbose=0, return_dict=True
    )
    scores = {name: float(value) for name, value in logs.items()}
    report: dict[str, Any] = {"rows": int(test.rows), "scores": scores}
    if dataset.target.task in {"classification", "regression"}:
        outputs = model.predict(test.x, batch_size=_BATCH_ROWS, verbose=0)
        if dataset.class_names is None:
            report |= _regression_report(test, outputs, scores)
        else:
            scores |= _asked_scores(test, outputs, [name for name in asked if name not in scores])
            report |= _classification_report(test, np.argmax(outputs, axis=-1), dataset.class_names)
    return Evaluation(scores, report)


def _regression_report(test: Split, outputs: Predictions, scores: dict[str, float]) -> dict[str, Any]:
    """What is left over, target minus prediction, in the target's unit; puts R2, where there is one, among the scores.

    R2 is 1 - sum of squared residuals / sum of squared deviations from the mean; there is none of equal targets.
    """
    actual = np.asarray(test.y, dtype=np.float64)
    residuals = actual - np.asarray(outputs, dtype=np.float64).reshape(-1)
    spread = float(((actual - actual.mean()) ** 2).sum())
    if spread > 0:
        scores["r2"] = 1 - float((residuals**2).sum()) / spread
    return {
        "residuals": {
            "mean": float(residuals.mean()),
            "deviation": float(residuals.std()),
            "minimum": float(residuals.min()),
            "maximum": float(residuals.max()),
            "quantiles": {f"{share:g}": float(np.quantile(residuals, share)) for share in _QUANTILES},
        }
    }


def _asked_scores(test: Split, outputs: Predictions, asked: Sequence[str]) -> dict[str, float]:
    """The metrics of `job.spec.metrics` that no published model is compiled with; what is not defined is left out."""
    found = {name: _SCORES[name](test.y, outputs) for name in asked if name in _SCORES}
    return {name: float(score) for name, score in found.items() if math.isfinite(score)}


def _precision(actual: npt.NDArray[np.int64], outputs: Predictions) -> float:
    return _by_class(actual, outputs)[0]


def _recall(actual: npt.NDArray[np.int64], outputs: Predictions) -> float:
    return _by_class(actual, outputs)[1]


def _f1_score(actual: npt.NDArray[np.int64], outputs: Predictions) -> float:
    return _by_class(actual, outputs)[2]


def _by_class(actual: npt.NDArray[np.int64], outputs: Predictions) -> tuple[float, float, float]:
    """Precision, recall and F1 of the second of two classes, or the mean over more, those that occur."""
    from sklearn.metrics import precision_recall_fscore_support  # noqa: PLC0415 - 0.7 s of import

    two = outputs.shape[-1] == _BINARY
    one_class: dict[str, Any] = {"labels": [1], "average": "macro"} if two else {"average": "macro"}
    predicted = np.argmax(outputs, axis=-1)
    precision, recall, f1, _ = precision_recall_fscore_support(actual, predicted, zero_division=0, **one_class)
    return float(precision), float(recall), float(f1)


def _auc(actual: npt.NDArray[np.int64], outputs: Predictions) -> float:
    """The area under the ROC curve; NaN where a class has no row, or all."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - likewise

    classes = outputs.shape[-1]
    if len(np.unique(actual)) < classes:
        return math.nan
    logits = outputs.astype(np.float64)
    if classes == _BINARY:
        return float(roc_auc_score(actual, logits[:, 1] - logits[:, 0]))
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return float(roc_auc_score(actual, odds / odds.sum(axis=-1, keepdims=True), multi_class="ovr"))


_SCORES: dict[str, Callable[[npt.NDArray[np.int64], Predictions], float]] = {
    "precision": _precision,
    "recall": _recall,
    "f1_score": _f1_score,
    "auc": _auc,
}


def _classification_report(test: Split, predicted: npt.NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """The confusion matrix has true classes in rows and predicted ones in columns, in the order of `names`."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # noqa: PLC0415 - 0.7 s of import

    labels = np.arange(len(names))
    # Not by name, as classification_report has it: a class may be called "accuracy".
    per_class = zip(*precision_recall_fscore_support(test.y, predicted, labels=labels, zero_division=0), strict=True)
    return {
        "class_names": list(names),
        "confusion_matrix": confusion_matrix(test.y, predicted, labels=labels).tolist(),
        "per_class": {
            name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "rows": int(rows)}
            for name, (precision, recall, f1, rows) in zip(names, per_class, strict=True)
        },
    }
