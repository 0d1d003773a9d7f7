"""The story of a run: spec -> data -> search -> retrain -> evaluate -> publish.

What needs TensorFlow is imported only once it is known that there is something to do.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from job import layout
from job.attempts import Attempts
from job.checkpoint_copies import remove_copies
from job.disk import require_space
from job.disk_needs import DataShape, disk_needs, known_shape
from job.errors import EXIT_UNFORESEEN, JobError, LockedError, StateConflictError
from job.interruption import Interruption
from job.layout import RunLayout
from job.lease import RunLease
from job.logs import LogSegments, bound, configure, get_logger, log_failure
from job.publish import Publication, write_failure
from job.records import Failure, Manifest, TrialRecord
from job.report.summary import result_lines
from job.resolve import require_access, storage_options
from job.resources import available_resources
from job.run_choice import already_published, new_run_id, open_run, unfinished_runs
from job.run_state import RunState
from job.run_uploads import RunUploads, open_uploads
from job.scratch import Scratch, claim_scratch, scratch_root
from job.search.executors import open_executor
from job.search.trial_plan import trial_plan
from job.settings import Settings
from job.signals import grace_period, signals_as_errors
from job.slots import slot_count
from job.spec import JobSpec
from job.store import ObjectStore, open_store
from job.training.device import prepare_process

if TYPE_CHECKING:
    from rich.console import Console

    from job.data import Dataset

# From a trial's start to its first epoch: workers that import TensorFlow on a busy machine take a while.
_START_SECONDS = 60.0
# Of `limits.grace_period`; the rest is for ending workers and the process.
_SHARE_OF_GRACE = 0.8


@dataclass(frozen=True, slots=True)
class _Run:
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
        """Measure a stage, and name it in the log."""
        started = time.monotonic()
        with bound(stage=name):
            yield
        self.seconds[name] = round(time.monotonic() - started, 3)


def _lease_of(publication: Publication) -> RunLease:
    if publication.lease is None:
        raise RuntimeError("only the holder of its lease works on a run")
    return publication.lease


def run_job(spec: JobSpec, settings: Settings, run_id: str | None) -> None:
    """Run a job to its published end, or raise the reason why not.

    Without a run id the newest unfinished run of the spec that nobody works on goes on; where there is none, or it has
    started from other data, a new one is made.

    Args:
        spec: the resolved job spec.
        settings: what the environment says besides.
        run_id: the run to make or go on with; None takes the environment's, or chooses.

    Raises:
        JobError: what ended the job; it is then in the log, and in `failure.json` if trying again cannot help.
    """
    console = _terminal()
    configure(spec.logs.level, console)
    given = run_id or settings.run_id
    with bound(**({} if given is None else {"run_id": given})), _failure_logged(), signals_as_errors():
        store = open_store(spec.output, storage_options(spec))
        if given is not None and already_published(spec, Publication(store, RunLayout(spec.name, given))):
            return
        require_access(spec)
    if given is None and _went_on(spec, settings, store, console):
        return
    chosen = given or new_run_id()
    with bound(run_id=chosen):
        with _failure_logged(), signals_as_errors():
            publication = open_run(spec, store, chosen)
        if publication is not None:
            _run_with_logs(spec, settings, publication, console)


def _went_on(spec: JobSpec, settings: Settings, store: ObjectStore, console: "Console | None") -> bool:
    """Go on with an unfinished run, if there is one that can be had."""
    with _failure_logged(), signals_as_errors():
        unfinished = list(unfinished_runs(store, spec))
    for run_id in unfinished:
        with bound(run_id=run_id):
            publication = _opened_unless_held(spec, store, run_id)
            if publication is None:
                continue
            try:
                _run_with_logs(spec, settings, publication, console)
            except StateConflictError:
                # The failure is stored with the run: the next start does not try it again.
                get_logger().warning("run cannot go on; another one is looked for")
            else:
                return True
    return False


def _opened_unless_held(spec: JobSpec, store: ObjectStore, run_id: str) -> Publication | None:
    with _failure_logged(), signals_as_errors():
        try:
            return open_run(spec, store, run_id)
        except LockedError as error:
            get_logger().info("run passed over", reason=error.message)
            return None


@contextmanager
def _failure_logged() -> Iterator[None]:
    try:
        yield
    except JobError as error:
        log_failure(error)
        raise


def _tune(run: _Run) -> None:
    state, uploads = RunState(run.publication), run.uploads
    with run.stage("data"):
        from job.data import ObjectPins, load_dataset  # noqa: PLC0415 - NumPy; a published run does without

        pinned = state.pinned_inputs()
        pins = ObjectPins({} if pinned is None else pinned.objects)
        dataset = load_dataset(run.spec.data, seed=run.spec.seed, scratch=run.scratch.folder, pins=pins)
        get_logger().info("data ready", **dataset.profile(), notes=dataset.notes)
    _require_disk(run.spec, run.scratch, dataset)
    uploads.copies.restore(
        run.spec.storage.outage_patience.total_seconds(), anew=not run.scratch.follows(run.lease.token)
    )
    plan = trial_plan(run.spec, dataset, run.scratch.folder)
    log_fields = {"run_id": run.publication.layout.run_id, "stage": "search"}
    with uploads.copies:
        with run.stage("search"), open_executor(run.spec, plan, log_fields=log_fields) as executor:
            # The workers import TensorFlow while this process does.
            device = prepare_process(threads=run.spec.resources.threads_per_trial)
            from job import artifacts, stages  # noqa: PLC0415 - these import TensorFlow, which is configured now

            state.pin_inputs(stages.inputs_of(run.spec, dataset, pins.read, device))
            with _attempts(run, partial(stages.progress_of, plan.checkpoints)) as attempts:
                known = _known(uploads, attempts)

                def store_record(record: TrialRecord) -> None:
                    uploads.store_record(record)
                    attempts.ended(record.trial_id)

                result = stages.search(
                    run.spec,
                    plan,
                    executor,
                    known=known,
                    store_record=store_record,
                    console=run.console,
                    starting=attempts.starting,
                    used_before=run.lease.elapsed_before,
                )
            uploads.flush()
        with run.stage("retrain"):
            trained = stages.retrain(run.spec, dataset, plan, result)
    with run.stage("evaluate"):
        evaluation = stages.evaluate(trained, dataset)
    results = artifacts.RunResults(
        spec=run.spec,
        dataset=dataset,
        search=result,
        trained=trained,
        evaluation=evaluation,
        lineage=stages.lineage_of(run.spec, run.settings, device),
        started_at=run.started_at,
    )
    with run.stage("publish"):
        uploads.through_outage(lambda: artifacts.write_artifacts(results, run.publication, run.scratch.folder))
        uploads.through_outage(lambda: artifacts.write_summary(results, run.publication, run.seconds))
        # The manifest names the log as far as it goes; what follows is uploaded, but not named.
        run.segments.flush_segment()
        uploads.flush()
    run.seconds["total"] = round((datetime.now(UTC) - run.started_at).total_seconds(), 3)
    manifest = artifacts.manifest_of(results, run.publication, run.seconds)
    if run.publication.finish(manifest):
        _announce(manifest, run)
    else:
        get_logger().info("already published", manifest=run.publication.url(layout.MANIFEST))
    run.scratch.remove_at_end()
    _remove_copies(run.publication.store, run.publication.layout)


def _require_disk(spec: JobSpec, scratch: Scratch, dataset: "Dataset | None" = None) -> None:
    """Refuse to start what will not fit: as far as it is known before the data is read, and again once that is."""
    slots = slot_count(spec, available_resources())
    if dataset is None:
        require_space(scratch.folder, disk_needs(spec, slots, known_shape(spec)).known)
    else:
        shape = DataShape(dataset.rows, dataset.preparation.input_shape, 1, len(dataset.class_names))
        require_space(scratch.folder, disk_needs(spec, slots, shape).checkpoints or 0)


def _remove_copies(store: ObjectStore, run_layout: RunLayout) -> None:
    """Delete a published run's checkpoints."""
    try:
        remove_copies(store, run_layout)
    except JobError as error:
        # The run is published; its next start tries again.
        get_logger().warning("checkpoints not deleted", reason=error.message)


