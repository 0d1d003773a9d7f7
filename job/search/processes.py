"""Trials in local worker processes, one pool of a single worker per slot.

A pool of one is the sturdiest: what happens to a worker concerns its own trial and nobody else's. A worker that dies,
passes its time or has grown is replaced, with its pool and its pipes, so that nothing half-read is left over.
"""

import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from types import TracebackType
from typing import Self

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from job.logs import bound, get_logger, log_forwarded
from job.records import FailureKind, TrialRecord, TrialRequest, lost_trial
from job.search.stopping import OUT_OF_TIME
from job.search.worker import WorkerAnswer, WorkerSetting, run_in_worker, start_worker, warm_up
from job.training.fork_server import worker_context

# A record may overtake its trial's last events, which take another pipe; that long it waits for them.
_EVENTS_SECONDS = 2.0
# A trial that looks at its own time ends tidily; the pool's timeout is for one that cannot.
_TIMEOUT_SLACK = 1.1
# Of every graph that was traced TensorFlow keeps something, and Python's collector walks all of it: with 1,000 graphs a
# trial took twice as long. A forked worker is there at once.
_TRIALS_PER_WORKER = 100
# How often silence is looked for; and so long a killed worker may take to be gone.
_LOOK_SECONDS = 5.0
_JOIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """When a worker is ended.

    Attributes:
        trial_timeout: seconds; None for never.
        worker_memory: bytes, looked at between trials.
        grace: seconds for trials under way to write their checkpoints, when the search ends before they do.
        silence: seconds without an event after which a trial is warned of; None for never.
    """

    trial_timeout: float | None
    worker_memory: int
    grace: float = 10.0
    silence: float | None = None


