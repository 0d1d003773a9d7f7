"""Ends what the main thread does from another thread, however long that would still take.

An upload that is given up, or a lease that is lost, must end the job now and not when the next trial ends, which may be
hours away. A signal to the main thread wakes it from whatever it waits for, and its handler raises there.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Of no other use in this process.
_SIGNAL = signal.SIGUSR1


class _InterruptedError(BaseException):
    """On its way from the handler to the block's end. No Exception: whatever code runs now must not swallow it."""


class Interruption:
    """Takes the reason to end from any thread, and raises it in the main thread's block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_armed = False
        self._reason: Exception | None = None

    def interrupt(self, reason: Exception) -> None:
        """End the block of `raised_here`, or the one that will be entered; the first reason counts."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            if self._is_armed:
                signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)

    @contextmanager
    def raised_here(self) -> Iterator[None]:
        """The block that ends with the reason; once it has ended no call does anything.

        Only the main thread can have handlers: a block in another one ends by itself alone.

        Raises:
            Exception: the reason.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(_SIGNAL, self._handle)
        with self._lock:
            self._is_armed = True
            reason = self._reason
        try:
            if reason is not None:
                raise reason
            yield
        except _InterruptedError:
            if self._reason is None:
                raise
            raise self._reason from None
        finally:
            self._is_armed = False
            # A signal that comes too late must find a handler all the same: without one it would end the process.
            signal.signal(_SIGNAL, signal.SIG_IGN if previous is signal.SIG_DFL else previous)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        # Without the lock: its holder may be what this interrupts.
        if self._is_armed:
            self._is_armed = False
            raise _InterruptedError
