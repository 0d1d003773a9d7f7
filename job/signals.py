"""SIGTERM and SIGINT as errors, so that a stopped job ends like any other: logs flushed, exit code told."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from job.errors import InterruptedByUser, JobError, Preempted

_ADVICE = "the same command with the same run id goes on from here"


class _StoppedError(BaseException):
    """On its way from the handler to the block's end. No Exception: whatever code runs now must not swallow it."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.message)
        self.error = error


@contextmanager
def signals_as_errors() -> Iterator[None]:
    """End the block with Preempted on SIGTERM and with InterruptedByUser on SIGINT. Blocks may nest.

    As PID 1 of a container a process has no default handler for SIGTERM: without one it would be ignored. Only the main
    thread can have handlers; in another one the block is left as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, _preempt),
        signal.SIGINT: signal.signal(signal.SIGINT, _interrupt),
    }
    try:
        yield
    except _StoppedError as stopped:
        raise stopped.error from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _preempt(_number: int, _frame: FrameType | None) -> None:
    raise _StoppedError(Preempted("stopped by SIGTERM", advice=_ADVICE))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise _StoppedError(InterruptedByUser("stopped by SIGINT", advice=_ADVICE))
