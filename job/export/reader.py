"""The process that converts and loads, as seen by the one that asks it."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from job.child_process import last_words
from job.export.conversion import answer_request
from job.export.request import Answer, Request, Task
from job.logs import get_logger
from job.own_code import OwnCode
from job.training.fork_server import worker_context

# A conversion takes seconds; one that takes so long never ends.
_TIMEOUT_SECONDS = 1800.0
_SHOWN_NOISE = 4000
_NOISE = "output.txt"


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A process that loads what is written in a folder, once; it may be handed to another process of this one's.

    Attributes:
        folder: holds what is to be loaded.
        code: the user's own, for files that Keras refuses without it.
    """

    connection: Connection
    folder: Path
    code: OwnCode | None = None

    def answers(self, tasks: Sequence[Task]) -> dict[str, Answer]:
        """Return an answer for every task, by its target. Only once, but for no tasks at all."""
        if not tasks:
            return {}
        answers: dict[str, Answer] = {}
        ended = self._ask(Request(tasks=tuple(tasks), code=self.code), answers)
        noise = self.folder / _NOISE
        said = noise.read_text(encoding="utf-8", errors="replace")[-_SHOWN_NOISE:] if noise.exists() else ""
        get_logger().debug("conversion ended", answers=len(answers), output=said)
        for task in tasks:
            if task.target not in answers:
                reason = f"the process that loads it {ended}: {last_words(noise) if said else 'it said nothing'}"
                answers[task.target] = Answer(target=task.target, problem=reason)
        return answers

    def _ask(self, request: Request, answers: dict[str, Answer]) -> str:
        """Take one answer after the other; what became of the process where some are missing."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        try:
            self.connection.send(request)
            while len(answers) < len(request.tasks):
                if not self.connection.poll(max(0.0, deadline - time.monotonic())):
                    return f"gave no answer in {_TIMEOUT_SECONDS:g} s"
                answer = self.connection.recv()
                answers[answer.target] = answer
        except (EOFError, OSError):
            return "has died"
        return "has ended"


@contextmanager
def open_reader(folder: Path, code: OwnCode | None = None) -> Iterator[Reader]:
    """Start the process that will load what is written in a folder, which is made or emptied; it ends with the block.

    It is forked from what workers are forked from, and has seen nothing of what this process or the user's code did.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    context = worker_context()
    ours, theirs = context.Pipe()
    process = context.Process(target=answer_request, args=(theirs, folder, folder / _NOISE), name="reader")
    process.start()
    theirs.close()
    try:
        yield Reader(ours, folder, code)
    finally:
        ours.close()
        # It has nothing to tidy up.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.join()
