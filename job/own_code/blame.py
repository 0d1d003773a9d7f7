"""Where in the user's own code something went wrong: their file, their line, their words."""

import inspect
import linecache
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job.errors import JobError
from job.own_code.own_code import OwnCode, code_error

_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# How TensorFlow quotes the line of an operation that failed inside a graph.
_QUOTED_LINE = re.compile(r'File "([^"]+)", line (\d+)(?:, in (\S+))?')
# What Keras adds about a layer's arguments is longer than what is wrong.
_ARGUMENTS = re.compile(r"\n+Arguments received by .*", re.DOTALL)
_MESSAGE_LENGTH = 600


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's code; `name` is the function that it is in, None at the module's own level."""

    file: Path
    line: int
    name: str | None = None


def describe(error: BaseException, code: OwnCode, otherwise: Place | None = None) -> str:
    """What went wrong, and the last of the user's own lines on the way there.

    Args:
        error: what their code, or a library that it called, has raised.
        code: theirs.
        otherwise: named where none of their lines was on the way.
    """
    place = _place_of_error(error, code) or otherwise
    return _sentence(f"{type(error).__name__}: {_words_of(error)}".rstrip(": "), code, place)


@contextmanager
def blaming(code: OwnCode | None) -> Iterator[None]:
    """A block that ends with ModelCodeError or DataError where a line of the user's own code raises.

    Args:
        code: theirs; None for a block that none of it runs in.
    """
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        if code is None or _place_of_error(error, code) is None:
            raise
        raise code_error(code.section, describe(error, code)) from error


def describe_at(message: str, code: OwnCode, place: Place | None) -> str:
    """A finding of the job's own about a line of the user's code."""
    return _sentence(message, code, place)


def place_of(thing: object) -> Place | None:
    """Where a function or class of the user's is defined."""
    plain: Any = inspect.unwrap(thing) if callable(thing) else thing
    plain = getattr(plain, "__func__", plain)
    if hasattr(plain, "__code__"):
        return Place(Path(plain.__code__.co_filename), plain.__code__.co_firstlineno, plain.__name__)
    try:
        lines, first = inspect.getsourcelines(plain)
        file = inspect.getsourcefile(plain)
    except (OSError, TypeError):
        return None
    offset = next((index for index, line in enumerate(lines) if line.lstrip().startswith(("class ", "def "))), 0)
    return None if file is None else Place(Path(file), first + offset, getattr(plain, "__name__", None))


def _sentence(message: str, code: OwnCode, place: Place | None) -> str:
    if place is None:
        return f"{code.shown}: {message}"
    where = f"{_shown(place.file, code)}, line {place.line}"
    if place.name is not None and place.name != "<module>":
        where += f", in {place.name}"
    line = linecache.getline(str(place.file), place.line).strip()
    return f"{where}: {message}" + (f"\n    {line}" if line else "")


def _shown(file: Path, code: OwnCode) -> str:
    if file == code.file:
        return code.shown
    outside = code.root.parent if code.is_installed else code.root
    return file.relative_to(outside).as_posix() if file.is_relative_to(outside) else str(file)


def _words_of(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the code ends the process (sys.exit, code {error.code})"
    if isinstance(error, SyntaxError):
        return str(error.msg)
    text = _ARGUMENTS.sub("", _TERMINAL_CODES.sub("", str(error))).strip()
    text = "\n".join(line.rstrip() for line in text.splitlines() if line.strip())
    return text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}…"


def _place_of_error(error: BaseException, code: OwnCode) -> Place | None:
    for one in _with_causes(error):
        if isinstance(one, SyntaxError) and one.filename and _belongs(one.filename, code):
            return Place(Path(one.filename), one.lineno or 1)
        for find in (_in_traceback, _in_message):
            place = find(one, code)
            if place is not None:
                return place
    return None


def _in_traceback(error: BaseException, code: OwnCode) -> Place | None:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _belongs(frame.filename, code)]
    return Place(Path(frames[-1].filename), frames[-1].lineno or 1, frames[-1].name) if frames else None


def _in_message(error: BaseException, code: OwnCode) -> Place | None:
    # AutoGraph runs a translation of the user's code, and keeps where each line came from to itself.
    metadata = getattr(error, "ag_error_metadata", None)
    told: Callable[[], object] | None = getattr(metadata, "get_message", None)
    text = str(error) if told is None else f"{told()}\n{error}"
    found = [match for match in _QUOTED_LINE.finditer(text) if _belongs(match[1], code)]
    return Place(Path(found[-1][1]), int(found[-1][2]), found[-1][3]) if found else None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error, then what it was raised from or meanwhile."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _belongs(filename: str, code: OwnCode) -> bool:
    return Path(filename).is_relative_to(code.root)
