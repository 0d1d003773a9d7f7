"""`python -m job`, and the console script `tuning-job`."""

import os
import signal
import sys
from types import FrameType


def entry_point() -> None:
    """Run this process's command line and end with its exit code."""
    # The imports below take a moment, and PID 1 of a container would not hear the signal: it has no default action.
    signal.signal(signal.SIGTERM, _end_at_once)
    from job.cli import main  # noqa: PLC0415 - see above

    sys.exit(main(sys.argv[1:], os.environ))


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """Before a run has begun, or after its end, there is nothing to be stored."""
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    entry_point()
