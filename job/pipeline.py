"""The story of a run: spec -> data -> search -> retrain -> evaluate -> publish.

What needs TensorFlow is imported only once it is known that there is something to do.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from job import layout
from job.attempts import Attempts
from job.errors import LockedError, StateConflictError
from job.layout import RunLayout
from job.logs import bound, configure, get_logger
from job.publish import Publication
from job.records import Manifest, TrialRecord
from job.report.summary import result_lines
from job.resolve import require_access, storage_options
from job.run_choice import already_published, new_run_id, open_run, remove_checkpoints, unfinished_runs
from job.run_state import RunState
from job.run_uploads import RunUploads
from job.scratch import scratch_root
from job.search.executors import open_executor
from job.search.trial_plan import trial_plan
from job.session import Run, failure_logged, require_disk, work_on
from job.settings import Settings
from job.signals import signals_as_errors
from job.spec import JobSpec
from job.store import ObjectStore, open_store
from job.training.device import prepare_process

if TYPE_CHECKING:
    from rich.console import Console


# From a trial's start to its first epoch: workers that import TensorFlow on a busy machine take a while.
_START_SECONDS = 60.0


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
    with bound(**({} if given is None else {"run_id": given})), failure_logged(), signals_as_errors():
        store = open_store(spec.output, storage_options(spec))
        if given is not None and already_published(spec, Publication(store, RunLayout(spec.name, given))):
            return
        require_access(spec)
        require_disk(spec, scratch_root(settings.scratch))
    if given is None and _went_on(spec, settings, store, console):
        return
    chosen = given or new_run_id()
    with bound(run_id=chosen):
        with failure_logged(), signals_as_errors():
            publication = open_run(spec, store, chosen)
        if publication is not None:
            work_on(spec, settings, publication, console, _tune)


def _went_on(spec: JobSpec, settings: Settings, store: ObjectStore, console: "Console | None") -> bool:
    """Go on with an unfinished run, if there is one that can be had."""
    with failure_logged(), signals_as_errors():
        unfinished = list(unfinished_runs(store, spec))
    for run_id in unfinished:
        with bound(run_id=run_id):
            publication = _opened_unless_held(spec, store, run_id)
            if publication is None:
                continue
            try:
                work_on(spec, settings, publication, console, _tune)
            except StateConflictError:
                # The failure is stored with the run: the next start does not try it again.
                get_logger().warning("run cannot go on; another one is looked for")
            else:
                return True
    return False


def _opened_unless_held(spec: JobSpec, store: ObjectStore, run_id: str) -> Publication | None:
    with failure_logged(), signals_as_errors():
        try:
            return open_run(spec, store, run_id)
        except LockedError as error:
            get_logger().info("run passed over", reason=error.message)
            return None


def _tune(run: Run) -> None:
    state, uploads = RunState(run.publication), run.uploads
    with run.stage("data"):
        from job.data import ObjectPins, load_dataset  # noqa: PLC0415 - NumPy; a published run does without

        pinned = state.pinned_inputs()
        pins = ObjectPins({} if pinned is None else pinned.objects)
        dataset = load_dataset(run.spec.data, seed=run.spec.seed, scratch=run.scratch.folder, pins=pins)
        get_logger().info("data ready", **dataset.profile(), notes=dataset.notes)
    require_disk(run.spec, run.scratch.folder, dataset)
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
            began = time.monotonic()
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
                sensitivity = stages.sensitivity(
                    run.spec,
                    plan,
                    executor,
                    result,
                    known=known,
                    store_record=store_record,
                    starting=attempts.starting,
                    seconds_used=lambda: run.lease.elapsed_before + time.monotonic() - began,
                )
            uploads.flush()
        with run.stage("retrain"):
            trained = stages.retrain(run.spec, dataset, plan, result)
    with run.stage("evaluate"):
        evaluation = stages.evaluate(plan, trained, dataset)
    results = artifacts.RunResults(
        spec=run.spec,
        dataset=dataset,
        search=result,
        trained=trained,
        evaluation=evaluation,
        lineage=stages.lineage_of(run.spec, run.settings, device),
        started_at=run.started_at,
        sensitivity=sensitivity,
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
    remove_checkpoints(run.publication)


def _attempts(run: Run, progress: Callable[[str], str]) -> Attempts:
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


def _announce(manifest: Manifest, run: Run) -> None:
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