class _Slot:
    """One worker process at a time, its pipes and its trial."""

    def __init__(self, setting: WorkerSetting, context: ForkServerContext) -> None:
        self._setting = setting
        self._context = context
        self.request: TrialRequest | None = None
        self.lineage: tuple[int, int, int] | None = None
        self.future: ProcessFuture[WorkerAnswer] | None = None
        self.started = 0.0
        # When the trial under way last said something, or was last said to be silent.
        self.heard = 0.0
        self.pid: int | None = None
        self.trials = 0
        self._open()

    def _open(self) -> None:
        # The driver keeps the writing end of the lifeline; it closes when the driver dies.
        worker_lifeline, self._lifeline = self._context.Pipe(duplex=False)
        self._events, worker_events = self._context.Pipe(duplex=False)
        self._worker_ends = (worker_lifeline, worker_events)
        self.trials = 0
        self._drained = threading.Semaphore(0)
        self._pool = ProcessPool(
            max_workers=1,
            initializer=start_worker,
            initargs=(self._setting, worker_lifeline, worker_events),
            context=self._context,
        )
        # Starts the worker at once, while the driver still plans.
        self._ready: ProcessFuture[int] = self._pool.schedule(warm_up)
        self._ready.add_done_callback(self._take_pid)
        threading.Thread(target=self._forward, args=(self._events, self._drained), daemon=True).start()

    def _take_pid(self, future: concurrent.futures.Future[int]) -> None:
        with contextlib.suppress(Exception):
            self.pid = future.result()

    def _forward(self, events: Connection, drained: threading.Semaphore) -> None:
        """Log a worker's events as they come; a worker that dies in the middle of one leaves it unread."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = events.recv_bytes()
                self.heard = time.monotonic()
                if message:
                    log_forwarded(json.loads(message))
                else:
                    drained.release()

    def start(self, request: TrialRequest, timeout: float | None) -> None:
        self.request = request
        self.trials += 1
        self.lineage = _lineage(request)
        self.started = self.heard = time.monotonic()
        limit = None if timeout is None else timeout * _TIMEOUT_SLACK + 1
        self.future = self._pool.schedule(run_in_worker, args=(request,), timeout=limit)

    def await_events(self) -> None:
        self._drained.acquire(timeout=_EVENTS_SECONDS)

    def clear(self) -> None:
        self.request = None
        self.future = None

    def replace_worker(self) -> None:
        """A new worker, in a new pool with new pipes."""
        self.close()
        self._open()

    def ask_to_pause(self) -> None:
        """Have the trial under way write its checkpoint and end."""
        with contextlib.suppress(OSError):
            self._lifeline.send_bytes(b"stop")

    def close(self) -> None:
        """End the worker and wait for its end."""
        # Stopped first, or the pool would replace the worker.
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble's annotations have gaps
        # The worker has nothing to tidy up, and does not listen to the pool's SIGTERM.
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.pid = None
        with contextlib.suppress(TimeoutError):
            self._pool.join(_JOIN_SECONDS)
        for end in (*self._worker_ends, self._lifeline, self._events):
            end.close()


class ProcessExecutor:
    """Runs trials in local processes; see Executor.

    Args:
        settings: one per slot.
        limits: when a worker is replaced.
    """

    def __init__(self, settings: list[WorkerSetting], limits: ProcessLimits) -> None:
        self._limits = limits
        context = worker_context()
        # Starting a worker waits until the fork server has imported, seconds in which the driver imports, too.
        starting = ThreadPoolExecutor(len(settings), thread_name_prefix="start-worker")
        self._starting = [starting.submit(_Slot, setting, context) for setting in settings]
        starting.shutdown(wait=False)
        self._ended_for: dict[int, str] = {}

    @property
    def slots(self) -> int:
        """How many trials run at a time."""
        return len(self._starting)

    @property
    def _slots(self) -> list[_Slot]:
        return [slot.result() for slot in self._starting]

    @property
    def _started(self) -> list[_Slot]:
        """Those that need not be waited for."""
        return [slot.result() for slot in self._starting if slot.done() and slot.exception() is None]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.pause(self._limits.grace)
        self.close()

    def submit(self, request: TrialRequest) -> None:
        """Start an attempt on a free worker."""
        free = [slot for slot in self._slots if slot.request is None]
        # The worker that trained the rung below has its graph.
        slot = next((slot for slot in free if slot.lineage == _lineage(request)), free[0])
        slot.start(request, self._limits.trial_timeout)

    def wait(self, patience: float | None = None) -> TrialRecord:
        """Return the record of the next attempt to end, however it ended; see Executor."""
        deadline = None if patience is None else time.monotonic() + patience
        futures = {slot.future: slot for slot in self._slots if slot.future is not None}
        while True:
            left = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, max(0.0, deadline - time.monotonic()))
            done, _ = concurrent.futures.wait(futures, left, return_when=concurrent.futures.FIRST_COMPLETED)
            if done:
                slot = futures[next(future for future in futures if future in done)]
                record = self._record_of(slot)
                slot.clear()
                return record
            if deadline is not None and time.monotonic() >= deadline:
                return self._end_one(min(futures.values(), key=lambda slot: slot.started))
            self._tell_of_silence(futures.values())

    def _end_one(self, slot: _Slot) -> TrialRecord:
        record = _lost(slot, "timed_out", OUT_OF_TIME)
        slot.clear()
        slot.replace_worker()
        return record

    def _tell_of_silence(self, slots: Iterable[_Slot]) -> None:
        for slot in slots:
            silent = time.monotonic() - slot.heard
            if self._limits.silence is not None and silent >= self._limits.silence and slot.request is not None:
                slot.heard = time.monotonic()
                seconds = round(time.monotonic() - slot.started)
                with bound(trial_id=slot.request.trial_id):
                    get_logger().warning("a trial says nothing", silent_seconds=round(silent), seconds=seconds)

    def abandon(self) -> None:
        """End the workers of all attempts under way; others take their place."""
        for slot in self._slots:
            if slot.request is not None:
                slot.clear()
                slot.replace_worker()

    def _record_of(self, slot: _Slot) -> TrialRecord:
        if slot.future is None or slot.request is None:
            raise RuntimeError("the slot is free")
        try:
            answer = slot.future.result()
        except TimeoutError:
            limit = self._limits.trial_timeout
            record = _lost(slot, "timed_out", f"took longer than limits.trial_timeout ({limit:g} s)")
        except (ProcessExpired, BrokenProcessPool) as error:
            record = _lost(slot, *self._death_of(slot, error))
        else:
            slot.await_events()
            if answer.memory > self._limits.worker_memory or slot.trials >= _TRIALS_PER_WORKER:
                get_logger().debug("worker replaced", memory=answer.memory, trials=slot.trials)
                slot.replace_worker()
            if answer.record is None:
                raise RuntimeError("a trial was paused that nobody asked to")
            return answer.record
        slot.replace_worker()
        return record

    def _death_of(self, slot: _Slot, error: Exception) -> tuple[FailureKind, str]:
        reason = self._ended_for.pop(slot.pid or -1, None)
        if reason is not None:
            return "error", reason
        code = getattr(error, "exitcode", None)
        if isinstance(code, int) and code < 0:
            # No code kills itself so: native code that crashes dies by another signal.
            kind: FailureKind = "killed" if -code == signal.SIGKILL else "error"
            return kind, f"the worker process was killed by {signal.Signals(-code).name}"
        return "error", f"the worker process died (exit code {code})"

    def pause(self, seconds: float) -> None:
        """Have all trials under way write their checkpoints, for so long at most."""
        running = [slot for slot in self._started if slot.future is not None]
        for slot in running:
            slot.ask_to_pause()
        concurrent.futures.wait([slot.future for slot in running if slot.future is not None], seconds)

    def end_worker(self, pid: int, reason: str | None) -> None:
        """Kill a worker; its trial fails with this reason, or as by a kill from outside. Safe in any thread."""
        if reason is not None:
            self._ended_for[pid] = reason
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def worker_pids(self) -> list[int]:
        """The processes of all workers that are ready."""
        return [slot.pid for slot in self._started if slot.pid is not None]

    def close(self) -> None:
        """End all workers, and wait for their end."""
        concurrent.futures.wait(self._starting)
        threads = [threading.Thread(target=slot.close) for slot in self._started]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _lineage(request: TrialRequest) -> tuple[int, int, int]:
    return request.iteration, request.bracket, request.index


def _lost(slot: _Slot, failure: FailureKind, error: str) -> TrialRecord:
    """The record of an attempt whose worker did not live to write one."""
    request = slot.request
    if request is None:
        raise RuntimeError("the slot is free")
    return lost_trial(
        request,
        failure,
        error,
        seconds=round(time.monotonic() - slot.started, 3),
        worker=f"{socket.gethostname()}:{slot.pid}",
    )
