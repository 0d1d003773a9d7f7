"""Deletes old runs: of each its manifest first, so that no reader sees the manifest of a half-deleted run.

What is deleted last tells the age of what is left: an interrupted prune leaves an unfinished run, as old as before,
and the next one deletes it.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from job.errors import DataError, LockedError
from job.housekeeping.folders import RunFolder, read_pointer
from job.housekeeping.overview import PRUNING, Overview, RunOverview, read_overview
from job.housekeeping.retention import Decision, decide
from job.layout import (
    CHAMPION,
    FAILURE,
    INPUT_OBJECTS,
    INPUTS,
    LATEST,
    LEASE,
    LOGS_FOLDER,
    MANIFEST,
    SPEC,
    TENSORBOARD_FOLDER,
    condition_probe_key,
)
from job.lease import FencedStore, RunLease
from job.store import LookFirstStore, ObjectStore, honours_conditions
from job.store.local import LocalStore

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
    """Delete the runs that are to go, the oldest first, each as the holder of its lease.

    What has changed since the decision stays: a run that somebody works on, that was published, or that became the
    champion or the newest. Objects that are gone already are no error.

    Args:
        store: the one that the decision was made on.
        pruning: what `plan_pruning` decided.
        pause: sleeps for so many seconds, where a lease has to be watched.

    Returns:
        What was done.

    Raises:
        AccessError, StoreError: the store refuses or fails; the same prune goes on where this one ended.
    """
    going = [decision for decision in pruning.decisions if decision.goes]
    if going and not honours_conditions(store, condition_probe_key("", secrets.token_hex(4)).lstrip("/")):
        store = LookFirstStore(store)
    done = {}
    with ThreadPoolExecutor(_DELETERS) as pool, ExitStack() as held:
        # Together, because each that looks held is watched for seconds.
        looks_held = [one.run.folder for one in going if one.run.lease is not None and one.run.lease.state == "held"]
        leases = dict(pool.map(lambda folder: (folder.run_id, _acquired(store, folder, pause)), looks_held))
        for lease in leases.values():
            if lease is not None:
                held.callback(lease.release)
        for decision in reversed(going):
            folder = decision.run.folder
            if folder.run_id not in leases:
                leases[folder.run_id] = lease = _acquired(store, folder, pause)
                if lease is not None:
                    held.callback(lease.release)
            lease = leases[folder.run_id]
            reason = "a live process holds it" if lease is None else _changed(store, decision)
            if lease is not None and reason is None:
                try:
                    _delete_run(store, folder, lease, pool)
                except LockedError:
                    # This process was suspended while it deleted.
                    reason = "another process took it up while it was deleted"
            done[folder.run_id] = decision if reason is None else replace(decision, goes=False, reason=reason)
    return replace(
        pruning,
        decisions=tuple(done.get(decision.run.run_id, decision) for decision in pruning.decisions),
        is_done=True,
    )


def _acquired(store: ObjectStore, folder: RunFolder, pause: Callable[[float], None]) -> RunLease | None:
    """Become the run's holder, so that no start can take it up; None where somebody else is."""
    lease = RunLease(store, folder, sleep=pause, memory=lambda: 0, purpose=PRUNING)
    try:
        lease.acquire()
    except LockedError:
        return None
    return lease


def _changed(store: ObjectStore, decision: Decision) -> str | None:
    """Why a run must stay after all."""
    run = decision.run
    for key in (CHAMPION, LATEST):
        if read_pointer(store, run.folder.base + key) == run.run_id:
            return f"{key} points to it by now"
    if run.condition != "published" and store.stat(run.folder.key(MANIFEST)) is not None:
        return "it was published meanwhile"
    return None


def _delete_run(store: ObjectStore, folder: RunFolder, lease: RunLease, pool: ThreadPoolExecutor) -> None:
    fenced = FencedStore(store, lease.check)
    # Before anything else, and on its own: it says that all the rest is there.
    fenced.delete(folder.key(MANIFEST))
    # Listed anew, for what was written since.
    relatives = [entry.key.removeprefix(folder.prefix) for entry in store.list(folder.prefix)]
    pins, dated = ([one for one in kind if one in relatives] for kind in (_PINS, _DATED))
    segments = [relative for relative in relatives if _is_log_segment(relative)]
    rest = sorted(set(relatives) - set(pins) - set(dated) - set(segments) - {LEASE})
    list(pool.map(fenced.delete, map(folder.key, rest)))
    for relative in (*pins, *segments, *dated):
        fenced.delete(folder.key(relative))
    with lease.ended_with_its_run():
        if isinstance(store, LocalStore):
            store.remove_remains(folder.prefix.rstrip("/"))


# Besides the names of log segments, these tell a run's age.
_DATED: Sequence[str] = (FAILURE,)
# As long as there are records, these say what they are of.
_PINS: Sequence[str] = (INPUT_OBJECTS, INPUTS, SPEC)


def _is_log_segment(relative: str) -> bool:
    return relative.startswith(LOGS_FOLDER) and not relative.startswith(TENSORBOARD_FOLDER)
