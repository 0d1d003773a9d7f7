"""The published model, loaded from its file, on the test split."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from job.data import Dataset, Preparation, Split
from job.data.labels import class_codes
from job.data.nested import as_tuples
from job.logs import get_logger
from job.models import RawBatches, as_model_input
from job.models.answers import predicted_classes, scores_itself
from job.target import Target
from job.training.fit import SCORED_ROWS

_BINARY = 2
_MATRIX = 2
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


def evaluate(
    model: keras.Model, dataset: Dataset, asked: Sequence[str] = (), *, core: keras.Model | None = None
) -> Evaluation:
    """Score the published model on the test split's raw rows.

    Args:
        model: takes raw rows; compiled.
        dataset: with the test split.
        asked: metrics besides those that the task always has; see `job.spec.metrics`.
        core: what was trained, with the same weights, on prepared rows: it scores where only it knows how to.
    """
    test = dataset.test
    # In batches whatever the rows are: they may be larger than memory.
    batches = RawBatches(test, SCORED_ROWS)
    scored_by = "published file"
    if core is not None and (scores_itself(core) or model.loss is None):
        # No graph of layers holds a step or a loss of the user's own.
        scored_by = "trained model, which alone knows how to score; the published file's predictions agree with its own"
        get_logger().warning("the test scores are the trained model's, not computed from the file", why=scored_by)
        logs = core.evaluate(_PreparedBatches(test, dataset.preparation), verbose=0, return_dict=True)
    else:
        logs = model.evaluate(batches, verbose=0, return_dict=True)
    # What is no number, of a step of the user's own, is no score.
    scores = {name: float(value) for name, value in logs.items() if np.size(value) == 1}
    report: dict[str, Any] = {"rows": int(test.rows), "scores": scores, "scored_by": scored_by}
    if dataset.target.task in {"classification", "regression"}:
        outputs = model.predict(batches, verbose=0)
        if dataset.class_names is None:
            # A model of the user's own may answer otherwise, with several quantiles for example.
            if np.size(outputs) == test.rows:
                scores |= _r2(test, outputs)
                report |= _residuals(test, outputs)
        else:
            scores |= _asked_scores(test, outputs, [name for name in asked if name not in scores])
            target = _by_output(dataset.target, outputs)
            names, values = target.class_names or (), target.class_values
            threshold = None if values is None else (values[0] + values[-1]) / 2
            predicted = predicted_classes(core or model, outputs, len(names), threshold)
            if predicted is not None:
                report |= _classification_report(class_codes(test.y, target), predicted, names)
    return Evaluation(scores, report)


def _by_output(target: Target, outputs: Any) -> Target:  # noqa: ANN401 - of any structure
    """The target with a class for each output, where a model of the user's own has outputs that no label names.

    Labels from 1 to 3 take four outputs of Keras's sparse losses, the first of which stands for no class.
    """
    values = target.class_values
    if values is None or not isinstance(outputs, np.ndarray) or outputs.ndim != _MATRIX:
        return target
    columns = outputs.shape[1]
    # Two classes may be learned by one output, and those of one-hot rows are numbered by column as well.
    if columns == 1 or values[0] < 0 or values[-1] >= columns:
        return target
    return replace(target, class_names=tuple(map(str, range(columns))), class_values=None)


def _r2(test: Split, outputs: Predictions) -> dict[str, float]:
    """1 - sum of squared residuals / sum of squared deviations from the mean; there is none of equal targets."""
    from sklearn.metrics import r2_score  # noqa: PLC0415 - 0.7 s of import

    actual = np.asarray(test.y, dtype=np.float64).reshape(-1)
    if (actual == actual[0]).all():
        return {}
    return {"r2": float(r2_score(actual, outputs.reshape(-1).astype(np.float64), sample_weight=test.sample_weight))}


def _residuals(test: Split, outputs: Predictions) -> dict[str, Any]:
    """What is left over, target minus prediction, in the target's unit; every row counts alike."""
    residuals = np.asarray(test.y, dtype=np.float64).reshape(-1) - np.asarray(outputs, dtype=np.float64).reshape(-1)
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
    scores: dict[str, float] = {}
    if not _BY_CLASS.isdisjoint(asked):
        scores |= _by_class(test, outputs)
    if "auc" in asked and len(np.unique(test.y)) > 1:
        scores["auc"] = _auc(test, outputs)
    return {name: scores[name] for name in asked if name in scores}


_BY_CLASS = frozenset({"precision", "recall", "f1_score"})


def _by_class(test: Split, outputs: Predictions) -> dict[str, float]:
    """Precision, recall and F1 of the second of two classes, or the mean over more, those that occur."""
    from sklearn.metrics import precision_recall_fscore_support  # noqa: PLC0415 - 0.7 s of import

    precision, recall, f1, _ = precision_recall_fscore_support(
        test.y,
        np.argmax(outputs, axis=-1),
        # A class that does not occur has nothing to be found.
        labels=[1] if outputs.shape[-1] == _BINARY else np.unique(test.y),
        average="macro",
        sample_weight=test.sample_weight,
        zero_division=0,
    )
    return {"precision": float(precision), "recall": float(recall), "f1_score": float(f1)}


def _auc(test: Split, outputs: Predictions) -> float:
    """The area under the ROC curve of the second of two classes, or the mean of more, each against the rest."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - likewise

    logits, weights = outputs.astype(np.float64), test.sample_weight
    if outputs.shape[-1] == _BINARY:
        return float(roc_auc_score(test.y, logits[:, 1] - logits[:, 0], sample_weight=weights))
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = odds / odds.sum(axis=-1, keepdims=True)
    return float(
        np.mean([roc_auc_score(test.y == code, shares[:, code], sample_weight=weights) for code in np.unique(test.y)])
    )


class _PreparedBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no annotations
    """The rows of a split, prepared batch by batch."""

    def __init__(self, split: Split, preparation: Preparation) -> None:
        super().__init__()
        self._split = split
        self._preparation = preparation

    def __len__(self) -> int:
        return math.ceil(self._split.rows / SCORED_ROWS)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        rows = self._split.part(slice(number * SCORED_ROWS, (number + 1) * SCORED_ROWS))
        x, y = as_model_input(self._preparation.prepare(rows.x)), as_tuples(rows.y)
        if rows.sample_weight is not None:
            return x, y, rows.sample_weight
        return (x,) if y is None else (x, y)


def _classification_report(
    actual: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], names: tuple[str, ...]
) -> dict[str, Any]:
    """The confusion matrix has true classes in rows and predicted ones in columns, in the order of `names`."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # noqa: PLC0415 - 0.7 s of import

    labels = np.arange(len(names))
    # Not by name, as classification_report has it: a class may be called "accuracy".
    per_class = zip(*precision_recall_fscore_support(actual, predicted, labels=labels, zero_division=0), strict=True)
    return {
        "class_names": list(names),
        "confusion_matrix": confusion_matrix(actual, predicted, labels=labels).tolist(),
        "per_class": {
            name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "rows": int(rows)}
            for name, (precision, recall, f1, rows) in zip(names, per_class, strict=True)
        },
    }
