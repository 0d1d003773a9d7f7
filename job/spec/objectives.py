"""What decides between trials: the objective by task, with its direction, and the metrics that are logged for it."""

from collections.abc import Iterable

from job.spec.datasets import DATASETS
from job.spec.metrics import METRICS, TASKS, askable_metrics, direction_of, logged_metrics
from job.spec.sections import COMPOSITE, DataSpec, Objective, SearchSpec, TrainingSpec
from job.target import Target, Task

# Of a regression not the loss: that includes the penalties, and the least penalty would win.
_AUTO: dict[Task, str] = {"classification": "val_accuracy", "regression": "val_rmse"}
_VALIDATION = "val_"


def objective_of(search: SearchSpec, target: Target, *, built_in: bool = True) -> Objective:
    """The objective with its direction.

    Args:
        search: the spec's section; `auto` goes by the task.
        target: what is predicted.
        built_in: whether the model is a built-in one, whose metrics are known.

    Raises:
        LookupError: it is not known which way the metric is better, and the spec does not say.
    """
    if isinstance(search.objective, tuple):
        return Objective(name=COMPOSITE, direction="min")
    if isinstance(search.objective, Objective):
        return search.objective
    name = search.objective
    if name == "auto":
        name = _AUTO.get(target.task, "val_loss")
        name = "val_loss" if target.task == "regression" and not built_in else name
    direction = direction_of(name)
    if direction is None:
        raise LookupError(f"it is not known which way {name} is better")
    return Objective(name=name, direction=direction)


def known_task(data: DataSpec) -> Task | None:
    """The task, as far as the spec tells it: stated, or that of a built-in data set; None where the targets will."""
    if data.task != "auto":
        return data.task
    dataset = DATASETS.get(data.source)
    return None if dataset is None else dataset.task


def known_objective(data: DataSpec, search: SearchSpec, *, built_in: bool = True) -> Objective | None:
    """The objective, as far as the spec tells it; None for `auto` where only the targets will tell the task."""
    if isinstance(search.objective, Objective):
        return search.objective
    if isinstance(search.objective, tuple):
        return Objective(name=COMPOSITE, direction="min")
    task = known_task(data)
    if task is None:
        if search.objective == "auto":
            return None
        # By name alone: any task will do.
        task = TASKS[0]
    return objective_of(search, Target(task), built_in=built_in)


def possible_objectives(search: SearchSpec, *, built_in: bool = True) -> dict[Task, Objective]:
    """The objective by task, where the task is not known."""
    return {task: objective_of(search, Target(task), built_in=built_in) for task in TASKS}


def deciding_metrics(search: SearchSpec, objective: Objective) -> tuple[str, ...]:
    """The metrics that the objective is made of: itself, or those of a weighted sum."""
    return tuple(term.name for term in search.objective_terms) or (objective.name,)


def asked_metrics(training: TrainingSpec, deciding: Iterable[str], task: Task) -> tuple[str, ...]:
    """The metrics to log besides those that the task always has: asked for, or deciding."""
    askable = askable_metrics(task)
    wanted = dict.fromkeys([*training.metrics, *(name.removeprefix(_VALIDATION) for name in deciding)])
    return tuple(name for name in wanted if name in askable)


def possible_metrics(task: Task | None) -> tuple[str, ...]:
    """What an objective of a built-in model may be for a task; for any of them where it is not known."""
    return tuple(dict.fromkeys(name for one in (TASKS if task is None else (task,)) for name in logged_metrics(one)))


def metric_names(task: Task | None) -> tuple[str, ...]:
    """What `training.metrics` may hold for a task; for any of them where it is not known."""
    return tuple(dict.fromkeys(m.name for one in (TASKS if task is None else (task,)) for m in METRICS[one]))
