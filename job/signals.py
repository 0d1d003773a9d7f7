"""SIGTERM and SIGINT as errors, so that a stopped job ends like any other: logs flushed, exit code told."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from job.errors import InterruptedByUser, Preempted

_ADVICE = "the same command with the same run id goes on from here"


@contextmanager
def signals_as_errors() -> Iterator[None]:
    """Raise Preempted on SIGTERM and InterruptedByUser on SIGINT inside the block; main thread only.

    As PID 1 of a container a process has no default handler for SIGTERM: without one it would be ignored.
    """
    previous = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, _preempt),
        signal.SIGINT: signal.signal(signal.SIGINT, _interrupt),
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _preempt(_number: int, _frame: FrameType | None) -> None:
    raise Preempted("stopped by SIGTERM", advice=_ADVICE)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise InterruptedByUser("stopped by SIGINT", advice=_ADVICE)
