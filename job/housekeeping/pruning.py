"""Deletes old runs: of each its manifest first, so that no reader sees the manifest of a half-deleted run.

What is deleted last tells the age of what is left: an interrupted prune leaves an unfinished run, as old as before,
and the next one deletes it.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from job.errors import DataError, ObjectNotFoundError
from job.housekeeping.folders import RunFolder, read_pointer
from job.housekeeping.overview import Overview, RunOverview, read_overview
from job.housekeeping.retention import Decision, decide
from job.layout import CHAMPION, FAILURE, INPUTS, LATEST, LEASE, LOGS_FOLDER, MANIFEST, SPEC, TENSORBOARD_FOLDER
from job.records import Lease
from job.store import ObjectStore
from job.store.local import LocalStore

# How long a lease that says `held` is watched on our own clock before its holder is taken for dead. Heartbeats come
# every few seconds; the holder's clock, which wrote `renewed_at`, may be wrong.
WATCH_SECONDS = 10.0

_DELETERS = 8


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a prune does, or did, about every run of a name; `is_done` tells which."""

    url: str
    keep: int
    decisions: tuple[Decision, ...]
    is_done: bool

    @property
    def size(self) -> int:
        """Bytes of all the runs that go."""
        return sum(decision.run.size for decision in self.decisions if decision.goes)


def plan_pruning(store: ObjectStore, *, keep: int, now: datetime, older_than: timedelta | None = None) -> Pruning:
    """Look at the runs of a name and decide which go; nothing is deleted.

    Args:
        store: opened at the name's folder.
        keep: how many published runs to keep at least.
        now: the time by which leases are live and ages counted.
        older_than: see `decide`.

    Raises:
        DataError: there is no run here, the store is an output with several names, or `latest.json` or
            `champion.json` cannot be read: it may point to any run.
        AccessError, StoreError: the store refuses or fails.
    """
    overview = read_overview(store, now=now, with_scores=False)
    runs = _of_one_name(overview)
    if overview.problems:
        raise DataError(
            f"nothing is deleted: {'; '.join(overview.problems)}",
            advice="repair or delete that object; the next run that is published writes latest.json anew",
        )
    decisions = decide(runs, keep=keep, now=now, older_than=older_than)
    return Pruning(url=store.url, keep=keep, decisions=decisions, is_done=False)


def _of_one_name(overview: Overview) -> list[RunOverview]:
    """The runs of the name that the store was opened at."""
    runs = [run for run in overview.runs if run.folder.base == ""]
    if not runs:
        names = sorted({run.name for run in overview.runs})
        raise DataError(
            f"{overview.url} is an output with runs of {', '.join(names)}: a prune is for one name",
            advice=f"name one of them: {overview.url}/{names[0]}",
        )
    return runs


def carry_out(store: ObjectStore, pruning: Pruning, *, pause: Callable[[float], None] = time.sleep) -> Pruning:
    """Delete the runs that are to go, the oldest first.

    What has changed since the decision stays: a run whose lease moved, that was published, or that became the champion
    or the newest. Objects that are gone already are no error.

    Args:
        store: the one that the decision was made on.
        pruning: what `plan_pruning` decided.
        pause: sleeps for so many seconds, once, where a lease has to be watched.

    Returns:
        What was done.

    Raises:
        AccessError, StoreError: the store refuses or fails; the same prune goes on where this one ended.
    """
    going = [decision for decision in pruning.decisions if decision.goes]
    if any(decision.run.lease is not None and decision.run.lease.state == "held" for decision in going):
        pause(WATCH_SECONDS)
    done = {}
    with ThreadPoolExecutor(_DELETERS) as pool:
        for decision in reversed(going):
            reason = _changed(store, decision)
            if reason is None:
                _delete_run(store, decision.run.folder, pool)
                done[decision.run.run_id] = decision
            else:
                done[decision.run.run_id] = replace(decision, goes=False, reason=reason)
    return replace(
        pruning,
        decisions=tuple(done.get(decision.run.run_id, decision) for decision in pruning.decisions),
        is_done=True,
    )


def _changed(store: ObjectStore, decision: Decision) -> str | None:
    """Why a run must stay after all."""
    run = decision.run
    for key in (CHAMPION, LATEST):
        if read_pointer(store, run.folder.base + key) == run.run_id:
            return f"{key} points to it by now"
    if not _lease_is_unchanged(store, run.folder, run.lease):
        return "a live process holds it: its lease has changed"
    if run.condition != "published" and store.stat(run.folder.prefix + MANIFEST) is not None:
        return "it was published meanwhile"
    return None


def _lease_is_unchanged(store: ObjectStore, folder: RunFolder, lease: Lease | None) -> bool:
    """Whether a run's lease is still as it was; one that is gone is nobody's."""
    try:
        return Lease.model_validate_json(store.get(folder.prefix + LEASE).data) == lease
    except ObjectNotFoundError:
        return True
    except ValidationError:
        return False


def _delete_run(store: ObjectStore, folder: RunFolder, pool: ThreadPoolExecutor) -> None:
    # Before anything else, and on its own: it says that all the rest is there.
    store.delete(folder.prefix + MANIFEST)
    # Listed anew, for what was written since.
    relatives = [entry.key.removeprefix(folder.prefix) for entry in store.list(folder.prefix)]
    pins, dated = ([one for one in kind if one in relatives] for kind in (_PINS, _DATED))
    segments = [relative for relative in relatives if _is_log_segment(relative)]
    rest = sorted(set(relatives) - set(pins) - set(dated) - set(segments))
    list(pool.map(store.delete, (folder.prefix + relative for relative in rest)))
    for relative in (*pins, *segments, *dated):
        store.delete(folder.prefix + relative)
    if isinstance(store, LocalStore):
        store.remove_remains(folder.prefix.rstrip("/"))


# Besides the names of log segments, these tell a run's age.
_DATED: Sequence[str] = (FAILURE, LEASE)
# As long as there are records, these say what they are of.
_PINS: Sequence[str] = (INPUTS, SPEC)


def _is_log_segment(relative: str) -> bool:
    return relative.startswith(LOGS_FOLDER) and not relative.startswith(TENSORBOARD_FOLDER)
