"""What is done for a run that is held: data -> search -> retrain -> evaluate -> publish.

What needs TensorFlow is imported only once the workers have begun to import it as well.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from job import layout
from job.attempts import Attempts
from job.logs import get_logger, printed_as_events
from job.own_code import CodeSource, OwnCode, blaming, fetch_code
from job.publish import Publication, read_manifest
from job.records import Manifest, SearchResult, Sensitivity, TrialRecord
from job.report.summary import result_lines
from job.run_choice import remove_checkpoints
from job.run_state import RunState
from job.run_uploads import RunUploads
from job.search.executors import open_executor
from job.search.own_check import checked_plan
from job.search.trial_plan import TrialPlan, trial_plan
from job.session import Run, require_disk
from job.spec.objectives import leaning_task
from job.termination import Ending
from job.training.device import Device, prepare_process
from job.training.fork_server import fork_server_ended, worker_context

if TYPE_CHECKING:
    from job.artifacts import RunResults
    from job.data import Dataset, ObjectPins


# From a trial's start to its first epoch: workers that import TensorFlow on a busy machine take a while.
_START_SECONDS = 60.0


def work(ending: Ending, run: Run) -> None:
    """Tune, and publish what comes of it.

    Raises:
        JobError: what ended the work.
    """
    # A built-in builder prints nothing.
    with nullcontext() if run.spec.built_in is not None else printed_as_events():
        _tune(ending, run)


@dataclass(frozen=True, slots=True)
class _Searched:
    result: SearchResult
    sensitivity: Sensitivity | None
    device: Device


def _tune(ending: Ending, run: Run) -> None:
    state, uploads = RunState(run.publication), run.uploads
    with run.stage("data"):
        from job.data import ObjectPins, load_dataset  # noqa: PLC0415 - NumPy; a published run does without

        pinned = state.pinned_inputs()
        pins = ObjectPins({} if pinned is None else pinned.objects)
        code = _model_code(run, pins)
        dataset = load_dataset(
            run.spec.data,
            seed=run.spec.seed,
            scratch=run.scratch.folder,
            pins=pins,
            own_model=run.spec.built_in is None,
            leaning=leaning_task(run.spec),
        )
        get_logger().info("data ready", **dataset.brief_profile(), notes=dataset.notes)
    require_disk(run.spec, run.scratch.folder, dataset)
    uploads.copies.restore(
        run.spec.storage.outage_patience.total_seconds(), anew=not run.scratch.follows(run.lease.token)
    )
    is_bound = pinned is None or pinned.provenance is not None
    plan = replace(trial_plan(run.spec, dataset, run.scratch.folder, code), is_bound=is_bound)
    with uploads.copies, fork_server_ended():
        if code is not None:
            with run.stage("check"):
                # Workers are forked from it later; it imports TensorFlow while this process does.
                worker_context()
                _prepared(plan, dataset, pins, state)
                plan, dataset = checked_plan(plan, dataset)
        searched = _search(run, plan, dataset, pins, state)
        from job import artifacts, stages  # noqa: PLC0415 - these import TensorFlow, which is configured by now

        # Where trials ran in this process it imports TensorFlow meanwhile; what is published is loaded by its child.
        worker_context()
        with run.stage("retrain"), blaming(code):
            trained = stages.retrain(run.spec, dataset, plan, searched.result)
        # Of a built-in model that is published in no other format it takes no time worth a stage.
        stage = "export" if stages.may_export(run.spec) else "evaluate"
        with run.stage(stage), blaming(code):
            trained, exported = stages.publishable(run.spec, trained, dataset, run.scratch.exports, code)
    with run.stage("evaluate"), blaming(code):
        evaluation = stages.evaluate(plan, trained, dataset)
    results = artifacts.RunResults(
        spec=run.spec,
        dataset=dataset,
        search=searched.result,
        trained=trained,
        evaluation=evaluation,
        lineage=stages.lineage_of(run.spec, run.settings, searched.device),
        started_at=run.started_at,
        sensitivity=searched.sensitivity,
        exported=exported,
    )
    _publish(ending, run, results)


def _search(run: Run, plan: TrialPlan, dataset: "Dataset", pins: "ObjectPins", state: RunState) -> _Searched:
    """The search, and what depends on its workers."""
    uploads = run.uploads
    log_fields = {"run_id": run.publication.layout.run_id, "stage": "search"}
    with run.stage("search"), open_executor(run.spec, plan, log_fields=log_fields) as executor:
        # The workers import TensorFlow while this process does.
        device = _prepared(plan, dataset, pins, state)
        from job import stages  # noqa: PLC0415 - it imports TensorFlow, which is configured now

        began = time.monotonic()
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
    return _Searched(result, sensitivity, device)


def _publish(ending: Ending, run: Run, results: "RunResults") -> None:
    """Artifacts first, then the manifest that names them; then what only an unfinished run needs goes."""
    from job import artifacts  # noqa: PLC0415 - it imports TensorFlow

    uploads = run.uploads
    with run.stage("publish"):
        uploads.through_outage(lambda: artifacts.write_artifacts(results, run.publication, run.scratch.folder))
        uploads.through_outage(lambda: artifacts.write_summary(results, run.publication, run.seconds))
        # The manifest names the log as far as it goes; what follows is uploaded, but not named.
        run.segments.flush_segment()
        uploads.flush()
    run.seconds["total"] = round((datetime.now(UTC) - run.started_at).total_seconds(), 3)
    manifest = artifacts.manifest_of(results, run.publication, run.seconds)
    is_first = False

    def finish() -> None:
        nonlocal is_first
        is_first = run.publication.finish(manifest)

    uploads.through_outage(finish)
    if is_first:
        _announce(manifest, run)
        ending.is_new = True
        _tell_scores(manifest, run.publication, ending)
    else:
        get_logger().info("already published", manifest=run.publication.url(layout.MANIFEST))
        tell_result(run.publication, ending, skipped=False)
    run.scratch.remove_at_end()
    remove_checkpoints(run.publication)


def _model_code(run: Run, pins: "ObjectPins") -> OwnCode | None:
    """The user's own model code, fetched; None for a built-in builder."""
    if run.spec.model.source is None:
        return None
    return fetch_code(CodeSource.of(run.spec.model), run.scratch.folder / "code" / "model", pins)


