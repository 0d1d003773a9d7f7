"""The story of a run: spec -> data -> search -> retrain -> evaluate -> publish.

What needs TensorFlow is imported only once it is known that there is something to do.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from job import layout
from job.attempts import Attempts
from job.errors import LockedError, StateConflictError
from job.export.requirements import require_packages
from job.layout import RunLayout
from job.logs import bound, configure, get_logger, printed_as_events
from job.own_code import CodeSource, OwnCode, blaming, fetch_code
from job.publish import Publication, read_manifest
from job.records import Manifest, TrialRecord
from job.report.summary import result_lines
from job.resolve import require_access, storage_options
from job.run_choice import already_published, new_run_id, open_run, remove_checkpoints, unfinished_runs
from job.run_state import RunState
from job.run_uploads import RunUploads
from job.scratch import scratch_root
from job.search.executors import open_executor
from job.search.fork_server import worker_context
from job.search.own_check import checked_plan
from job.search.trial_plan import trial_plan
from job.session import Run, failure_logged, require_disk, work_on
from job.settings import Settings
from job.signals import signals_as_errors
from job.spec import JobSpec
from job.store import ObjectStore, open_store
from job.termination import Ending
from job.training.device import Device, prepare_process

if TYPE_CHECKING:
    from rich.console import Console

    from job.data import Dataset, ObjectPins
    from job.export.model import Exported
    from job.retrain import TrainedModel


# From a trial's start to its first epoch: workers that import TensorFlow on a busy machine take a while.
_START_SECONDS = 60.0


def run_job(spec: JobSpec, settings: Settings, run_id: str | None, ending: Ending) -> None:
    """Run a job to its published end, or raise the reason why not.

    Without a run id the newest unfinished run of the spec that nobody works on goes on; where there is none, or it has
    started from other data, a new one is made.

    Args:
        spec: the resolved job spec.
        settings: what the environment says besides.
        run_id: the run to make or go on with; None takes the environment's, or chooses.
        ending: learns which run it is and what came out.

    Raises:
        JobError: what ended the job; it is then in the log, and in `failure.json` if trying again cannot help.
    """
    console = _terminal()
    configure(spec.logs.level, console)
    given = run_id or settings.run_id
    with bound(**({} if given is None else {"run_id": given})), failure_logged(), signals_as_errors():
        store = open_store(spec.output, storage_options(spec))
        if given is not None:
            publication = Publication(store, RunLayout(spec.name, given))
            _tell_which(publication, ending)
            if already_published(spec, publication):
                _tell_result(publication, ending, skipped=True)
                return
        require_packages(spec.export)
        require_access(spec)
        require_disk(spec, scratch_root(settings.scratch))
    if given is None and _went_on(spec, settings, store, console, ending):
        return
    chosen = given or new_run_id()
    with bound(run_id=chosen):
        _tell_which(Publication(store, RunLayout(spec.name, chosen)), ending)
        with failure_logged(), signals_as_errors():
            opened = open_run(spec, store, chosen)
            if opened is None:
                _tell_result(Publication(store, RunLayout(spec.name, chosen)), ending, skipped=True)
        if opened is not None:
            work_on(spec, settings, opened, console, partial(_work, ending))


def _went_on(spec: JobSpec, settings: Settings, store: ObjectStore, console: "Console | None", ending: Ending) -> bool:
    """Go on with an unfinished run, if there is one that can be had."""
    with failure_logged(), signals_as_errors():
        unfinished = list(unfinished_runs(store, spec))
    for run_id in unfinished:
        with bound(run_id=run_id):
            publication = _opened_unless_held(spec, store, run_id)
            if publication is None:
                continue
            _tell_which(publication, ending)
            try:
                work_on(spec, settings, publication, console, partial(_work, ending))
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


def _work(ending: Ending, run: Run) -> None:
    # A built-in builder prints nothing.
    with nullcontext() if run.spec.built_in is not None else printed_as_events():
        _tune(ending, run)


def _tune(ending: Ending, run: Run) -> None:
    state, uploads = RunState(run.publication), run.uploads
    with run.stage("data"):
        from job.data import ObjectPins, load_dataset  # noqa: PLC0415 - NumPy; a published run does without

        pinned = state.pinned_inputs()
        pins = ObjectPins({} if pinned is None else pinned.objects)
        code = _model_code(run, pins)
        dataset = load_dataset(run.spec.data, seed=run.spec.seed, scratch=run.scratch.folder, pins=pins)
        get_logger().info("data ready", **dataset.brief_profile(), notes=dataset.notes)
    require_disk(run.spec, run.scratch.folder, dataset)
    uploads.copies.restore(
        run.spec.storage.outage_patience.total_seconds(), anew=not run.scratch.follows(run.lease.token)
    )
    plan = trial_plan(run.spec, dataset, run.scratch.folder, code)
    log_fields = {"run_id": run.publication.layout.run_id, "stage": "search"}
    with uploads.copies:
        if code is not None:
            with run.stage("check"):
                # Workers are forked from it later; it imports TensorFlow while this process does.
                worker_context()
                _prepared(run, dataset, pins, state)
                plan = checked_plan(plan, dataset)
        with run.stage("search"), open_executor(run.spec, plan, log_fields=log_fields) as executor:
            # The workers import TensorFlow while this process does.
            device = _prepared(run, dataset, pins, state)
            from job import artifacts, stages  # noqa: PLC0415 - these import TensorFlow, which is configured now

            with _attempts(run, partial(stages.progress_of, plan.checkpoints)) as attempts:
                known = _known(uploads, attempts)
                # An earlier start whose trials are recorded got past this.
                if stages.may_export(run.spec) and not known:
                    stages.try_exports(run.spec, plan, dataset, run.scratch.exports)

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
        with run.stage("retrain"), blaming(code):
            trained = stages.retrain(run.spec, dataset, plan, result)
    with run.stage("evaluate"), blaming(code):
        evaluation = stages.evaluate(plan, trained, dataset)
    results = artifacts.RunResults(
        spec=run.spec,
        dataset=dataset,
        search=result,
        trained=trained,
        evaluation=evaluation,
        lineage=stages.lineage_of(run.spec, run.settings, device),
        started_at=run.started_at,
        exported=_exported(run, trained, dataset),
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
        ending.is_new = True
        _tell_scores(manifest, run.publication, ending)
    else:
        get_logger().info("already published", manifest=run.publication.url(layout.MANIFEST))
        _tell_result(run.publication, ending, skipped=False)
    run.scratch.remove_at_end()
    remove_checkpoints(run.publication)


def _model_code(run: Run, pins: "ObjectPins") -> OwnCode | None:
    """The user's own model code, fetched; None for a built-in builder."""
    if run.spec.model.source is None:
        return None
    return fetch_code(CodeSource.of(run.spec.model), run.scratch.folder / "code" / "model", pins)


