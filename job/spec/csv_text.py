"""The text of CSV files, looked at without pyarrow: the header, a hint before it, lines of another encoding."""

import csv
import gzip
import re
from pathlib import Path
from typing import IO

_GZIP = b"\x1f\x8b"
# The first line that Excel takes for a hint at the delimiter.
_HINT = re.compile(r"""["']?sep=(.)["']?\r?\n?""")
# A header longer than this is none.
_MOST_CHARACTERS = 1 << 20


def is_gzip(path: Path) -> bool:
    """Whether a file is compressed, whatever its name says."""
    with path.open("rb") as content:
        return content.read(len(_GZIP)) == _GZIP


def hinted_delimiter(path: Path, encoding: str) -> str | None:
    """Return the delimiter that a first line `sep=;` names; None where there is no such line."""
    with _opened(path, encoding, errors="replace") as text:
        hint = _HINT.fullmatch(text.readline(_MOST_CHARACTERS))
    return None if hint is None else hint[1]


def header_of(path: Path, delimiter: str, encoding: str) -> tuple[str, ...]:
    """Return the names of a CSV file's columns; a quoted one may go over several lines.

    Raises:
        OSError, EOFError: the file cannot be read.
        ValueError: it is no text of this encoding.
        csv.Error: there is no header.
    """
    hinted = hinted_delimiter(path, encoding)
    with _opened(path, encoding) as text:
        if hinted is not None:
            text.readline(_MOST_CHARACTERS)
        return tuple(next(csv.reader(text, delimiter=hinted or delimiter), ()))


def undecodable_line(path: Path, encoding: str) -> str:
    """Return which part of a file is no text of an encoding: `the header`, or the row, counted from 1 by lines."""
    with _opened(path, encoding, errors="surrogateescape") as text:
        for number, line in enumerate(text):
            if any("\udc80" <= character <= "\udcff" for character in line):
                return "the header" if number == 0 else f"row {number}"
    return "some row"


def _opened(path: Path, encoding: str, errors: str = "strict") -> IO[str]:
    # A byte-order mark is no part of the first name.
    named = "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding
    if is_gzip(path):
        return gzip.open(path, "rt", encoding=named, errors=errors, newline="")
    return path.open("rt", encoding=named, errors=errors, newline="")
