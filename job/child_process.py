"""A module of this package, run in a process of its own: for what prints, crashes, or sets up TensorFlow too early.

The parent waits; the child ends when the parent does, however that dies.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_STANDARD_INPUT = 0


class Child:
    """`python -m module argument`, started at once; it may wait, once it is ready, until it is told to begin.

    Args:
        module: of this package; calls `end_with_parent` first of all.
        argument: a file or folder.
        output: the file for all that it prints.
        environment: variables in addition to this process's.
    """

    def __init__(
        self, module: str, argument: Path, *, output: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        with output.open("wb") as written:
            self._process = subprocess.Popen(  # noqa: S603 - this package's own module
                [sys.executable, "-m", module, str(argument)],
                # Held open: see `end_with_parent`.
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(environment or {}),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Also where a signal ends a wait.
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def begin(self) -> None:
        """Tell it to begin; one that has ended already is told nothing."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(b"begin")
                self._process.stdin.flush()

    def wait(self, timeout: float | None = None) -> int | str:
        """Return its exit code, negative for a signal, once it has ended; or what happened instead, in words."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return "no answer in time"


def run_module(
    module: str,
    argument: Path,
    *,
    output: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> int | str:
    """Run `python -m module argument` from start to end; see `Child`.

    Returns:
        Its exit code, negative for a signal; or what happened instead, in words.
    """
    with Child(module, argument, output=output, environment=environment) as child:
        child.begin()
        return child.wait(timeout)


def end_with_parent() -> threading.Event:
    """In the child: end at once when the parent's end of the pipe closes.

    Returns:
        An event that is set once the parent says that the child may begin.
    """
    begun = threading.Event()
    threading.Thread(target=_wait_for_end_of_file, args=(begun,), daemon=True).start()
    return begun


def _wait_for_end_of_file(begun: threading.Event) -> None:
    # Not `sys.stdin`: its lock, held by a thread that waits, aborts the interpreter's own end.
    while os.read(_STANDARD_INPUT, 16):
        begun.set()
    os._exit(1)


def last_words(output: Path) -> str:
    """The last line that a child has printed, for messages."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
