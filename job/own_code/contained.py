"""Running the user's own code in a process of its own: a crash, a hang or an exit in it becomes a clear message."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import structlog

from job.child_process import end_with_forking_parent
from job.errors import JobError
from job.logs import PrintedLines, bind, configure_worker, log_forwarded
from job.own_code.own_code import OwnCode, code_error

T = TypeVar("T")
# Tells what is being done, for whoever must explain that the process died in the middle of it.
Report = Callable[[str], None]


def run_contained(
    context: BaseContext,
    code: OwnCode,
    work: Callable[..., T],
    *arguments: object,
    patience: float,
    level: str = "info",
) -> T:
    """Do work in a new process and return what it returns.

    What is printed there, to whichever of the standard streams, is an event of the log.

    Args:
        context: how to start the process.
        code: whose it is.
        work: a function of a module; called with a `Report` and the arguments.
        arguments: can be pickled, as must what `work` returns.
        patience: seconds that it may take.
        level: the least of what is logged.

    Raises:
        JobError: what `work` raises; ModelCodeError or DataError where the process dies or takes too long.
    """
    ours, theirs = context.Pipe(duplex=False)
    fields = structlog.contextvars.get_contextvars()
    process: BaseProcess = context.Process(  # type: ignore[attr-defined]  # every context has one
        target=_contained, args=(theirs, level, fields, work, arguments), name="own-code", daemon=True
    )
    process.start()
    theirs.close()
    try:
        answer: T = _answer(process, ours, code, patience)
    finally:
        # It has nothing to tidy up.
        if process.pid is not None and process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        process.join()
        ours.close()
    return answer


def _answer(process: BaseProcess, answers: Connection, code: OwnCode, patience: float) -> Any:  # noqa: ANN401 - of `work`
    deadline = time.monotonic() + patience
    doing = "started"
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not wait([answers], left):
            raise code_error(
                code.section,
                f"{code.shown}: the code was still being {doing} after {patience:g} s and was ended",
                advice="Run it on its own to see where it hangs.",
            )
        try:
            kind, content = answers.recv()
        except (EOFError, OSError):
            process.join()
            raise code_error(
                code.section,
                f"{code.shown}: the process died ({_end_of(process.exitcode)}) while the code was being {doing}",
                advice="Run it on its own: native code has crashed, or memory has run out.",
            ) from None
        if kind == "event":
            log_forwarded(json.loads(content))
        elif kind == "doing":
            doing = content
        elif kind == "error":
            raise content
        elif kind == "unforeseen":
            raise RuntimeError(content)
        else:
            return content


def _end_of(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _contained(
    answers: Connection, level: str, fields: dict[str, Any], work: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    # The driver decides what becomes of this process, and takes it along when it dies.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_forking_parent()
    sending = threading.Lock()

    def send(kind: str, content: object) -> None:
        with sending:
            answers.send((kind, content))

    configure_worker(level, lambda event: send("event", event))
    bind(**fields)
    # Standard output carries the log alone; what native code or a child process prints goes to standard error.
    os.dup2(2, 1)
    sys.stdout = sys.stderr = PrintedLines()
    try:
        result = work(lambda doing: send("doing", doing), *arguments)
    except JobError as error:
        send("error", error)
    except BaseException:  # noqa: BLE001 - it is raised again on the other side
        send("unforeseen", traceback.format_exc())
    else:
        send("result", result)
    # Threads that the user's code has left would keep the process alive.
    answers.close()
    os._exit(0)
