"""The story of a run: spec -> data -> search -> retrain -> evaluate -> publish.

What needs TensorFlow is imported only once it is known that there is something to do.
"""

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from job import layout
from job.errors import EXIT_UNFORESEEN, JobError, StateConflictError
from job.layout import RunLayout
from job.logs import LogSegments, bound, configure, get_logger, log_failure
from job.publish import Publication, open_publication, read_manifest, write_failure
from job.records import Failure, Manifest
from job.report.summary import result_lines
from job.resolve import require_access, storage_options
from job.run_state import RunState
from job.search.executors import open_executor
from job.search.trial_plan import trial_plan
from job.settings import Settings
from job.signals import signals_as_errors
from job.spec import JobSpec
from job.store import ObjectStore, open_store
from job.training.device import prepare_process

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class _Run:
    """What every stage of a run shares. `seconds` fills as stages end."""

    spec: JobSpec
    settings: Settings
    publication: Publication
    console: "Console | None"
    segments: LogSegments
    scratch: Path
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage, and name it in the log."""
        started = time.monotonic()
        with bound(stage=name):
            yield
        self.seconds[name] = round(time.monotonic() - started, 3)


def run_job(spec: JobSpec, settings: Settings, run_id: str | None) -> None:
    """Run a job to its published end, or raise the reason why not.

    Args:
        spec: the resolved job spec.
        settings: what the environment says besides.
        run_id: the run to make or go on with; None takes the environment's, or a new one.

    Raises:
        JobError: what ended the job; it is then in the log, and in `failure.json` if trying again cannot help.
    """
    run_layout = RunLayout(spec.name, run_id or settings.run_id or new_run_id())
    console = _terminal()
    configure(spec.logs.level, console)
    with bound(run_id=run_layout.run_id):
        with _failure_logged(), signals_as_errors():
            store = open_store(spec.output, storage_options(spec))
            if _already_published(spec, store, run_layout):
                return
            require_access(spec)
            publication = open_publication(store, run_layout)
        _run_with_logs(spec, settings, publication, console)


@contextmanager
def _failure_logged() -> Iterator[None]:
    try:
        yield
    except JobError as error:
        log_failure(error)
        raise


def _tune(run: _Run) -> None:
    state = RunState(run.publication)
    state.pin_spec(run.spec)
    with run.stage("data"):
        from job.data import load_dataset  # noqa: PLC0415 - NumPy; a published run does without

        dataset = load_dataset(run.spec.data, seed=run.spec.seed, scratch=run.scratch)
        get_logger().info("data ready", **dataset.profile(), notes=dataset.notes)
    plan = trial_plan(run.spec, dataset, run.scratch)
    log_fields = {"run_id": run.publication.layout.run_id, "stage": "search"}
    with run.stage("search"), open_executor(run.spec, plan, log_fields=log_fields) as executor:
        # The workers import TensorFlow while this process does.
        device = prepare_process(threads=run.spec.resources.threads_per_trial)
        from job import artifacts, stages  # noqa: PLC0415 - these import TensorFlow, which is configured now

        state.pin_inputs(dataset.summary(), stages.versions())
        result = stages.search(
            run.spec,
            plan,
            executor,
            known=state.trial_records(),
            store_record=state.store_record,
            console=run.console,
        )
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
        artifacts.write_artifacts(results, run.publication, run.scratch)
        artifacts.write_summary(results, run.publication, run.seconds)
        # The manifest names the log as far as it goes; what follows is uploaded, but not named.
        run.segments.flush_segment()
    run.seconds["total"] = round((datetime.now(UTC) - run.started_at).total_seconds(), 3)
    manifest = artifacts.manifest_of(results, run.publication, run.seconds)
    run.publication.finish(manifest)
    _announce(manifest, run)


def new_run_id() -> str:
    """A run id that sorts by time: `20260131T030000Z-4f2a`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}"


def _terminal() -> "Console | None":
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415 - only terminals pay for rich

    return Console()


def _already_published(spec: JobSpec, store: ObjectStore, run_layout: RunLayout) -> bool:
    manifest = read_manifest(store, run_layout)
    if manifest is None:
        return False
    if manifest.spec_hash != spec.hash():
        raise StateConflictError(
            f"run {run_layout.run_id} was published from another spec: its hash is {manifest.spec_hash[:12]}, this "
            f"one's {spec.hash()[:12]}",
            advice="use another run id",
        )
    get_logger().info("already published", manifest=f"{store.url}/{run_layout.key(layout.MANIFEST)}")
    return True


def _run_with_logs(spec: JobSpec, settings: Settings, publication: Publication, console: "Console | None") -> None:
    start = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z"
    segments = LogSegments(
        lambda number, data: publication.write(layout.log_segment(start, number), data),
        spec.logs.upload_interval.total_seconds(),
    )
    get_logger().info("run started", name=spec.name, output=publication.url(""))
    publication.warn_of_ignored_conditions()
    try:
        with (
            _failure_logged(),
            signals_as_errors(),
            tempfile.TemporaryDirectory(prefix="tuning-job-") as scratch,
        ):
            _tune(_Run(spec, settings, publication, console, segments, Path(scratch)))
    except JobError as error:
        if error.permanent:
            _leave_failure(publication, error, error.exit_code, error.message, error.advice)
        raise
    except Exception as error:
        get_logger().exception("unforeseen error")
        reason = "".join(traceback.format_exception_only(error)).strip()
        _leave_failure(publication, error, EXIT_UNFORESEEN, reason, "please report it, with the log")
        raise
    finally:
        segments.finish()


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
