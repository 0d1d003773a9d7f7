"""What the process does that converts, loads and compares; see `job.export.reader`.

It prints whatever its libraries print, imports what they import, and may be aborted by them: each answer is sent as
soon as it is known, so that the file at fault is the first one without.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import keras
import numpy as np

from job.child_process import end_with_forking_parent
from job.data.arrays import AnyArray
from job.export.comparison import SEED, Expected, UnlikeError, compare
from job.export.formats import FORMATS, CannotHoldError, Format
from job.export.reloading import load_published
from job.export.request import Answer, Request, Task
from job.export.saved_model import ServedModel
from job.export.traits import traits_of
from job.own_code import OwnCode, describe
from job.training.fork_server import OWN_PATH

_LONGEST = 600


def answer_request(connection: Connection, folder: Path, noise: Path) -> None:
    """Take one request, and send an answer for every task; run in a process of its own, which is good for nothing else.

    Args:
        connection: to whoever asks.
        folder: holds the files.
        noise: the file for all that libraries print.
    """
    end_with_forking_parent()
    _stand_apart(noise)
    try:
        request: Request = connection.recv()
    except EOFError:
        return
    for answer in _answers(request, folder):
        connection.send(answer)


def _stand_apart(noise: Path) -> None:
    """Be like a reader's own process: nothing of the working directory is at hand; and compute on the processor."""
    written = os.open(noise, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.close(written)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    sys.path[:] = OWN_PATH


def _answers(request: Request, folder: Path) -> Iterator[Answer]:
    """Each as soon as it is known.

    Files of Keras's own that need the user's code come after all others: what a module registers when it is imported
    is there for every file that is loaded later.
    """
    for task in request.tasks:
        if task.format != "keras":
            yield _answer(task, FORMATS[task.format], folder)
    unanswered = [task for task in request.tasks if task.format == "keras"]
    for code in (None,) if request.code is None else (None, request.code):
        answers = [_answer_of_keras(task, folder, code) for task in unanswered]
        yield from (answer for answer in answers if answer.runtime or code is request.code)
        unanswered = [task for task, answer in zip(unanswered, answers, strict=True) if not answer.runtime]


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
