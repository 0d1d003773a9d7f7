"""What runs in a worker process: it opens the data once, then runs one trial after the other.

A worker keeps nothing that the driver needs: checkpoints are files, a record goes back, events go through a pipe. It
ends when the driver does, whatever killed that, because it watches a pipe whose other end only the driver holds.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from job.logs import PrintedLines, bind, configure_worker
from job.records import TrialRecord, TrialRequest
from job.redaction import learn_secrets
from job.search.trial_plan import TrialPlan
from job.stop_request import TrainingPausedError, request_stop

if TYPE_CHECKING:
    from job.training.trial import TrialSetting


@dataclass(frozen=True, slots=True)
class WorkerSetting:
    """What a worker is started with.

    Attributes:
        threads: intra-op threads of TensorFlow.
        log_fields: bound to every event.
        environment: set before TensorFlow is imported, for example which GPU to see.
    """

    plan: TrialPlan
    threads: int
    log_level: str
    log_fields: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """A trial's record, None where it was paused; and how much memory (bytes, resident) its worker holds now."""

    record: TrialRecord | None
    memory: int


# One of each per process: a pool's tasks are plain functions.
_setting: "TrialSetting | None" = None
_events: Connection | None = None


def start_worker(setting: WorkerSetting, lifeline: Connection, events: Connection) -> None:
    """Prepare the process; called once, before the first trial.

    Args:
        setting: what to run, and how.
        lifeline: a message on it asks the worker to stop; it reads end-of-file once the driver is gone.
        events: takes one JSON event per message; an empty message ends a trial's events.
    """
    global _setting, _events  # noqa: PLW0603 - see above
    threading.Thread(target=_end_with_driver, args=(lifeline,), name="lifeline", daemon=True).start()
    # A terminal's Ctrl-C goes to the whole process group, and some send SIGTERM to all of it; the driver decides what
    # becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ.update(setting.environment)
    learn_secrets(os.environ)
    _events = events
    configure_worker(setting.log_level, events.send_bytes)
    bind(**setting.log_fields)
    # What a user's model prints is an event as well: standard output carries nothing else.
    sys.stdout = sys.stderr = PrintedLines()
    if setting.plan.code is not None:
        # Nor do its child processes and native code, which know of no `sys.stdout`.
        os.dup2(2, 1)
    from job.training.device import prepare_process  # noqa: PLC0415 - TensorFlow, once the environment is set

    prepare_process(threads=setting.threads)
    _setting = setting.plan.open()


def _end_with_driver(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            lifeline.recv_bytes()
            request_stop()
    os._exit(1)


def run_in_worker(request: TrialRequest) -> WorkerAnswer:
    """Make one attempt at a trial."""
    import psutil  # noqa: PLC0415 - the driver's side of this module does without

    from job.training.trial import run_trial  # noqa: PLC0415 - likewise

    if _setting is None or _events is None:
        raise RuntimeError("the worker was not started")
    record: TrialRecord | None = None
    with contextlib.suppress(TrainingPausedError):
        record = run_trial(request, _setting)
    _events.send_bytes(b"")
    return WorkerAnswer(record, psutil.Process().memory_info().rss)


def warm_up() -> int:
    """Nothing; having it done means that the worker is ready. Returns its process id."""
    return os.getpid()
