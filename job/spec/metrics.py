"""The metrics that built-in models log, by task; without TensorFlow."""

from dataclasses import dataclass
from typing import Literal

from job.target import Task

Direction = Literal["min", "max"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a built-in model can log after every epoch: of training rows by this name, of validation rows after `val_`.

    Attributes:
        direction: which way is better.
        asked_for: logged only where `training.metrics` or the objective names it.
    """

    name: str
    direction: Direction
    meaning: str
    asked_for: bool = True


_LOSS = "what training minimises, the penalties `l1` and `l2` included"

METRICS: dict[Task, tuple[Metric, ...]] = {
    "classification": (
        Metric("loss", "min", f"{_LOSS}: cross-entropy", asked_for=False),
        Metric("accuracy", "max", "the share of rows whose class is right", asked_for=False),
        Metric("cross_entropy", "min", "the loss without penalties: how improbable the right classes were thought"),
        Metric("top_5_accuracy", "max", "the share of rows whose class is among the five most probable"),
        Metric("precision", "max", "the share of rows of a predicted class that are of it: of the second of two "
               "classes, the mean of more"),
        Metric("recall", "max", "the share of a class's rows that are found, likewise"),
        Metric("f1_score", "max", "the harmonic mean of precision and recall, likewise"),
        Metric("auc", "max", "the area under the ROC curve: of the second of two classes, the mean of more, each "
               "against the rest"),
    ),
    "regression": (
        Metric("loss", "min", f"{_LOSS}: mean squared error of standardised targets", asked_for=False),
        Metric("mae", "min", "mean absolute error, in the target's unit", asked_for=False),
        Metric("rmse", "min", "root of the mean squared error, in the target's unit", asked_for=False),
        Metric("r2", "max", "the share of the variance that is explained"),
        Metric("mape", "min", "mean absolute error in percent of the target"),
    ),
}  # fmt: skip

TASKS: tuple[Task, ...] = ("classification", "regression")


def logged_directions(task: Task) -> dict[str, Direction]:
    """Everything that a built-in model of a task can log, with its direction."""
    return {prefix + metric.name: metric.direction for metric in METRICS.get(task, ()) for prefix in ("", "val_")}


def askable_metrics(task: Task) -> tuple[str, ...]:
    """The metrics of a task that are logged only where something names them."""
    return tuple(metric.name for metric in METRICS.get(task, ()) if metric.asked_for)
