"""Which way metrics are better, and those that built-in models log, by task; without TensorFlow."""

import re
from dataclasses import dataclass
from typing import Literal

from job.target import Task

Direction = Literal["min", "max"]


# Keras's metrics and losses under every name that it logs them by, and ours. A test holds the table to the installed
# Keras. Left out is what means something in its user's context alone: `mean`, `sum`.
_MORE_IS_BETTER = """
    acc accuracy binary_accuracy categorical_accuracy sparse_categorical_accuracy top_k_categorical_accuracy
    sparse_top_k_categorical_accuracy auc precision recall f1_score f_beta_score fbeta_score precision_at_recall
    recall_at_precision sensitivity_at_specificity specificity_at_sensitivity true_positives true_negatives io_u
    binary_io_u mean_io_u one_hot_io_u one_hot_mean_io_u cosine_similarity r2_score concordance_correlation
    pearson_correlation top_5_accuracy r2
"""
_LESS_IS_BETTER = """
    loss mae mse mape msle rmse mean_absolute_error mean_squared_error mean_absolute_percentage_error
    mean_squared_logarithmic_error root_mean_squared_error bce ce crossentropy cross_entropy binary_crossentropy
    categorical_crossentropy sparse_categorical_crossentropy binary_focal_crossentropy categorical_focal_crossentropy
    categorical_generalized_cross_entropy kld kl_divergence kullback_leibler_divergence hinge squared_hinge
    categorical_hinge huber log_cosh logcosh log_cosh_error poisson dice tversky circle ctc false_positives
    false_negatives
"""
_DIRECTIONS: dict[str, Direction] = {
    **dict.fromkeys(_MORE_IS_BETTER.split(), "max"),
    **dict.fromkeys(_LESS_IS_BETTER.split(), "min"),
}
# What Keras adds to a metric's name: of validation rows, of weighted metrics, of the second metric of a name.
_ADDED = re.compile(r"(val_)?(weighted_)?(?P<name>.*?)(_\d+)?")


def direction_of(name: str) -> Direction | None:
    """Return which way a metric is better, by the name that it is logged by; None where that is not known.

    It depends on nothing else, whatever the task. `val_`, `weighted_` and a number at the end change nothing. An
    output's name before it is no part of what is known: `negative_mae` may be anything.
    """
    known = _ADDED.fullmatch(name)
    plain = name.removeprefix("val_")
    return _DIRECTIONS.get(plain) or (_DIRECTIONS.get(known["name"]) if known else None)


@dataclass(frozen=True, slots=True)
class Metric:
    """What a built-in model can log after every epoch: of training rows by this name, of validation rows after `val_`.

    Attributes:
        asked_for: logged only where `training.metrics` or the objective names it.
    """

    name: str
    meaning: str
    asked_for: bool = True

    @property
    def direction(self) -> Direction:
        """Which way is better."""
        return _DIRECTIONS[self.name]


_LOSS = "what training minimises, the penalties `l1` and `l2` included"

METRICS: dict[Task, tuple[Metric, ...]] = {
    "classification": (
        Metric("loss", f"{_LOSS}: cross-entropy", asked_for=False),
        Metric("accuracy", "the share of rows whose class is right", asked_for=False),
        Metric("cross_entropy", "the loss without penalties: how improbable the right classes were thought"),
        Metric("top_5_accuracy", "the share of rows whose class is among the five most probable"),
        Metric("precision", "the share of rows of a predicted class that are of it: of the second of two "
               "classes, the mean of more"),
        Metric("recall", "the share of a class's rows that are found, likewise"),
        Metric("f1_score", "the harmonic mean of precision and recall, likewise"),
        Metric("auc", "the area under the ROC curve: of the second of two classes, the mean of more, each "
               "against the rest"),
    ),
    "regression": (
        Metric("loss", f"{_LOSS}: mean squared error of standardised targets", asked_for=False),
        Metric("mae", "mean absolute error, in the target's unit", asked_for=False),
        Metric("rmse", "root of the mean squared error, in the target's unit", asked_for=False),
        Metric("r2", "the share of the variance that is explained"),
        Metric("mape", "mean absolute error in percent of the target"),
    ),
}  # fmt: skip

TASKS: tuple[Task, ...] = ("classification", "regression")


def logged_metrics(task: Task) -> tuple[str, ...]:
    """Everything that a built-in model of a task can log."""
    return tuple(prefix + metric.name for metric in METRICS.get(task, ()) for prefix in ("", "val_"))


def askable_metrics(task: Task) -> tuple[str, ...]:
    """The metrics of a task that are logged only where something names them."""
    return tuple(metric.name for metric in METRICS.get(task, ()) if metric.asked_for)
