"""From a resolved spec to a published run: which run it is to be, and that nobody else has it; then `job.tuning`.

What needs TensorFlow is imported only once it is known that there is something to do.
"""

import sys
from functools import partial
from typing import TYPE_CHECKING

from job.errors import LockedError, StateConflictError
from job.export.requirements import require_packages
from job.layout import RunLayout
from job.logs import bound, configure, get_logger
from job.publish import Publication
from job.resolve import require_access, storage_options
from job.run_choice import already_published, new_run_id, open_run, unfinished_runs
from job.scratch import scratch_root
from job.session import failure_logged, require_disk, work_on
from job.settings import Settings
from job.signals import signals_as_errors
from job.spec import JobSpec
from job.store import ObjectStore, open_store
from job.termination import Ending
from job.tuning import tell_result, work

if TYPE_CHECKING:
    from rich.console import Console


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
        heartbeats = open_store(spec.output, storage_options(spec), impatient=True)
        if given is not None:
            publication = Publication(store, RunLayout(spec.name, given))
            _tell_which(publication, ending)
            if already_published(spec, publication):
                tell_result(publication, ending, skipped=True)
                return
        require_packages(spec.export)
        require_access(spec)
        require_disk(spec, scratch_root(settings.scratch))
    if given is None and _went_on(spec, settings, (store, heartbeats), console, ending):
        return
    chosen = given or new_run_id()
    with bound(run_id=chosen):
        _tell_which(Publication(store, RunLayout(spec.name, chosen)), ending)
        with failure_logged(), signals_as_errors():
            opened = open_run(spec, store, chosen, heartbeats)
            if opened is None:
                tell_result(Publication(store, RunLayout(spec.name, chosen)), ending, skipped=True)
        if opened is not None:
            work_on(spec, settings, opened, console, partial(work, ending))


def _went_on(
    spec: JobSpec,
    settings: Settings,
    stores: tuple[ObjectStore, ObjectStore],
    console: "Console | None",
    ending: Ending,
) -> bool:
    """Go on with an unfinished run, if there is one that can be had."""
    with failure_logged(), signals_as_errors():
        unfinished = list(unfinished_runs(stores[0], spec))
    for run_id in unfinished:
        with bound(run_id=run_id):
            publication = _opened_unless_held(spec, stores, run_id)
            if publication is None:
                continue
            _tell_which(publication, ending)
            try:
                work_on(spec, settings, publication, console, partial(work, ending))
            except StateConflictError:
                # The failure is stored with the run: the next start does not try it again.
                get_logger().warning("run cannot go on; another one is looked for")
            else:
                return True
    return False


def _opened_unless_held(spec: JobSpec, stores: tuple[ObjectStore, ObjectStore], run_id: str) -> Publication | None:
    with failure_logged(), signals_as_errors():
        try:
            return open_run(spec, stores[0], run_id, stores[1])
        except LockedError as error:
            get_logger().info("run passed over", reason=error.message)
            return None


def _terminal() -> "Console | None":
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415 - only terminals pay for rich

    # This one, whatever stands in for standard output while code of the user's own runs.
    return Console(file=sys.stdout)


def _tell_which(publication: Publication, ending: Ending) -> None:
    ending.run_id = publication.layout.run_id
    ending.run_uri = publication.url("").rstrip("/")
