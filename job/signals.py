"""SIGTERM and SIGINT as errors, so that a stopped job ends like any other: state stored, logs flushed, exit code told.

The first signal asks to stop. What trains in this process pauses at its next step and writes its checkpoint; anything
else is left at once, because all of it can be done again. The second signal ends the process as it stands, and so does
the end of the grace period.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from job.errors import InterruptedByUser, JobError, Preempted
from job.stop_request import TrainingPausedError, clear_stop_request, request_stop

_ADVICE = "the same command with the same run id goes on from here"


class StoppedError(BaseException):
    """On its way from the handler to the block's end. No Exception: whatever code runs now must not swallow it."""


class _Grace:
    """Ends the process so many seconds after the first signal."""

    def __init__(self, seconds: float, last_words: Callable[[], None]) -> None:
        self._seconds = seconds
        self._last_words = last_words
        self._timer: threading.Timer | None = None

    def begin(self, error: JobError) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._end, args=(error,))
            self._timer.daemon = True
            self._timer.start()

    def _end(self, error: JobError) -> None:
        self._last_words()
        _end_abruptly(error)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Handler:
    """What a signal does while the outermost block is open: there is one handler per process, and it is set once."""

    def __init__(self) -> None:
        self.may_raise = True

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if _received:
            _end_abruptly(_received[0])
        if number == signal.SIGTERM:
            _received.append(Preempted("stopped by SIGTERM", advice=_ADVICE))
        else:
            _received.append(InterruptedByUser("stopped by SIGINT", advice=_ADVICE))
        request_stop()
        if _graces:
            _graces[-1].begin(_received[0])
        if self.may_raise:
            raise StoppedError


_handlers: list[_Handler] = []
_graces: list[_Grace] = []
# What the first signal asked for, from the beginning of the outermost block.
_received: list[JobError] = []
_told: list[Callable[[JobError], None]] = []


@contextmanager
def told_of_abrupt_end(tell: Callable[[JobError], None]) -> Iterator[None]:
    """A block whose process may end with nothing of it being left: by a second signal, or past the grace period.

    Args:
        tell: called just before such an end with what the first signal asked for, from any thread; must not take long.
    """
    _told.append(tell)
    try:
        yield
    finally:
        _told.remove(tell)


def _end_abruptly(error: JobError) -> None:
    for tell in _told:
        with suppress(Exception):
            tell(error)
    os._exit(error.exit_code)


@contextmanager
def grace_period(seconds: float, last_words: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A block that lasts so long after a signal at most: then the process ends, with the signal's exit code.

    Args:
        seconds: from the first signal.
        last_words: called just before the end, from a thread; must not take long.
    """
    grace = _Grace(seconds, last_words)
    _graces.append(grace)
    try:
        yield
    finally:
        _graces.remove(grace)
        grace.cancel()


@contextmanager
def signals_as_errors() -> Iterator[None]:
    """End the block with Preempted on SIGTERM and with InterruptedByUser on SIGINT. Blocks may nest.

    The outermost sets the handlers; inner ones turn what was received into an error, for whoever logs it there. As PID
    1 of a container a process has no default handler for SIGTERM: without one it would be ignored. Only the main
    thread can have handlers; in another one the block is left as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
    elif _handlers:
        with _as_error():
            yield
    else:
        clear_stop_request()
        _received.clear()
        handler = _Handler()
        with _as_error():
            previous = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
            _handlers.append(handler)
            try:
                yield
            finally:
                # What comes from here on is too late to stop anything.
                handler.may_raise = False
                _handlers.clear()
                for number, old in previous.items():
                    signal.signal(number, old)


@contextmanager
def _as_error() -> Iterator[None]:
    try:
        yield
    except (StoppedError, TrainingPausedError):
        if not _received:
            raise
        raise _received[0] from None


def received() -> JobError | None:
    """Return what the first signal has asked for; None while there was none."""
    return _received[0] if _received else None


@contextmanager
def unbroken(*, is_last: bool = False) -> Iterator[None]:
    """A block that a signal does not break into: it looks at `stop_requested` by itself, or is short.

    Training would otherwise be met between a step and the note of it, and the checkpoint would be of neither.

    Args:
        is_last: nothing follows that could be stopped; otherwise a signal that came ends what is around the block.
    """
    if threading.current_thread() is not threading.main_thread() or not _handlers:
        yield
        return
    handler, before = _handlers[-1], len(_received)
    could_raise, handler.may_raise = handler.may_raise, False
    try:
        yield
    finally:
        handler.may_raise = could_raise
    if could_raise and not is_last and len(_received) > before:
        raise StoppedError
