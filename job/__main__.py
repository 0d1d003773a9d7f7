"""`python -m job`, and the console script `tuning-job`."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType


def entry_point() -> None:
    """Run this process's command line and end with its exit code."""
    # The imports below take a moment, and PID 1 of a container would not hear the signal: it has no default action.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_at_once)
    _open_standard_streams()
    from job.cli import main  # noqa: PLC0415 - see above

    code = main(sys.argv[1:], os.environ)
    _flush_standard_streams()
    sys.exit(code)


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    """Before a run has begun, or after its end, there is nothing to be stored."""
    os._exit(128 + number)


def _open_standard_streams() -> None:
    """Have something stand where a stream was closed: the next file to be opened would take its number."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, which is this one; child processes need it as well.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - it takes no keyword
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def _flush_standard_streams() -> None:
    """Give up what cannot be written any more; Python would end with another exit code for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    entry_point()