def _attempts(run: _Run, progress: Callable[[str], str]) -> Attempts:
    return Attempts(
        run.publication.store,
        run.publication.layout,
        run.lease,
        progress=progress,
        patience=_START_SECONDS + 2 * run.spec.limits.checkpoint_interval.total_seconds(),
    )


def _known(uploads: RunUploads, attempts: Attempts) -> dict[str, TrialRecord]:
    """The records of earlier starts, those of trials included that have taken down too many of them."""
    known = uploads.known_records()
    for record in attempts.given_up(known):
        uploads.store_record(record)
        attempts.ended(record.trial_id)
        known[record.trial_id] = record
    return known


def _terminal() -> "Console | None":
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415 - only terminals pay for rich

    return Console()


def _run_with_logs(spec: JobSpec, settings: Settings, publication: Publication, console: "Console | None") -> None:
    grace = spec.limits.grace_period.total_seconds()
    with grace_period(grace, _say_what_is_lost), ExitStack() as opened:
        opened.callback(_lease_of(publication).release)
        with _failure_logged(), signals_as_errors():
            scratch = opened.enter_context(claim_scratch(scratch_root(settings.scratch), publication.url("")))
            _require_disk(spec, scratch)
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
        run = _Run(spec, settings, publication, console, segments, uploads, scratch)
        token = run.lease.token
        get_logger().info(
            "run started", name=spec.name, output=publication.url(""), token=token, scratch=str(scratch.folder)
        )
        try:
            with _failure_logged(), signals_as_errors(), interruption.raised_here():
                _tune(run)
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
            _store_the_rest(run)


def _say_what_is_lost() -> None:
    get_logger().warning("the grace period is over; what is not stored yet is done again by the next start")


def _store_the_rest(run: _Run) -> None:
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
        publication.check_lease()
        write_failure(publication.store, publication.layout, failure)
    except JobError as second:
        # The store itself may be what failed; the first reason is the one to report.
        get_logger().warning("failure not stored", reason=second.message)


def _announce(manifest: Manifest, run: _Run) -> None:
    model = run.publication.url(layout.MODEL_KERAS)
    if run.console is not None:
        for line in result_lines(manifest, model):
            run.console.print(line, soft_wrap=True, highlight=False, markup=False)
    get_logger().info(
        "run published",
        best_hyperparameters=manifest.best_hyperparameters,
        validation=manifest.scores.validation,
        test=manifest.scores.test,
        model=model,
        manifest=run.publication.url(layout.MANIFEST),
        seconds=manifest.seconds["total"],
    )
