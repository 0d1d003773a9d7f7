"""The process that converts, loads and compares: `python -m job.export.conversion FOLDER`. See `job.export.request`.

It prints whatever its libraries print, imports what they import, and may be aborted by them: each answer is written as
soon as it is known, so that the file at fault is the first one without.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from job.child_process import end_with_parent
from job.data.arrays import AnyArray
from job.export.comparison import SEED, Expected, UnlikeError, compare
from job.export.formats import FORMATS, CannotHoldError, Format
from job.export.request import Answer, Exchange, Request, Task
from job.own_code import OwnCode, describe

_LONGEST = 600


def main(folder: Path) -> None:
    """Do all tasks of the request in a folder, once there is one."""
    begun = end_with_parent()
    # While whoever asks is still busy with what is to be loaded.
    import tensorflow  # noqa: ICN001, F401, PLC0415 - imported, not used

    begun.wait()
    exchange = Exchange(folder)
    request = Request.model_validate_json(exchange.request.read_bytes())
    # Those that are to do without Keras first. Of Keras's own those that need the user's code come after all others:
    # what a module registers when it is imported is there for every file that is loaded later.
    for task in request.tasks:
        if task.format != "keras":
            _write(exchange, _answer(task, FORMATS[task.format], folder))
    unanswered = [task for task in request.tasks if task.format == "keras"]
    for code in (None,) if request.code is None else (None, request.code):
        answers = [_answer_of_keras(task, folder, code) for task in unanswered]
        for answer in answers:
            if answer.runtime or code is request.code:
                _write(exchange, answer)
        unanswered = [task for task, answer in zip(unanswered, answers, strict=True) if not answer.runtime]


def _write(exchange: Exchange, answer: Answer) -> None:
    with exchange.answers.open("a", encoding="utf-8") as file:
        file.write(answer.model_dump_json() + "\n")


def _answer(task: Task, way: Format, folder: Path) -> Answer:
    try:
        way.make(folder / task.source, folder / task.target)
        predict = way.load(folder / task.target, task.outputs)
        return _compared(task, folder, predict, way.runtime())
    except CannotHoldError as error:
        return Answer(target=task.target, problem=error.reason, operations=error.operations)
    except Exception as error:  # noqa: BLE001 - runtimes raise what they like; all of it says that the file is no use
        said = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return Answer(target=task.target, problem=f"its own runtime cannot use the file: {said}")


def _answer_of_keras(task: Task, folder: Path, code: OwnCode | None) -> Answer:
    import keras  # noqa: PLC0415 - which other formats must do without

    from job.export.reloading import load_published  # noqa: PLC0415 - likewise
    from job.export.saved_model import ServedModel  # noqa: PLC0415 - likewise
    from job.export.traits import traits_of  # noqa: PLC0415 - likewise

    try:
        model = load_published(folder / task.target, code)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        said = _in_words(error, code)
        return Answer(target=task.target, problem=f"it does not load again: {said}", needs_code=code is not None)
    runtime = f"Keras {keras.__version__}"
    # As whoever asked the trained model did: what it draws from no seed of its own begins alike.
    keras.utils.set_random_seed(SEED)
    try:
        answer = _compared(task, folder, ServedModel.of(model).predict, runtime)
    except Exception as error:  # noqa: BLE001 - likewise
        answer = Answer(target=task.target, problem=f"it cannot predict: {_in_words(error, code)}", runtime=runtime)
    traits = None if answer.problem is None else traits_of(model)
    return answer.model_copy(update={"needs_code": code is not None, "traits": traits})


def _in_words(error: Exception, code: OwnCode | None) -> str:
    point = _point_of(str(error))
    if point != str(error):
        error.args = (point,)
    return f"{type(error).__name__}: {error}" if code is None else describe(error, code)


def _point_of(said: str) -> str:
    """What Keras says of an object that it cannot make, without the whole configuration around it."""
    inner = said.rsplit("Exception encountered:", 1)[-1].split("Full object config:", 1)[0]
    return inner.strip()[:_LONGEST]


def _compared(
    task: Task, folder: Path, predict: Callable[[Mapping[str, AnyArray]], dict[str, AnyArray]], runtime: str
) -> Answer:
    stored = np.load(folder / task.rows)
    rows = {one.name: stored[str(index)][: task.row_count] for index, one in enumerate(task.inputs)}
    expected = Expected.read(folder / task.expected).first(task.row_count)
    try:
        difference, tolerance, problem = compare(functools.partial(predict, rows), expected, task.tolerance)
    except UnlikeError as error:
        problem = f"it predicts other than the trained model: {error}"
        return Answer(target=task.target, problem=problem, runtime=runtime)
    return Answer(target=task.target, problem=problem, difference=difference, tolerance=tolerance, runtime=runtime)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
