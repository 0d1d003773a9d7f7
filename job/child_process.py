"""A module of this package, run in a process of its own: for what prints, crashes, or sets up TensorFlow too early.

The parent waits; the child ends when the parent does, however that dies.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

_STANDARD_INPUT = 0


def run_module(
    module: str,
    argument: Path,
    *,
    output: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> int | str:
    """Run `python -m module argument`.

    Args:
        module: of this package; calls `end_with_parent` first of all.
        argument: a file or folder.
        output: the file for all that it prints.
        environment: variables in addition to this process's.
        timeout: seconds; None for no limit.

    Returns:
        Its exit code, negative for a signal; or what happened instead, in words.
    """
    with output.open("wb") as written:
        process = subprocess.Popen(  # noqa: S603 - this package's own module
            [sys.executable, "-m", module, str(argument)],
            # Held open: see `end_with_parent`.
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment or {}),
        )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return "no answer in time"
    finally:
        # Also where a signal ends the wait.
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def end_with_parent() -> None:
    """In the child: end at once when the parent's end of the pipe closes."""
    threading.Thread(target=_wait_for_end_of_file, daemon=True).start()


def _wait_for_end_of_file() -> None:
    # Not `sys.stdin`: its lock, held by a thread that waits, aborts the interpreter's own end.
    while os.read(_STANDARD_INPUT, 1):
        pass
    os._exit(1)


def last_words(output: Path) -> str:
    """The last line that a child has printed, for messages."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
