"""Ending the main thread's work from another thread."""

import signal
import threading
import time

import pytest

from job.errors import StoreError
from job.interruption import Interruption


def test_a_reason_from_another_thread_ends_a_wait():
    """The main thread is woken from whatever it waits for, and raises the reason."""
    interruption = Interruption()
    timer = threading.Timer(0.1, interruption.interrupt, [StoreError("given up")])
    timer.start()
    started = time.monotonic()
    with pytest.raises(StoreError, match="given up"), interruption.raised_here():
        threading.Event().wait(60)
    assert time.monotonic() - started < 30
    timer.join()


def test_no_handler_of_the_block_swallows_it():
    """`except Exception` inside the block does not stop it."""
    interruption = Interruption()

    def work():
        try:
            interruption.interrupt(StoreError("given up"))
            time.sleep(60)
        except Exception:  # noqa: BLE001 - what users' code does
            pytest.fail("swallowed")

    with pytest.raises(StoreError), interruption.raised_here():
        work()


def test_a_reason_from_before_the_block_counts():
    """What came before the block is raised as it is entered."""
    interruption = Interruption()
    interruption.interrupt(StoreError("first"))
    interruption.interrupt(StoreError("second"))
    with pytest.raises(StoreError, match="first"), interruption.raised_here():
        pytest.fail("entered")


def test_after_the_block_nothing_is_raised():
    """A reason that comes too late does nothing, and a signal that does ends nobody."""
    interruption = Interruption()
    with interruption.raised_here():
        pass
    interruption.interrupt(StoreError("late"))
    signal.raise_signal(signal.SIGUSR1)


def test_a_block_of_another_thread_is_left_alone():
    """Only the main thread has handlers: elsewhere the block runs to its end."""
    interruption = Interruption()
    done = []

    def work():
        with interruption.raised_here():
            interruption.interrupt(StoreError("given up"))
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
