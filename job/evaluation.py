"""The published model on the test split: the only use that is made of those rows."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from job.data import Dataset, Split

_BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The published model on the test split.

    Attributes:
        scores: loss and the compiled metrics.
        report: what `metrics.json` holds of the test split.
    """

    scores: dict[str, float]
    report: dict[str, Any]


def evaluate(model: keras.Model, dataset: Dataset) -> Evaluation:
    """Score the published model on the test split's raw rows.

    Args:
        model: takes raw rows; compiled.
        dataset: with the test split.
    """
    test = dataset.test
    logs = model.evaluate(
        test.x, test.y, sample_weight=test.sample_weight, batch_size=_BATCH_ROWS, verbose=0, return_dict=True
    )
    scores = {name: float(value) for name, value in logs.items()}
    report: dict[str, Any] = {"rows": int(test.rows), "scores": scores}
    if dataset.class_names is not None:
        predicted = np.argmax(model.predict(test.x, batch_size=_BATCH_ROWS, verbose=0), axis=-1)
        report |= _classification_report(test, predicted, dataset.class_names)
    return Evaluation(scores, report)


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
