"""The process that converts and loads, as seen by the one that asks it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from job.child_process import Child, last_words
from job.export.request import Answer, Exchange, Request, Task
from job.logs import get_logger
from job.own_code import OwnCode

# A conversion takes seconds; one that takes so long never ends.
_TIMEOUT_SECONDS = 1800.0
_SHOWN_NOISE = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """The process that loads what is written in a folder; it is told when to begin.

    Attributes:
        code: the user's own, for files that Keras refuses without it.
    """

    child: Child
    folder: Path
    code: OwnCode | None = None

    def answers(self, tasks: Sequence[Task]) -> dict[str, Answer]:
        """Let it begin, once; an answer for every task, by its target."""
        if not tasks:
            return {}
        exchange = Exchange(self.folder)
        request = Request(tasks=tuple(tasks), code=self.code)
        exchange.request.write_text(request.model_dump_json(), encoding="utf-8")
        self.child.begin()
        code = self.child.wait(_TIMEOUT_SECONDS)
        lines = exchange.answers.read_text(encoding="utf-8").splitlines() if exchange.answers.exists() else []
        answers = {answer.target: answer for answer in map(Answer.model_validate_json, lines)}
        noise = exchange.noise.read_text(encoding="utf-8", errors="replace")
        get_logger().debug("conversion ended", code=code, output=noise[-_SHOWN_NOISE:])
        for task in tasks:
            if task.target not in answers:
                reason = f"the process that loads it ended with {code}: {last_words(exchange.noise)}"
                answers[task.target] = Answer(target=task.target, problem=reason)
        return answers


@contextmanager
def open_reader(folder: Path, code: OwnCode | None = None) -> Iterator[Reader]:
    """Start the process that will load what is written in a folder, which is made or emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Compared on the processor; and without the working directory, where modules may lie that a reader does not have.
    environment = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONSAFEPATH": "1"}
    noise = Exchange(folder).noise
    with Child("job.export.conversion", folder, output=noise, environment=environment) as child:
        yield Reader(child, folder, code)
