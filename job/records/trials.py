"""Trials, and the search that they make up."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from job.records.record import Direction, FailureKind, Hyperparameters, Record
from job.redaction import Told


class Execution(Record):
    """One training of a trial's hyperparameters: `epochs[k]` holds the metrics of epoch `from_epoch + k`.

    `index` says with which of the configuration's seeds, `fold` which of the data's folds it was scored on; both from
    0. A lineage that has stopped early has fewer epochs, or none.
    """

    index: int = 0
    fold: int | None = None
    epochs: tuple[dict[str, float], ...]


class TrialRecord(Record):
    """One finished trial, written once.

    A trial is the stretch of epochs that one rung gives to a configuration. `trial_id` is its address:
    iteration, bracket, index within the bracket's first rung, and rung. The stored object has one more field,
    `checksum`: the hex SHA-256 of all others as canonical JSON (see `job.sealing`).

    Attributes:
        parent: the trial of the rung below that this one continues; None in a first rung.
        from_epoch, to_epoch: epochs completed before and after (0 to 2, then 2 to 4, …).
        score: the best objective over all epochs of the lineage so far; None where there is none. Of several
            executions the mean of their scores, each the best of its own lineage.
        deviation: of several executions' scores: the sample standard deviation.
        best_epoch: the number (from 1) of the epoch that the score was reached at; of several executions the mean,
            rounded.
        failure: how a failed trial failed: `given_up` where the user's code has raised KerasTuner's `FailedTrialError`,
            which is not tried again, `killed` where somebody has killed the worker; `error` is its text.
        attempts: how often the trial was started, retries included.
        seconds: wall-clock time of the successful attempt, or of the last one.
        token: the lease's fencing token when the record was written.
        provenance: of the run that it belongs to (see `job.sealing`); None in records of earlier versions.
    """

    schema_version: Literal[1] = 1
    trial_id: str
    hyperparameters: Hyperparameters
    iteration: int
    bracket: int
    index: int
    rung: int
    parent: str | None
    from_epoch: int
    to_epoch: int
    status: Literal["completed", "failed"]
    score: float | None
    deviation: float | None = None
    best_epoch: int | None
    executions: tuple[Execution, ...]
    failure: FailureKind | None = None
    error: Told | None = None
    attempts: int = 1
    seconds: float
    worker: str
    token: int = 0
    provenance: str | None = None


# What a request, an attempt's marker and a record all say of a trial.
_IDENTITY = (
    "trial_id",
    "hyperparameters",
    "iteration",
    "bracket",
    "index",
    "rung",
    "parent",
    "from_epoch",
    "to_epoch",
)


def trial_identity(of: object) -> dict[str, Any]:
    """Which trial it is, as the fields of a record; `of` is a request or an attempt's marker."""
    return {name: getattr(of, name) for name in _IDENTITY}


def lost_trial(  # noqa: PLR0913 - the circumstances of a record
    of: object, failure: FailureKind, error: str, *, seconds: float = 0.0, worker: str = "", attempts: int = 1
) -> TrialRecord:
    """The record of a trial that nobody lived to write one of; `of` is its request or its attempt's marker."""
    return TrialRecord(
        **trial_identity(of),
        status="failed",
        score=None,
        best_epoch=None,
        executions=(),
        failure=failure,
        error=error,
        attempts=attempts,
        seconds=seconds,
        worker=worker,
    )


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What an executor is asked for: train a lineage from one epoch to another.

    `seed` is the lineage's: weight initialisation, epoch order and dropout derive from it, in every rung.
    """

    trial_id: str
    hyperparameters: Hyperparameters
    iteration: int
    bracket: int
    index: int
    rung: int
    parent: str | None
    from_epoch: int
    to_epoch: int
    seed: int


class RungShortfall(Record):
    """A rung that ran fewer trials than planned, and why."""

    iteration: int
    bracket: int
    rung: int
    planned: int
    actual: int
    reason: str


class SearchTotals(Record):
    """What was searched, and planned and actual size; epochs count continued training once."""

    algorithm: str
    objective: str
    direction: Direction
    planned_trials: int
    planned_epochs: int
    trials: int
    failed_trials: int
    epochs: int
    stopped_by: str | None = None
    shortfalls: tuple[RungShortfall, ...] = ()


class SearchResult(Record):
    """The outcome of a search. `best` is one of `trials`, which are in address order."""

    best: TrialRecord
    trials: tuple[TrialRecord, ...]
    totals: SearchTotals


def best_first(trials: Iterable[TrialRecord], direction: Direction) -> list[TrialRecord]:
    """Completed trials by score, the best first; ties keep their order."""
    sign = -1.0 if direction == "max" else 1.0
    scored = [(record.score, record) for record in trials if record.score is not None]
    return [record for _, record in sorted(scored, key=lambda pair: sign * pair[0])]


def hyperparameters_of(values: dict[str, Any]) -> Hyperparameters:
    """The user's own hyperparameters: KerasTuner's `tuner/…` bookkeeping removed."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}
