"""What a job would do, worked out from its spec alone: no training, no data, no store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from job.disk import size_in_words
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
from job.spaces import AnyEntry, BooleanEntry, ChoiceEntry, FixedEntry, Scalar, space_size
from job.spec import JobSpec
from job.spec.code import installed_function
from job.spec.datasets import DATASETS
from job.spec.objectives import known_objective, possible_objectives
from job.spec.quantities import format_duration
from job.spec.redaction import redact_text

UNKNOWN_RUN_ID = "<made at start>"

_SHOWN_VALUES = 8


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title and column headings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric_columns(self) -> tuple[bool, ...]:
        """Which columns hold nothing but numbers, to be aligned to the right."""
        return tuple(all(row[index].isdigit() for row in self.rows) for index in range(len(self.columns)))


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


def _brackets(schedule: Schedule | None) -> list[Bracket]:
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
                for bracket in _brackets(schedule)
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


def plan_tables(plan: Plan) -> tuple[Table, ...]:
    """The plan as a person reads it."""
    return (_overview(plan), _search_table(plan.schedule), _space_table(plan), _written_table(plan))


def tables_as_text(tables: Sequence[Table]) -> str:
    """Tables as aligned plain text, for logs and files."""
    return "\n\n".join(_table_as_text(table) for table in tables)


def _table_as_text(table: Table) -> str:
    lines = (table.columns, *table.rows)
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns))]
    text = [table.title]
    for line in lines:
        cells = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, table.numeric_columns, strict=True)
        ]
        text.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(text)


def _overview(plan: Plan) -> Table:
    spec, schedule = plan.spec, plan.schedule
    dataset = DATASETS.get(spec.data.source)
    what = f", {dataset.classes} classes" if dataset and dataset.classes else ""
    data = f" ({dataset.meaning}; {dataset.rows} rows{what})" if dataset else ""
    limits = [
        f"{name} {format_duration(limit)}"
        for name, limit in (("whole search", spec.limits.timeout), ("one trial", spec.limits.trial_timeout))
        if limit is not None
    ]
    epochs = "the best trial's epochs" if spec.retrain.epochs == "auto" else f"{spec.retrain.epochs} epochs"
    stop = [
        *([] if spec.stop.target is None else [f"at a score of {spec.stop.target:g}"]),
        *(
            []
            if spec.stop.no_improvement is None
            else [f"after {spec.stop.no_improvement} trials without a better score"]
        ),
    ]
    seeds = "" if spec.retrain.seeds == 1 else f", {spec.retrain.seeds} seeds"
    rows = [
        ("name", spec.name),
        ("run id", plan.run_id),
        ("data", f"{spec.data.source}{data}"),
        ("model", _model_in_words(spec)),
        ("objective", _objective_in_words(spec)),
        ("search", _search_in_words(spec, schedule)),
        *_counts_in_words(plan),
        *((("sensitivity", "each hyperparameter varied around the best"),) if spec.search.sensitivity else ()),
        ("scratch disk", _disk_in_words(plan.disk)),
        *((("time limits", ", ".join(limits)),) if limits else ()),
        *((("stops early", " or ".join(stop)),) if stop else ()),
        ("retrain", f"on {spec.retrain.on}, {epochs}{seeds}"),
    ]
    return Table("Plan", ("what", "value"), tuple(rows))


def _model_in_words(spec: JobSpec) -> str:
    if spec.built_in is not None:
        return spec.built_in.name
    source = redact_text(str(spec.model.source))
    return source if installed_function(source) is not None else f"{spec.model.function} of {source}"


def _counts_in_words(plan: Plan) -> tuple[tuple[str, str], ...]:
    schedule = plan.schedule
    if schedule is None:
        every = "every point of the space, which the model's code declares"
        return (("trials", f"{every}; {plan.trials_at_a_time} at a time"),)
    points = "the space that the model's code declares" if plan.is_in_code else _points_in_words(plan.points)
    cut = f" (limits.max_total_trials of {replace(schedule, max_trials=None).trials})" if schedule.is_cut else ""
    return (
        ("configurations", f"{schedule.configurations} of {points}"),
        ("trials", f"{schedule.trials}{cut}, {plan.trials_at_a_time} at a time"),
        *((("trainings", _trainings_in_words(plan.spec)),) if schedule.executions > 1 else ()),
        ("epochs", str(schedule.epochs)),
    )


def _trainings_in_words(spec: JobSpec) -> str:
    """How often each configuration is trained."""
    parts = ((spec.search.executions_per_trial, "seeds"), (spec.data.folds or 1, "folds"))
    return "each trial trains " + " on ".join(f"{count} {what}" for count, what in parts if count > 1)


def _objective_document(spec: JobSpec) -> dict[str, str | None]:
    objective = known_objective(spec.data, spec.search, built_in=spec.built_in is not None)
    return {"name": str(spec.search.objective), "direction": None} if objective is None else objective.model_dump()


def _objective_in_words(spec: JobSpec) -> str:
    terms = spec.search.objective_terms
    if terms:
        signed = [
            f"{'+' if term.direction == 'min' else '-'} {'' if term.weight == 1 else f'{term.weight:g} '}{term.name}"
            for term in terms
        ]
        return f"{' '.join(signed).removeprefix('+ ')} (min)"
    built_in = spec.built_in is not None
    objective = known_objective(spec.data, spec.search, built_in=built_in)
    if objective is not None:
        return f"{objective.name} ({objective.direction})"
    by_task = possible_objectives(spec.search, built_in=built_in)
    return f"{' or '.join(f'{one.name} of a {task}' for task, one in by_task.items())}: the targets tell"


def _disk_in_words(disk: DiskNeeds) -> str:
    parts = (("data", disk.data), ("checkpoints", disk.checkpoints))
    known = ", ".join(f"{name} {size_in_words(size)}" for name, size in parts if size is not None)
    unknown = " and ".join(name for name, size in parts if size is None)
    if disk.total is not None:
        return f"about {size_in_words(disk.total)} ({known})"
    return "; ".join(part for part in (f"about {known}" if known else "", f"{unknown}: known at the start") if part)


def _search_in_words(spec: JobSpec, schedule: Schedule | None) -> str:
    if spec.search.algorithm != "hyperband" or schedule is None:
        return f"{spec.search.algorithm}, {spec.search.max_epochs} epochs each"
    times = "" if schedule.iterations == 1 else f", {schedule.iterations} times"
    return f"hyperband, {len(_brackets(schedule))} brackets{times}"


def _points_in_words(points: int | None) -> str:
    return "a continuous space" if points is None else f"a space of {points}"


def _search_table(schedule: Schedule | None) -> Table:
    executions = 1 if schedule is None else schedule.executions
    rows = [
        (
            str(bracket.number),
            str(number),
            str(rung.size),
            f"{rung.from_epoch} to {rung.to_epoch}",
            str(executions * rung.epochs),
        )
        for bracket in _brackets(schedule)
        for number, rung in enumerate(bracket.rungs)
    ]
    return Table("Search", ("bracket", "rung", "trials", "epochs each", "epochs in all"), tuple(rows))


def _space_table(plan: Plan) -> Table:
    searched = [(name, entry.type, values_in_words(entry)) for name, entry in plan.space.items()]
    constants = [(name, "constant", str(value)) for name, value in plan.constants.items()]
    title = (
        f"Space (declared in {redact_text(str(plan.spec.model.source))}; the spec narrows it)"
        if plan.is_in_code
        else "Space"
    )
    return Table(title, ("hyperparameter", "type", "values"), (*searched, *constants))


def _written_table(plan: Plan) -> Table:
    return Table("Written", ("object", "meaning"), plan.written)


def values_in_words(entry: AnyEntry) -> str:
    """What an entry can take: `32 to 512, step 32`."""
    match entry:
        case FixedEntry():
            text = str(entry.value)
        case BooleanEntry():
            text = "false, true"
        case ChoiceEntry():
            more = ", …" if len(entry.values) > _SHOWN_VALUES else ""
            text = ", ".join(str(value) for value in entry.values[:_SHOWN_VALUES]) + more
        case _:
            step = "" if entry.step is None else f", step {entry.step}"
            sampling = "" if entry.sampling == "linear" else f", {entry.sampling}"
            text = f"{entry.min_value} to {entry.max_value}{step}{sampling}"
    if entry.parent_name is None:
        return text
    parents = ", ".join(str(value) for value in entry.parent_values or ())
    return f"{text}; with {entry.parent_name} {parents}"
