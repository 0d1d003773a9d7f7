"""Whether the columns that a spec names are there: asked of a local CSV file's first line, which costs nothing."""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

from job.resolve.locations import local_path
from job.spec.drafts import Check, Draft, Finding
from job.spec.redaction import show
from job.spec.sources import kind_of
from job.spec.table_checks import unknown_columns

_SUFFIXES = (".csv", ".csv.gz")
# A header longer than this is none.
_MOST_CHARACTERS = 1 << 20


def _columns_are_there(draft: Draft) -> Iterator[Finding]:
    """Of the first file of a folder; the others must have the same columns, which the reader looks at."""
    data = draft.spec.data
    if kind_of(data.source, data.format) != "csv" or "://" in data.source:
        return
    try:
        place = local_path(data.source)
        file = None if place is None else _first_file(place)
        header = None if file is None else _header(file, data.delimiter)
    except (OSError, ValueError, EOFError, csv.Error):
        # What is wrong with the file its own reader says best.
        return
    if header is None:
        return
    for path, message in unknown_columns(data, header):
        yield Finding(path, f"{message} ({show(data.source)} has {_in_words(header)})", shows_value=False)


def _in_words(header: tuple[str, ...], most: int = 10) -> str:
    shown = ", ".join(header[:most])
    return shown if len(header) <= most else f"{shown} and {len(header) - most} more"


def _first_file(place: Path) -> Path | None:
    if not place.is_dir():
        return place if place.is_file() else None
    files = (path for path in place.rglob("*") if path.name.lower().endswith(_SUFFIXES) and path.is_file())
    return min(files, default=None)


def _header(file: Path, delimiter: str) -> tuple[str, ...] | None:
    open_file = gzip.open if _is_gzip(file) else open
    with open_file(file, "rt", encoding="utf-8-sig", newline="") as text:
        line = text.readline(_MOST_CHARACTERS)
    names = next(csv.reader([line], delimiter=delimiter), None)
    return tuple(names) if names else None


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(2) == b"\x1f\x8b"


HEADER_CHECKS: tuple[Check, ...] = (
    Check(
        tuple(("data", field) for field in ("source", "format", "delimiter", "target", "features", "columns")),
        _columns_are_there,
    ),
)
