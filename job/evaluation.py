"""The published model on the test split: the only use that is made of those rows."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from job.data import Dataset, Preparation, Split
from job.models.answers import predicted_classes, scores_itself

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


def evaluate(model: keras.Model, dataset: Dataset, core: keras.Model | None = None) -> Evaluation:
    """Score the published model on the test split's raw rows.

    Args:
        model: takes raw rows; compiled.
        dataset: with the test split.
        core: what was trained, with the same weights, on prepared rows: it scores where only it knows how to.
    """
    test = dataset.test
    if core is not None and (scores_itself(core) or model.loss is None):
        logs = core.evaluate(_PreparedBatches(test, dataset.preparation), verbose=0, return_dict=True)
    else:
        logs = model.evaluate(
            test.x, test.y, sample_weight=test.sample_weight, batch_size=_BATCH_ROWS, verbose=0, return_dict=True
        )
    # What is no number, of a step of the user's own, is no score.
    scores = {name: float(value) for name, value in logs.items() if np.size(value) == 1}
    report: dict[str, Any] = {"rows": int(test.rows), "scores": scores}
    if dataset.class_names is not None:
        outputs = model.predict(test.x, batch_size=_BATCH_ROWS, verbose=0)
        predicted = predicted_classes(core or model, outputs, len(dataset.class_names))
        if predicted is not None:
            report |= _classification_report(test, predicted, dataset.class_names)
    return Evaluation(scores, report)


class _PreparedBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no annotations
    """The rows of a split, prepared batch by batch."""

    def __init__(self, split: Split, preparation: Preparation) -> None:
        super().__init__()
        self._split = split
        self._preparation = preparation

    def __len__(self) -> int:
        return math.ceil(self._split.rows / _BATCH_ROWS)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        rows = self._split.part(slice(number * _BATCH_ROWS, (number + 1) * _BATCH_ROWS))
        x = self._preparation.prepare(rows.x)
        if rows.sample_weight is not None:
            return x, rows.y, rows.sample_weight
        return (x,) if rows.y is None else (x, rows.y)


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
