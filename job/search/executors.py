"""Executors: where trials run. The driver hands requests over and takes records back; workers keep nothing."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from job.records import TrialRecord
from job.training.trial import TrialRequest


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

    def wait(self) -> TrialRecord:
        """The record of the next attempt to end. Only while one is under way. Raises JobError."""
        ...


class InlineExecutor:
    """Runs trials one after the other in the driver's own process."""

    slots = 1

    def __init__(self, run: Callable[[TrialRequest], TrialRecord]) -> None:
        self._run = run
        self._submitted: deque[TrialRequest] = deque()

    def submit(self, request: TrialRequest) -> None:
        """Keep the request; `wait` runs it."""
        self._submitted.append(request)

    def wait(self) -> TrialRecord:
        """Run the oldest request."""
        return self._run(self._submitted.popleft())
