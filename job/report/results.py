"""`tuning-job results`: the best trials of a run, read from the store, published or not."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from job.errors import DataError, JobError, ObjectNotFoundError
from job.layout import LATEST, MANIFEST, MODEL_KERAS, RUNS_FOLDER, SPEC, TRIALS_FOLDER, TRIALS_TABLE
from job.records import Direction, Manifest, Pointer, TrialRecord, best_first
from job.report.summary import show_value, trial_row
from job.spec import DataSpec, SearchSpec
from job.spec.metrics import direction_of
from job.spec.objectives import known_objective
from job.store import ObjectStore, open_store

if TYPE_CHECKING:
    from rich.console import Console

# Each read waits for the network.
_READERS = 8
_HEADER = ("trial", "score", "best epoch", "epochs", "hyperparameters")


@dataclass(frozen=True, slots=True)
class RunResults:
    """What a run's objects say. `manifest` is None while it is not published; `trials` has the best first."""

    url: str
    manifest: Manifest | None
    trials: tuple[TrialRecord, ...]
    failed: int


def read_results(url: str) -> RunResults:
    """Read a run's results.

    Args:
        url: a run (`…/<name>/runs/<run_id>`), or `…/<name>` for its newest published run.

    Raises:
        DataError: there is no run, or an object of it is not what it should be.
        AccessError, StoreError: the store refuses or fails.
        ValueError: the URL is none of a store.
    """
    store = open_store(url)
    pointed = _newest_run(store)
    prefix = f"{RUNS_FOLDER}{pointed}/" if pointed is not None else ""
    manifest = _manifest(store, prefix)
    records = _published_trials(store, prefix, manifest) or _stored_trials(store, prefix)
    if manifest is None and not records:
        raise DataError(
            f"{url} holds no run: neither {MANIFEST} nor any {TRIALS_FOLDER}*.json",
            advice=f"name a run (…/<name>/{RUNS_FOLDER}<run_id>), or …/<name> for its newest published run",
        )
    direction = manifest.search.direction if manifest is not None else stated_direction(store, prefix)
    return RunResults(
        url=f"{store.url}/{prefix}".rstrip("/"),
        manifest=manifest,
        trials=tuple(best_first(records, direction)),
        failed=sum(record.status == "failed" for record in records),
    )


def _newest_run(store: ObjectStore) -> str | None:
    try:
        return Pointer.model_validate_json(store.get(LATEST).data).run_id
    except ObjectNotFoundError:
        return None
    except ValidationError as error:
        raise _unreadable(store, LATEST, error) from None


def _manifest(store: ObjectStore, prefix: str) -> Manifest | None:
    try:
        return Manifest.model_validate_json(store.get(prefix + MANIFEST).data)
    except ObjectNotFoundError:
        return None
    except ValidationError as error:
        raise _unreadable(store, prefix + MANIFEST, error) from None


def _published_trials(store: ObjectStore, prefix: str, manifest: Manifest | None) -> list[TrialRecord]:
    """The trials by the table of a published run, which is one object; none where there is no table."""
    if manifest is None:
        return []
    key = prefix + manifest.artifacts_prefix + TRIALS_TABLE
    try:
        return [TrialRecord.model_validate_json(line) for line in store.get(key).data.splitlines()]
    except ObjectNotFoundError:
        return []
    except ValidationError as error:
        raise _unreadable(store, key, error) from None


def _stored_trials(store: ObjectStore, prefix: str) -> list[TrialRecord]:
    keys = sorted(entry.key for entry in store.list(prefix + TRIALS_FOLDER))
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(lambda key: _record(store, key), keys))


def _record(store: ObjectStore, key: str) -> TrialRecord:
    try:
        return TrialRecord.model_validate_json(store.get(key).data)
    except ValidationError as error:
        raise _unreadable(store, key, error) from None


def stated_direction(store: ObjectStore, prefix: str) -> Direction:
    """Before a manifest says it, the spec does; where that leaves it to the metric or the task, what is known of it."""
    try:
        document = json.loads(store.get(prefix + SPEC).data)
        # Not the whole section: runs of other versions of this job have other fields.
        given = {name: value for name, value in document.get("data", {}).items() if name in {"source", "task"}}
        data = DataSpec.model_validate(given)
        search = SearchSpec.model_validate({"objective": document["search"]["objective"]})
    except (ObjectNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return "max"
    if isinstance(search.objective, str) and search.objective != "auto":
        return direction_of(search.objective) or "max"
    objective = known_objective(data, search)
    if objective is not None:
        return objective.direction
    return "max" if _logs_accuracy(store, prefix) else "min"


def _logs_accuracy(store: ObjectStore, prefix: str) -> bool:
    """Whether a trial's record is that of a classification; without any record the order of trials does not matter."""
    first = next(iter(store.list(prefix + TRIALS_FOLDER)), None)
    if first is None:
        return True
    executions = _record(store, first.key).executions
    return any("val_accuracy" in logs for execution in executions for logs in execution.epochs)


def _unreadable(store: ObjectStore, key: str, error: ValidationError) -> JobError:
    return DataError(f"{store.url}/{key} is not what it should be: {error.errors()[0]['msg']}")


def print_results(results: RunResults, console: "Console", *, limit: int) -> None:
    """Print the best trials, the best hyperparameters and the scores as a person reads them."""
    from rich.table import Table  # noqa: PLC0415 - only this command pays for it

    shown = min(limit, len(results.trials))
    table = Table(*_HEADER, title=f"{shown} best trials of {results.url}", title_justify="left")
    for record in results.trials[:limit]:
        table.add_row(*trial_row(record))
    console.print(table)
    for line in _lines(results):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _lines(results: RunResults) -> Sequence[str]:
    manifest = results.manifest
    failed = f"{results.failed} trials failed"
    if manifest is None:
        return (f"not published: {len(results.trials)} trials completed so far, {failed}",)
    return (
        f"objective: {manifest.search.objective} ({manifest.search.direction})",
        f"best hyperparameters: {_listed(manifest.best_hyperparameters)}",
        f"validation: {_listed(manifest.scores.validation)}",
        *((f"deviation: {_listed(manifest.scores.deviation)}",) if manifest.scores.deviation else ()),
        f"test: {_listed(manifest.scores.test)}",
        f"model: {results.url}/{manifest.artifacts_prefix}{MODEL_KERAS}",
        failed,
    )


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={show_value(value)}" for name, value in values.items()) or "-"


def results_document(results: RunResults, *, limit: int) -> dict[str, Any]:
    """The same as plain JSON values."""
    manifest = results.manifest
    return {
        "url": results.url,
        "published": manifest is not None,
        "best_hyperparameters": None if manifest is None else manifest.best_hyperparameters,
        "scores": None if manifest is None else manifest.scores.model_dump(mode="json"),
        "failed_trials": results.failed,
        "trials": [record.model_dump(mode="json") for record in results.trials[:limit]],
    }
