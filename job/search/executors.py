"""Executors: where trials run. The driver hands requests over and takes records back; workers keep nothing."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from job.logs import get_logger
from job.records import TrialRecord, TrialRequest
from job.resources import Resources, available_resources
from job.search.memory_watch import MemoryWatch
from job.search.trial_plan import TrialPlan
from job.search.worker import WorkerSetting
from job.signals import unbroken
from job.slots import slot_count, worker_memory
from job.spec import JobSpec

if TYPE_CHECKING:
    from job.training.trial import TrialSetting

# A worker that holds so many times what it was expected to need is replaced between trials.
_GROWTH = 2
# Of `limits.grace_period`; the rest is for uploading what trials have written by then.
_SHARE_OF_GRACE = 0.4
# A trial that says nothing for so long is worth a word; at higher levels of the log none says anything.
_SILENCE_SECONDS = 600.0


class Executor(Protocol):
    """Runs trials, up to `slots` at a time.

    One thread owns an executor. A record that comes back says how the attempt ended; only what is not the
    trial's own affair is raised.
    """

    @property
    def slots(self) -> int:
        """How many trials run at a time."""
        ...

    def submit(self, request: TrialRequest) -> None:
        """Start an attempt. Only while fewer than `slots` are under way."""
        ...

    def wait(self, patience: float | None = None) -> TrialRecord:
        """Return the record of the next attempt to end. Only while one is under way.

        Args:
            patience: after so many seconds an attempt under way is ended, and its record says so; None for never. See
                `is_out_of_time`.

        Raises:
            JobError: what is not the trial's own affair.
        """
        ...

    def abandon(self) -> None:
        """Give up all attempts under way: no record of them comes back."""
        ...


class InlineExecutor:
    """Runs trials one after the other in the driver's own process, where none can be ended from outside."""

    slots = 1

    def __init__(self, run: Callable[[TrialRequest], TrialRecord]) -> None:
        self._run = run
        self._submitted: deque[TrialRequest] = deque()

    def submit(self, request: TrialRequest) -> None:
        """Keep the request; `wait` runs it."""
        self._submitted.append(request)

    def wait(self, patience: float | None = None) -> TrialRecord:
        """Run the oldest request, however long it takes. Raises TrainingPausedError: see run_trial."""
        del patience
        with unbroken():
            return self._run(self._submitted.popleft())

    def abandon(self) -> None:
        """Forget what was not begun."""
        self._submitted.clear()


@contextmanager
def open_executor(spec: JobSpec, plan: TrialPlan, *, log_fields: Mapping[str, str]) -> Iterator[Executor]:
    """The executor that the spec asks for; its workers end with the block.

    Args:
        spec: how many trials at a time, and where.
        plan: what they train.
        log_fields: bound to every event of a worker.
    """
    if spec.resources.executor == "inline":
        yield InlineExecutor(_inline(plan))
        return
    from job.search.processes import ProcessExecutor, ProcessLimits  # noqa: PLC0415 - inline runs do without

    resources = available_resources()
    prepared_bytes = plan.files.size
    timeout = spec.limits.trial_timeout
    limits = ProcessLimits(
        trial_timeout=None if timeout is None else timeout.total_seconds(),
        worker_memory=_GROWTH * worker_memory(prepared_bytes),
        grace=_SHARE_OF_GRACE * spec.limits.grace_period.total_seconds(),
        silence=_SILENCE_SECONDS if spec.logs.level in {"debug", "info"} else None,
    )
    settings = _worker_settings(spec, plan, resources, log_fields, prepared_bytes)
    get_logger().info("workers started", workers=len(settings), cores=resources.cores, gpus=len(resources.gpus))
    with ProcessExecutor(settings, limits) as executor, MemoryWatch(executor, resources.memory):
        yield executor


def _worker_settings(
    spec: JobSpec, plan: TrialPlan, resources: Resources, log_fields: Mapping[str, str], prepared_bytes: int
) -> list[WorkerSetting]:
    """One setting per slot; GPUs are dealt out in turn, one to a worker."""
    return [
        WorkerSetting(
            plan=plan,
            threads=spec.resources.threads_per_trial,
            log_level=spec.logs.level,
            log_fields=log_fields,
            environment=(
                {"CUDA_VISIBLE_DEVICES": resources.gpus[number % len(resources.gpus)]} if resources.gpus else {}
            ),
        )
        for number in range(slot_count(spec, resources, prepared_bytes))
    ]


def _inline(plan: TrialPlan) -> Callable[[TrialRequest], TrialRecord]:
    setting: TrialSetting | None = None

    def run(request: TrialRequest) -> TrialRecord:
        from job.training.trial import run_trial  # noqa: PLC0415 - TensorFlow, once it is configured

        nonlocal setting
        setting = setting or plan.open()
        return run_trial(request, setting)

    return run
