"""Checks of what depends on the task: classification or regression, stated or that of a built-in data set."""

from collections.abc import Iterator

from job.spec.drafts import Check, Finding, check
from job.spec.fields import listed, nearest
from job.spec.metrics import direction_of
from job.spec.model import JobSpec
from job.spec.objectives import known_task, metric_names, possible_metrics
from job.spec.paths import Path
from job.spec.sections import Objective
from job.target import Task


@check("search.objective", "model.builder", "data.source", "data.task")
def objective_exists(spec: JobSpec) -> Iterator[Finding]:
    """The objective is a metric that the task can log, and its direction is that metric's."""
    objective, task = spec.search.objective, known_task(spec.data)
    if objective == "auto":
        return
    if spec.built_in is None:
        # What a model of the user's own logs is found out before the search; which way is better is not.
        if isinstance(objective, str) and direction_of(objective) is None:
            message = "expected {name, direction}: whether more or less is better is known of Keras's own metrics alone"
            yield Finding(("search", "objective"), message)
        return
    if isinstance(objective, tuple):
        for number, term in enumerate(objective):
            yield from _metric_exists(term, ("search", "objective", number), task, spec)
            if term.name in {other.name for other in objective[:number]}:
                path = ("search", "objective", number, "name")
                yield Finding(path, f"expected each metric once: {term.name} stands in the sum already")
    else:
        yield from _metric_exists(objective, ("search", "objective"), task, spec)


def _metric_exists(objective: str | Objective, path: Path, task: Task | None, spec: JobSpec) -> Iterator[Finding]:
    name = objective.name if isinstance(objective, Objective) else objective
    known = possible_metrics(task)
    if name not in known:
        where = (*path, "name") if isinstance(objective, Objective) else path
        yield Finding(where, f"expected {_of_task(task, spec)}: {_choice(name, known)}")
    elif isinstance(objective, Objective) and objective.direction != direction_of(name):
        yield Finding((*path, "direction"), f"expected {direction_of(name)} for {name}")


@check("training.metrics", "model.builder", "data.source", "data.task")
def metrics_exist(spec: JobSpec) -> Iterator[Finding]:
    """What is to be logged is a metric that the task can log."""
    if spec.built_in is None:
        if spec.training.metrics:
            yield Finding(("training", "metrics"), "not with a model of your own: it is compiled with its metrics")
        return
    task = known_task(spec.data)
    known = metric_names(task)
    for index, name in enumerate(spec.training.metrics):
        if name not in known:
            yield Finding(("training", "metrics", index), f"expected {_of_task(task, spec)}: {_choice(name, known)}")


def _of_task(task: Task | None, spec: JobSpec) -> str:
    what = "classification or regression" if task is None else task
    return f"a metric of a {what} by builder {spec.model.builder}"


def _choice(name: str, known: tuple[str, ...]) -> str:
    close = nearest(name, known)
    return listed(known, "or") + (f"; did you mean {close}?" if close else "")


@check("training.class_weight", "data.source", "data.task")
def class_weights_have_classes(spec: JobSpec) -> Iterator[Finding]:
    """A regression has no classes to weigh."""
    if spec.training.class_weight != "none" and known_task(spec.data) == "regression":
        yield Finding(("training", "class_weight"), "expected none: a regression has no classes", shows_value=False)


@check("data.split", "data.source", "data.task")
def strata_have_classes(spec: JobSpec) -> Iterator[Finding]:
    """A regression has no classes to draw in proportion."""
    if spec.data.split == "stratified" and known_task(spec.data) == "regression":
        yield Finding(("data", "split"), "expected auto or random: a regression has no classes")


TASK_CHECKS: tuple[Check, ...] = (objective_exists, metrics_exist, class_weights_have_classes, strata_have_classes)
