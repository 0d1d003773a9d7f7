"""What holds while a run is worked on: its lease, scratch folder, uploads and log, and what its end leaves behind."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from job import layout
from job.disk import clear_disk_errors, require_space
from job.disk_needs import DataShape, disk_needs, known_shape
from job.errors import EXIT_UNFORESEEN, JobError
from job.interruption import Interruption
from job.lease import RunLease
from job.logs import LogSegments, bound, get_logger, log_failure
from job.publish import Publication, write_failure
from job.records import Failure
from job.resources import available_resources
from job.run_state import RunState
from job.run_uploads import RunUploads, open_uploads
from job.scratch import Scratch, claim_scratch, nearest_existing, scratch_root
from job.settings import Settings
from job.signals import grace_period, signals_as_errors, unbroken
from job.slots import slot_count
from job.spec import JobSpec

if TYPE_CHECKING:
    from rich.console import Console

    from job.data import Dataset

# Of `limits.grace_period`; the rest is for ending workers and the process.
_SHARE_OF_GRACE = 0.8


@dataclass(frozen=True, slots=True)
class Run:
    """What every stage of a run shares. `seconds` fills as stages end."""

    spec: JobSpec
    settings: Settings
    publication: Publication
    console: "Console | None"
    segments: LogSegments
    uploads: RunUploads
    scratch: Scratch
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def lease(self) -> RunLease:
        """This process's hold on the run."""
        return _lease_of(self.publication)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage, or a part of one, and name it in the log."""
        started = time.monotonic()
        with bound(stage=name):
            yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 3)


def _lease_of(publication: Publication) -> RunLease:
    if publication.lease is None:
        raise RuntimeError("only the holder of its lease works on a run")
    return publication.lease


@contextmanager
def failure_logged() -> Iterator[None]:
    """Say in the log what ends the block on purpose."""
    try:
        yield
    except JobError as error:
        log_failure(error)
        raise


def require_disk(spec: JobSpec, folder: Path, dataset: "Dataset | None" = None) -> None:
    """Refuse to start what will not fit: as far as it is known before the data is read, and again once that is.

    Args:
        spec: the run's.
        folder: of its scratch data, or the folder that this will be made in.
        dataset: the data, once it is read.

    Raises:
        StoreError: there is too little room.
    """
    folder = nearest_existing(folder)
    slots = slot_count(spec, available_resources())
    if dataset is None:
        require_space(folder, disk_needs(spec, slots, known_shape(spec)).known)
    else:
        if spec.built_in is None:
            # Only code knows the size of a model of its own.
            return
        shape = DataShape(dataset.rows, dataset.prepared_shape, 1, dataset.target.outputs)
        require_space(folder, disk_needs(spec, slots, shape).checkpoints or 0)


def work_on(
    spec: JobSpec,
    settings: Settings,
    publication: Publication,
    console: "Console | None",
    work: Callable[[Run], None],
) -> None:
    """Do a run's work, and have its end stored and logged whatever it is.

    Args:
        spec: the run's.
        settings: where scratch folders are.
        publication: the run, with its lease, which is released at the end.
        console: for the work.
        work: what there is to do.

    Raises:
        JobError: what ended the work; it is then in the log, and in `failure.json` if trying again cannot help.
    """
    grace = spec.limits.grace_period.total_seconds()
    with grace_period(grace, _say_what_is_lost), ExitStack() as opened:
        opened.callback(_lease_of(publication).release)
        with failure_logged(), signals_as_errors():
            scratch = opened.enter_context(claim_scratch(scratch_root(settings.scratch), publication.url("")))
        opened.callback(_remove_leftovers, publication)
        interruption = Interruption()
        uploads = opened.enter_context(
            open_uploads(
                RunState(publication),
                scratch,
                patience=spec.storage.outage_patience.total_seconds(),
                on_failure=interruption.interrupt,
            )
        )
        start = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z"
        segments = LogSegments(
            lambda number, data: uploads.store_segment(layout.log_segment(start, number), data),
            spec.logs.upload_interval.total_seconds(),
        )
        run = Run(spec, settings, publication, console, segments, uploads, scratch)
        # A trial may take hours, and would be trained for nothing.
        run.lease.tell_of_loss(interruption.interrupt)
        token = run.lease.token
        get_logger().info(
            "run started", name=spec.name, output=publication.url(""), token=token, scratch=str(scratch.folder)
        )
        publication.warn_of_ignored_conditions()
        try:
            with failure_logged(), signals_as_errors(), interruption.raised_here(), clear_disk_errors(scratch.folder):
                work(run)
        except JobError as error:
            if error.permanent:
                _leave_failure(publication, error, error.exit_code, error.message, error.advice)
                if uploads.is_all_stored:
                    scratch.remove_at_end()
            raise
        except Exception as error:
            get_logger().exception("unforeseen error")
            reason = "".join(traceback.format_exception_only(error)).strip()
            _leave_failure(publication, error, EXIT_UNFORESEEN, reason, "please report it, with the log")
            raise
        finally:
            with unbroken(is_last=True):
                _store_the_rest(run)


def _remove_leftovers(publication: Publication) -> None:
    """Once nothing more is sent: leave nothing in a run that was lost to another process, and published by it."""
    if not _lease_of(publication).lost:
        return
    try:
        publication.remove_leftovers()
    except JobError as error:
        get_logger().warning("leftovers not deleted", reason=error.message)


def _say_what_is_lost() -> None:
    get_logger().warning("the grace period is over; what is not stored yet is done again by the next start")


def _store_the_rest(run: Run) -> None:
    """Give what waits the grace period to be stored; the rest stays on this machine for the next start."""
    run.uploads.end_within(run.spec.limits.grace_period.total_seconds() * _SHARE_OF_GRACE)
    run.segments.finish()
    try:
        is_all_stored = run.uploads.flush()
    except Exception as error:  # noqa: BLE001 - it is known already, and must not hide why the job ends
        get_logger().debug("uploads had ended", reason=str(error))
        is_all_stored = False
    if not is_all_stored:
        get_logger().warning(
            "not everything is stored; the next start on this machine does it", scratch=str(run.scratch.folder)
        )


def _leave_failure(publication: Publication, error: Exception, exit_code: int, reason: str, advice: str | None) -> None:
    failure = Failure(
        name=publication.layout.name,
        run_id=publication.layout.run_id,
        exit_code=exit_code,
        error=type(error).__name__,
        reason=reason,
        advice=advice,
        permanent=exit_code != EXIT_UNFORESEEN,
        failed_at=datetime.now(UTC),
    )
    try:
        write_failure(publication.store, publication.layout, failure)
    except JobError as second:
        # The store itself may be what failed; the first reason is the one to report.
        get_logger().warning("failure not stored", reason=second.message)