def _prepared(plan: TrialPlan, dataset: "Dataset", pins: "ObjectPins", state: RunState) -> Device:
    """Set TensorFlow up, and pin what the run starts from; may be called again."""
    device = prepare_process(threads=plan.spec.resources.threads_per_trial)
    from job import stages  # noqa: PLC0415 - it imports TensorFlow, which is configured now

    state.pin_inputs(stages.inputs_of(plan, dataset, pins.read, device))
    return device


def _attempts(run: Run, progress: Callable[[str], str]) -> Attempts:
    return Attempts(
        run.publication.store,
        run.publication.layout,
        run.lease,
        progress=progress,
        patience=_START_SECONDS + 2 * run.spec.limits.checkpoint_interval.total_seconds(),
        provenance=run.publication.provenance,
    )


def _known(uploads: RunUploads, attempts: Attempts) -> dict[str, TrialRecord]:
    """The records of earlier starts, those of trials included that have taken down too many of them."""
    known = uploads.known_records()
    for record in attempts.given_up(known):
        uploads.store_record(record)
        attempts.ended(record.trial_id)
        known[record.trial_id] = record
    return known


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


def _tell_scores(manifest: Manifest, publication: Publication, ending: Ending) -> None:
    ending.manifest = publication.url(layout.MANIFEST)
    ending.objective = manifest.search.objective
    ending.best_score = manifest.scores.validation.get(manifest.search.objective)
    ending.test = manifest.scores.test


def tell_result(publication: Publication, ending: Ending, *, skipped: bool) -> None:
    """What another process has published."""
    manifest = read_manifest(publication.store, publication.layout)
    ending.skipped = skipped
    if manifest is not None:
        _tell_scores(manifest, publication, ending)
