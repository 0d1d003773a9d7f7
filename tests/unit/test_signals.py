"""SIGTERM and SIGINT as errors: at once where work can be done again, at a pause where it trains. Real signals."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from job.errors import InterruptedByUser, JobError, Preempted
from job.signals import signals_as_errors, unbroken
from job.stop_request import TrainingPausedError, clear_stop_request, request_stop, stop_requested


@pytest.fixture(autouse=True)
def _no_request_left():
    yield
    clear_stop_request()


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Preempted), (signal.SIGINT, InterruptedByUser)])
def test_a_signal_ends_the_block(number, error):
    """Each signal has its own error, and what comes after it in the block does not happen."""
    happened = []

    def work():
        with signals_as_errors():
            send(number)
            happened.append("after")

    with pytest.raises(error):
        work()
    assert not happened


def test_handlers_are_put_back():
    """After the block the process handles signals as before."""
    before = signal.getsignal(signal.SIGTERM)
    with signals_as_errors():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_waits_for_the_pause_of_what_pauses_by_itself():
    """Where training looks at the request itself, the signal does not break in between a step and its note."""
    steps = []

    def train():
        with unbroken():
            for step in range(5):
                if step == 2:
                    send(signal.SIGTERM)
                steps.append(step)
                if stop_requested():
                    raise TrainingPausedError

    with pytest.raises(Preempted), signals_as_errors():
        train()
    assert steps == [0, 1, 2]


def test_a_block_that_does_not_pause_is_left_at_its_end():
    """A signal during the last step of training is not lost."""
    happened = []

    def train():
        with unbroken():
            send(signal.SIGTERM)
            happened.append("step")
        happened.append("after")

    with pytest.raises(Preempted), signals_as_errors():
        train()
    assert happened == ["step"]


def test_no_exception_handler_of_a_trial_swallows_it():
    """Whatever catches every Exception around a step does not catch the stop."""

    def swallow():
        try:
            send(signal.SIGTERM)
        except Exception:  # noqa: BLE001 - what is tested
            return "swallowed"
        return "not raised"

    with pytest.raises(JobError), signals_as_errors():
        swallow()


def test_an_earlier_request_does_not_stop_the_next_job():
    """A process that runs one job after the other begins each anew."""
    request_stop()
    with signals_as_errors():
        assert not stop_requested()


def run(program):
    """Run a program that is to end by itself; its exit code and output."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


def test_a_second_signal_ends_the_process_as_it_stands():
    """Nothing is waited for any more, not even a block that pauses by itself."""
    code, output = run("""
        import os, signal
        from job.signals import unbroken, signals_as_errors

        with signals_as_errors(), unbroken():
            os.kill(os.getpid(), signal.SIGTERM)
            print("still here", flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
            print("not here", flush=True)
    """)
    assert (code, output) == (143, "still here\n")


def test_the_grace_period_ends_what_does_not_end():
    """Past the grace period the process says its last words and is gone, with the signal's exit code."""
    code, output = run("""
        import os, signal, time
        from job.errors import Preempted
        from job.signals import grace_period, signals_as_errors

        with grace_period(0.2, lambda: print("last words", flush=True)):
            try:
                with signals_as_errors():
                    os.kill(os.getpid(), signal.SIGTERM)
            except Preempted:
                while True:
                    time.sleep(0.01)
    """)
    assert (code, output) == (143, "last words\n")
