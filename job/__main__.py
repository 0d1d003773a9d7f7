"""`python -m job`, and the console script `tuning-job`."""

import os
import sys

from job.cli import main


def entry_point() -> None:
    """Run this process's command line and end with its exit code."""
    sys.exit(main(sys.argv[1:], os.environ))


if __name__ == "__main__":
    entry_point()
