"""What a job would do, worked out from its spec alone: no training, no data, no store."""

from dataclasses import dataclass
from typing import Any

from job.disk_needs import DiskNeeds, disk_needs, known_shape
from job.layout import (
    FAILURE,
    RUN_ENTRIES,
    SENSITIVITY,
    SENSITIVITY_FOLDER,
    TENSORBOARD_FOLDER,
    RunLayout,
    latest_key,
)
from job.resources import Resources, available_resources
from job.schedule import Bracket, Schedule
from job.slots import slot_count
from job.spaces import AnyEntry, Scalar, space_size
from job.spec import JobSpec
from job.spec.objectives import known_objective

UNKNOWN_RUN_ID = "<made at start>"


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole of a job before it starts.

    Attributes:
        schedule: None for a grid over a space that only code knows.
        space: the entries that are searched, in the order in which they are sampled.
        constants: the builder's hyperparameters that are not searched.
        is_in_code: whether the space is declared in code of the user's own, which is not run here: `space` then holds
            what the spec says of it.
        points: the number of distinct configurations of the space; None if an entry is continuous, or it is in code.
        trials_at_a_time: on the machine that the plan was made on.
        disk: scratch space that the run will need, as far as that is known before the data is read.
        written: URL and meaning of every object that the run will leave.
        warnings: what the user may not have meant.
    """

    spec: JobSpec
    run_id: str
    schedule: Schedule | None
    space: dict[str, AnyEntry]
    constants: dict[str, Scalar]
    is_in_code: bool
    points: int | None
    trials_at_a_time: int
    disk: DiskNeeds
    written: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def make_plan(spec: JobSpec, run_id: str | None = None, resources: Resources | None = None) -> Plan:
    """Work the plan out.

    Args:
        spec: what to do.
        run_id: None means that the run gets its id when it starts.
        resources: what there is to run on; None for this machine.
    """
    schedule = spec.planned() if spec.can_plan else None
    builder = spec.built_in
    space = dict(spec.space) if builder is None else builder.resolve(spec.space)
    points = None if builder is None else space_size(space)
    constants = {} if builder is None else builder.constants()
    trials_at_a_time = slot_count(spec, resources or available_resources())
    return Plan(
        spec=spec,
        run_id=run_id or UNKNOWN_RUN_ID,
        schedule=schedule,
        space=space,
        constants={name: value for name, value in constants.items() if name not in space},
        is_in_code=builder is None,
        points=points,
        trials_at_a_time=trials_at_a_time,
        disk=disk_needs(spec, trials_at_a_time, known_shape(spec)),
        written=tuple(_written(spec, run_id or UNKNOWN_RUN_ID)),
        warnings=tuple(_warnings(spec, schedule, points)),
    )


def _written(spec: JobSpec, run_id: str) -> list[tuple[str, str]]:
    root = spec.output.rstrip("/") + "/"
    run = RunLayout(spec.name, run_id)
    skipped = [FAILURE]
    skipped += [] if spec.logs.tensorboard else [TENSORBOARD_FOLDER]
    skipped += [] if spec.search.sensitivity else [SENSITIVITY, SENSITIVITY_FOLDER]
    # A folder stands for all that is in it.
    entries = [(root + run.key(one.key), one.meaning) for one in RUN_ENTRIES if not one.key.startswith(tuple(skipped))]
    pointer = (root + latest_key(spec.name), "points to the newest published run")
    return [*entries, pointer]


def _warnings(spec: JobSpec, schedule: Schedule | None, points: int | None) -> list[str]:
    warnings = []
    if schedule is not None and points is not None and points < schedule.configurations:
        what_follows = (
            "rungs will run fewer trials than planned"
            if spec.search.algorithm == "hyperband"
            else "the search ends when each was tried"
        )
        warnings.append(
            f"the space has {points} points, fewer than the {schedule.configurations} configurations that the schedule "
            f"starts: {what_follows}"
        )
    wanted, useful = spec.limits.max_concurrent_trials, spec.search.lag + 1
    if spec.search.algorithm == "bayesian" and wanted != "auto" and wanted > useful:
        warnings.append(
            f"limits.max_concurrent_trials is {wanted}, but with a search.lag of {spec.search.lag} no more than "
            f"{useful} trials run at a time"
        )
    return warnings


def brackets_of(schedule: Schedule | None) -> list[Bracket]:
    """The first iteration's, without what a limit cuts off."""
    if schedule is None:
        return []
    return [bracket for iteration, bracket in schedule.runs() if iteration == 0]


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON values."""
    schedule = plan.schedule
    return {
        "name": plan.spec.name,
        "run_id": None if plan.run_id == UNKNOWN_RUN_ID else plan.run_id,
        "search": {
            "algorithm": plan.spec.search.algorithm,
            "objective": _objective_document(plan.spec),
            "iterations": None if schedule is None else schedule.iterations,
            "brackets": [
                {
                    "bracket": bracket.number,
                    "rungs": [
                        {"trials": rung.size, "from_epoch": rung.from_epoch, "to_epoch": rung.to_epoch}
                        for rung in bracket.rungs
                    ],
                }
                for bracket in brackets_of(schedule)
            ],
            "configurations": None if schedule is None else schedule.configurations,
            "trials": None if schedule is None else schedule.trials,
            "epochs": None if schedule is None else schedule.epochs,
            "trials_at_a_time": plan.trials_at_a_time,
        },
        "space": {
            "points": plan.points,
            "declared_in": plan.spec.model.source,
            "entries": {name: entry.model_dump(mode="json") for name, entry in plan.space.items()},
            "constants": plan.constants,
        },
        "scratch_bytes": {"data": plan.disk.data, "checkpoints": plan.disk.checkpoints, "total": plan.disk.total},
        "written": dict(plan.written),
        "warnings": list(plan.warnings),
    }


def _objective_document(spec: JobSpec) -> dict[str, str | None]:
    objective = known_objective(spec.data, spec.search, built_in=spec.built_in is not None)
    return {"name": str(spec.search.objective), "direction": None} if objective is None else objective.model_dump()
