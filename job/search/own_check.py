"""Trying the user's own model before the search: in a process of its own, on one batch.

What is wrong with it is told by its own file and line, before any trial is started; and its space is found out.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from job.logs import get_logger
from job.own_code import run_contained
from job.search.checked_model import CheckedModel, Samples, is_stated, learns_numbers
from job.search.trial_plan import TrialPlan
from job.spec.objectives import objective_of
from job.spec.sections import Objective
from job.target import Target
from job.training.fork_server import end_fork_server, worker_context

if TYPE_CHECKING:
    from job.data import Dataset
    from job.export.reader import Reader

# However long a trial may take: importing TensorFlow, and compiling a large model once.
_PATIENCE_SECONDS = 900.0
# What the number is called that a `fit` of the user's own returns, as KerasTuner calls it.
RETURNED = "default_objective"


def checked_plan(plan: TrialPlan, dataset: "Dataset") -> "tuple[TrialPlan, Dataset]":
    """The plan with the space that the user's code declares; it has built, trained, scored and saved models.

    Args:
        plan: of a model of the user's own.
        dataset: what it is trained on; its test rows are not looked at.

    Returns:
        The plan, and the data set, whose task follows the model where the targets alone left it open.

    Raises:
        ModelCodeError: the code does not work, by the user's own file and line.
        SpecError: the spec's `space` does not fit what the code declares.
    """
    if plan.code is None:
        return plan, dataset
    from job.export.reader import open_reader  # noqa: PLC0415 - it imports Keras, which is configured by now

    timeout = plan.spec.limits.trial_timeout
    patience = max(_PATIENCE_SECONDS, 0.0 if timeout is None else timeout.total_seconds())
    with tempfile.TemporaryDirectory() as folder, open_reader(Path(folder) / "models", plan.code) as reader:
        checked = run_contained(
            worker_context(),
            plan.code,
            _check_model,
            plan,
            Samples.of(dataset),
            reader,
            patience=patience,
            level=plan.spec.logs.level,
        )
    if plan.spec.resources.executor == "inline":
        end_fork_server()
    get_logger().info(
        "model checked",
        model=plan.code.shown,
        sha256=plan.code.sha256,
        space=dict(checked.entries),
        parameters=checked.parameters,
        needs_code=checked.needs_code,
    )
    return _decided(replace(plan, space=checked.space), dataset, checked)


def _decided(plan: TrialPlan, dataset: "Dataset", checked: CheckedModel) -> "tuple[TrialPlan, Dataset]":
    """What the model says of its task and its objective."""
    target = _followed(plan, dataset, checked)
    if target is not None:
        reason = "a loss of numbers" if target.task == "regression" else "a loss of classes"
        get_logger().info("task taken from the model", task=target.task, reason=f"it has {reason}")
        note = f"the targets are for a {target.task} all the same: the model has {reason} (data.task)"
        dataset = replace(dataset, target=target, notes=(*dataset.notes, note))
        plan = replace(plan, target=target)
    if plan.spec.search.objective == "auto":
        objective = objective_of(plan.spec.search, plan.target, built_in=False)
        if target is not None and objective.name not in checked.logged:
            objective = Objective(name="val_loss", direction="min")
        if checked.returns_number:
            objective = Objective(name=RETURNED, direction="min")
            get_logger().info("the number that fit returns is the objective; less of it is better")
        plan = replace(plan, objective=objective.name, direction=objective.direction)
    return plan, dataset


def _followed(plan: TrialPlan, dataset: "Dataset", checked: CheckedModel) -> Target | None:
    """The target as the model takes it; None where it is as it was guessed, or as the spec says it.

    Whole numbers may be classes as well as ratings, few or many of them: unless the spec says it, the model does.
    """
    from job.data.targets import numbered_classes, with_scale  # noqa: PLC0415 - with it comes NumPy

    if is_stated(plan):
        return None
    if learns_numbers(plan, checked.answers):
        return with_scale(Target("regression"), dataset.train.y.reshape(-1).astype("float32"))
    if checked.answers == "classes" and plan.target.task == "regression":
        return numbered_classes(dataset.train_and_validation.y, dataset.test.y)
    return None


def _check_model(report: Callable[[str], None], plan: TrialPlan, samples: Samples, reader: "Reader") -> CheckedModel:
    """Run in the other process alone, which has imported TensorFlow."""
    from job.search.own_trying import check_model  # noqa: PLC0415 - see above

    return check_model(report, plan, samples, reader)
