"""Which run a job works on, and whether it can be had.

With a run id that run; without one the newest unfinished run of the job's name and spec, or a new one.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import ValidationError

from job.checkpoint_copies import remove_copies
from job.errors import JobError, LockedError, ObjectNotFoundError, StateConflictError
from job.layout import FAILURE, MANIFEST, SPEC, RunLayout, runs_prefix
from job.lease import RunLease
from job.logs import get_logger
from job.publish import Publication, open_publication, read_manifest, require_artifacts
from job.records import Failure
from job.run_state import RunState
from job.spec import JobSpec
from job.spec.stored import read_stored
from job.store import LookFirstStore, ObjectStore

# Only ids made here: a run with an id of somebody's own is theirs to go on with.
_MADE_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
# A run that so many others have followed is left alone, so that a look costs the same in a store full of runs.
_NEWEST = 10


def new_run_id() -> str:
    """A run id that sorts by time: `20260131T030000Z-4f2a`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}"


def unfinished_runs(store: ObjectStore, spec: JobSpec) -> Iterator[str]:
    """Ids of runs that this spec may go on with, the newest first; whether somebody is at it is not looked at.

    A run is unfinished that has this spec's hash, no manifest, and no failure that would come again.

    Raises:
        AccessError, StoreError: the store refuses or fails.
    """
    made = [name for name in store.list_folders(runs_prefix(spec.name)) if _MADE_ID.fullmatch(name)]
    for run_id in sorted(made, reverse=True)[:_NEWEST]:
        run = RunLayout(spec.name, run_id)
        if _is_of(spec, store, run) and store.stat(run.key(MANIFEST)) is None and not _has_failed(store, run):
            yield run_id


def _is_of(spec: JobSpec, store: ObjectStore, layout: RunLayout, stated: str | None = None) -> bool:
    """Whether a run is this spec's, by what it has stored; `stated` is the hash that its manifest names."""
    try:
        stored = read_stored(store.get(layout.key(SPEC)).data)
    except ObjectNotFoundError:
        return False
    return stored is not None and stored.is_of(spec) and stated in {None, stored.stated}


def _has_failed(store: ObjectStore, layout: RunLayout) -> bool:
    try:
        return Failure.model_validate_json(store.get(layout.key(FAILURE)).data).permanent
    except (ObjectNotFoundError, ValidationError):
        return False


def already_published(spec: JobSpec, publication: Publication) -> bool:
    """Whether there is nothing to do; what whoever published the run may have left undone is done.

    Raises:
        StateConflictError: the run was published from another spec.
        DataError: what was published is damaged.
    """
    manifest = read_manifest(publication.store, publication.layout)
    if manifest is None:
        return False
    if manifest.spec_hash != spec.hash() and not _is_of(
        spec, publication.store, publication.layout, manifest.spec_hash
    ):
        hashes = f"its hash is {manifest.spec_hash[:12]}, this one's {spec.hash()[:12]}"
        raise StateConflictError(
            f"run {publication.layout.run_id} was published from another spec: {hashes}", advice="use another run id"
        )
    require_artifacts(publication.store, publication.layout, manifest)
    publication.settle(manifest)
    # A process that was killed right after the manifest left them.
    remove_checkpoints(publication)
    get_logger().info("already published", manifest=publication.url(MANIFEST))
    return True


def remove_checkpoints(publication: Publication) -> None:
    """Delete a published run's checkpoints. Never raises a JobError: the next start of the run tries again."""
    try:
        remove_copies(publication.store, publication.layout)
    except JobError as error:
        get_logger().warning("checkpoints not deleted", reason=error.message)


def open_run(
    spec: JobSpec, store: ObjectStore, run_id: str, heartbeats: ObjectStore | None = None
) -> Publication | None:
    """Become the only holder of a run, which is made if need be.

    Args:
        spec: the run's.
        store: where it is.
        run_id: its id.
        heartbeats: the same store, by a client that waits for seconds at most.

    Returns:
        The run, with its lease; None where it was published meanwhile.

    Raises:
        LockedError: another live process has it.
        StateConflictError: it is another spec's.
        AccessError, StoreError: the store refuses or fails.
    """
    publication = open_publication(store, RunLayout(spec.name, run_id))
    # Written once, so that no lease is needed; and before anything else, so that a run of another spec is not touched.
    RunState(publication).pin_spec(spec)
    if publication.prefix and heartbeats is not None:
        heartbeats = LookFirstStore(heartbeats)
    lease = RunLease(publication.store, publication.layout, heartbeats=heartbeats)
    try:
        lease.acquire()
    except LockedError:
        if already_published(spec, publication):
            return None
        raise
    if _published_meanwhile(spec, publication, lease):
        return None
    publication.hold(lease)
    # A prune may have held the run until now, and deleted what was pinned above.
    try:
        RunState(publication).pin_spec(spec)
    except BaseException:
        # A lease that nobody gives back would make the next start wait.
        lease.release()
        raise
    return publication


def _published_meanwhile(spec: JobSpec, publication: Publication, lease: RunLease) -> bool:
    is_published = True
    try:
        is_published = already_published(spec, publication)
    finally:
        if is_published:
            lease.release()
    return is_published
