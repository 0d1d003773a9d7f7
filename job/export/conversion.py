"""The process that converts and compares: `python -m job.export.conversion FOLDER`. See `job.export.request`.

It prints whatever its libraries print, imports what they import, and may be aborted by them: each answer is written as
soon as it is known, so that the format at fault is the first one without.
"""

import sys
from pathlib import Path

import numpy as np

from job.child_process import end_with_parent
from job.data.arrays import AnyArray
from job.export.comparison import UnlikeError, greatest_difference
from job.export.formats import FORMATS, CannotHoldError
from job.export.request import Answer, Exchange, Request, Task


def main(folder: Path) -> None:
    """Do all tasks of the request in a folder."""
    end_with_parent()
    exchange = Exchange(folder)
    request = Request.model_validate_json(exchange.request.read_bytes())
    stored = np.load(exchange.rows)
    rows = {one.name: stored[str(index)] for index, one in enumerate(request.inputs)}
    for task in request.tasks:
        answer = _answer(task, request, folder, rows)
        with exchange.answers.open("a", encoding="utf-8") as file:
            file.write(answer.model_dump_json() + "\n")


def _answer(task: Task, request: Request, folder: Path, rows: dict[str, AnyArray]) -> Answer:
    way = FORMATS[task.format]
    try:
        way.make(folder / task.saved_model, folder / task.target)
        found = way.load(folder / task.target, request.outputs)(rows)
    except CannotHoldError as error:
        return Answer(format=task.format, problem=error.reason, operations=error.operations)
    except Exception as error:  # noqa: BLE001 - runtimes raise what they like; all of it says that the file is no use
        said = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return Answer(format=task.format, problem=f"its own runtime cannot use the file: {said}")
    stored = np.load(folder / task.expected)
    expected = {one.name: stored[str(index)] for index, one in enumerate(request.outputs)}
    try:
        difference = greatest_difference(found, expected)
    except UnlikeError as error:
        return Answer(format=task.format, problem=f"it predicts other than Keras: {error}", runtime=way.runtime())
    problem = None
    if difference > task.tolerance:
        problem = f"its predictions differ from Keras's by {difference:.3g}, more than {task.tolerance:g}"
    return Answer(format=task.format, problem=problem, difference=difference, runtime=way.runtime())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
