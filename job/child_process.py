"""A module of this package, run in a process of its own: for what prints, crashes, or sets up TensorFlow too early.

The parent waits; the child ends when the parent does, however that dies.
"""

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from multiprocessing.connection import wait
from pathlib import Path

_STANDARD_INPUT = 0
# What reads files is given so long, and a second for so many bytes: far more than any disk needs.
_READING_SECONDS = 600.0
_READING_BYTES = 2**20


def run_module(
    module: str,
    argument: Path,
    *,
    output: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> int | str:
    """Run `python -m module argument` from start to end.

    Args:
        module: of this package; calls `end_with_parent` first of all.
        argument: a file or folder.
        output: the file for all that it prints.
        environment: variables in addition to this process's.
        timeout: seconds that it may take.

    Returns:
        Its exit code, negative for a signal; or what happened instead, in words.
    """
    with (
        output.open("wb") as written,
        subprocess.Popen(  # noqa: S603 - this package's own module
            [sys.executable, "-m", module, str(argument)],
            # Held open: see `end_with_parent`.
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment or {}),
        ) as process,
    ):
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return "no answer in time"
        finally:
            # Also where a signal ends the wait.
            process.kill()


def reading_patience(files: Iterable[Path]) -> float:
    """Return after how many seconds a child that reads these files has to be taken for hanging."""
    # One that is gone by now is the child's to tell.
    return _READING_SECONDS + sum(file.stat().st_size for file in files if file.exists()) / _READING_BYTES


def end_with_parent() -> None:
    """In such a child: end at once when the parent's end of the pipe closes."""
    threading.Thread(target=_wait_for_end_of_file, daemon=True).start()


def _wait_for_end_of_file() -> None:
    # Not `sys.stdin`: its lock, held by a thread that waits, aborts the interpreter's own end.
    while os.read(_STANDARD_INPUT, 16):
        pass
    os._exit(1)


def end_with_forking_parent() -> None:
    """In a process that `multiprocessing` has started: end at once when the one that started it has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for_end, args=(parent.sentinel,), daemon=True).start()


def _wait_for_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def last_words(output: Path) -> str:
    """The last line that a child has printed, for messages."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
