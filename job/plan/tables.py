"""A plan as tables of text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from job.disk import size_in_words
from job.disk_needs import DiskNeeds
from job.plan.plan import Plan, brackets_of
from job.redaction import redact_text
from job.schedule import Schedule
from job.spaces import AnyEntry, BooleanEntry, ChoiceEntry, FixedEntry
from job.spec import JobSpec
from job.spec.code import installed_function
from job.spec.datasets import DATASETS
from job.spec.objectives import known_objective, possible_objectives
from job.spec.quantities import format_duration

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
    return f"hyperband, {len(brackets_of(schedule))} brackets{times}"


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
        for bracket in brackets_of(schedule)
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
