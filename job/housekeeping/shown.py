"""What the housekeeping commands print: tables for people, plain JSON values for programs."""

from datetime import UTC, datetime
from typing import Any

from job.housekeeping.overview import Overview, RunOverview
from job.housekeeping.pruning import Pruning
from job.housekeeping.retention import Decision
from job.housekeeping.verification import Verification
from job.plan import Table
from job.report.summary import show_value
from job.strict_json import strict_json

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
# From here on a size would be shown as 1024.0 of its unit.
_NEXT_UNIT = 1023.95


def overview_table(overview: Overview) -> Table:
    """All runs, the newest first."""
    columns = ("name", "run id", "state", "start", "end", "trials", "best score", "test scores", "size")
    rows = tuple(_overview_row(run) for run in overview.runs)
    return Table(title=f"Runs in {overview.url}", columns=columns, rows=rows)


def _overview_row(run: RunOverview) -> tuple[str, ...]:
    test = "-" if run.scores is None else _scores(run.scores.test)
    return (
        run.name,
        run.run_id,
        state_in_words(run),
        _moment(run.started_at),
        _moment(run.ended_at),
        str(run.trials),
        show_value(run.best_score),
        test,
        show_size(run.size),
    )


def _scores(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {show_value(value)}" for name, value in scores.items()) or "-"


def state_in_words(run: RunOverview) -> str:
    """The condition, with what points to the run."""
    marks = [word for word, is_marked in (("newest", run.is_newest), ("champion", run.is_champion)) if is_marked]
    return f"{run.condition} ({', '.join(marks)})" if marks else run.condition


def overview_warnings(overview: Overview) -> tuple[str, ...]:
    """One line for each object that is not what it should be."""
    of_runs = (f"{run.name}, run {run.run_id}: {problem}" for run in overview.runs for problem in run.problems)
    return (*overview.problems, *of_runs)


def overview_document(overview: Overview) -> dict[str, Any]:
    """The same as plain JSON values; times in ISO 8601, sizes in bytes."""
    runs = [
        {
            "name": run.name,
            "run_id": run.run_id,
            "url": f"{overview.url}/{run.folder.prefix}".rstrip("/"),
            "state": run.condition,
            "newest": run.is_newest,
            "champion": run.is_champion,
            "started_at": _iso(run.started_at),
            "ended_at": _iso(run.ended_at),
            "last_seen_at": _iso(run.seen_at),
            "trials": run.trials,
            "objective": run.objective,
            "best_score": run.best_score,
            "scores": None if run.scores is None else run.scores.model_dump(),
            "size": run.size,
            "objects": len(run.folder.sizes),
            "problems": run.problems,
        }
        for run in overview.runs
    ]
    return _document({"url": overview.url, "runs": runs, "problems": overview.problems})


def verification_table(verification: Verification) -> Table | None:
    """Problems, then notes; None where there is neither."""
    rows = (
        *(("problem", finding.key, finding.text) for finding in verification.problems),
        *(("note", finding.key, finding.text) for finding in verification.notes),
    )
    title = f"Findings in {verification.url}"
    return Table(title=title, columns=("kind", "object", "finding"), rows=rows) if rows else None


def verification_line(verification: Verification) -> str:
    """The verdict."""
    stated = f"{verification.artifacts} artifacts, {show_size(verification.size)}"
    if not verification.problems:
        return f"{verification.url}: {stated}, all as the manifest states"
    return f"{verification.url}: {stated} stated by the manifest, {_counted(len(verification.problems), 'problem')}"


def verification_document(verification: Verification) -> dict[str, Any]:
    """The same as plain JSON values."""
    return {
        "url": verification.url,
        "run_id": verification.run_id,
        "sound": not verification.problems,
        "artifacts": verification.artifacts,
        "size": verification.size,
        "problems": [{"object": one.key, "finding": one.text} for one in verification.problems],
        "notes": [{"object": one.key, "finding": one.text} for one in verification.notes],
    }


def pruning_table(pruning: Pruning) -> Table:
    """Every run, what becomes of it, and why."""
    rows = tuple(
        (
            decision.run.run_id,
            state_in_words(decision.run),
            _moment(decision.run.seen_at),
            show_size(decision.run.size),
            _action(pruning, decision),
            decision.reason,
        )
        for decision in pruning.decisions
    )
    columns = ("run id", "state", "last sign of life", "size", "action", "reason")
    return Table(title=f"Runs in {pruning.url}", columns=columns, rows=rows)


def pruning_line(pruning: Pruning) -> str:
    """The sum."""
    number = sum(decision.goes for decision in pruning.decisions)
    done = "deleted" if pruning.is_done else "would delete"
    return f"{done} {_counted(number, 'run')}, {show_size(pruning.size)}"


def pruning_document(pruning: Pruning) -> dict[str, Any]:
    """The same as plain JSON values; `action` is `delete` or `keep`."""
    return {
        "url": pruning.url,
        "keep": pruning.keep,
        "dry_run": not pruning.is_done,
        "deleted_size": pruning.size,
        "runs": [
            {
                "run_id": decision.run.run_id,
                "state": decision.run.condition,
                "last_seen_at": _iso(decision.run.seen_at),
                "size": decision.run.size,
                "objects": len(decision.run.folder.sizes),
                "action": "delete" if decision.goes else "keep",
                "reason": decision.reason,
            }
            for decision in pruning.decisions
        ],
    }


def _action(pruning: Pruning, decision: Decision) -> str:
    if not decision.goes:
        return "kept"
    return "deleted" if pruning.is_done else "would go"


def show_size(size: int) -> str:
    """Bytes as people read them: `1.5 MiB`."""
    scaled, unit = float(size), _UNITS[0]
    for larger in _UNITS[1:]:
        if scaled < _NEXT_UNIT:
            break
        scaled, unit = scaled / 1024, larger
    return f"{size} B" if unit == "B" else f"{scaled:.1f} {unit}"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _document(values: dict[str, Any]) -> dict[str, Any]:
    """Scores may be NaN, which JSON has no number for."""
    return {key: strict_json(value) for key, value in values.items()}