def _prepared(run: Run, dataset: "Dataset", pins: "ObjectPins", state: RunState) -> Device:
    """Set TensorFlow up, and pin what the run starts from; may be called again."""
    device = prepare_process(threads=run.spec.resources.threads_per_trial)
    from job import stages  # noqa: PLC0415 - it imports TensorFlow, which is configured now

    state.pin_inputs(stages.inputs_of(run.spec, dataset, pins.read, device))
    return device


def _exported(run: Run, trained: "TrainedModel", dataset: "Dataset") -> "Exported | None":
    from job import stages  # noqa: PLC0415 - TensorFlow, which is configured by now

    if not stages.may_export(run.spec):
        return None
    with run.stage("export"):
        return stages.export(run.spec, trained, dataset, run.scratch.exports)


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

    # This one, whatever stands in for standard output while code of the user's own runs.
    return Console(file=sys.stdout)


def _tell_which(publication: Publication, ending: Ending) -> None:
    ending.run_id = publication.layout.run_id
    ending.run_uri = publication.url("").rstrip("/")


def _tell_result(publication: Publication, ending: Ending, *, skipped: bool) -> None:
    """What another process has published."""
    manifest = read_manifest(publication.store, publication.layout)
    ending.skipped = skipped
    if manifest is not None:
        _tell_scores(manifest, publication, ending)


def _tell_scores(manifest: Manifest, publication: Publication, ending: Ending) -> None:
    ending.manifest = publication.url(layout.MANIFEST)
    ending.objective = manifest.search.objective
    ending.best_score = manifest.scores.validation.get(manifest.search.objective)
    ending.test = manifest.scores.test


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
