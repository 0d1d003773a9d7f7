"""Whether the columns that a spec names are there: asked of a local CSV file's header, which costs nothing."""

import csv
from collections.abc import Iterator
from pathlib import Path

from job.redaction import show
from job.resolve.locations import local_path
from job.spec.csv_text import header_of
from job.spec.drafts import Check, Draft, Finding
from job.spec.sources import kind_of
from job.spec.table_checks import unknown_columns

_SUFFIXES = (".csv", ".csv.gz")


def _columns_are_there(draft: Draft) -> Iterator[Finding]:
    """Of the first file of a folder; the others must have the same columns, which the reader looks at."""
    data = draft.spec.data
    if kind_of(data.source, data.format) != "csv" or "://" in data.source:
        return
    try:
        place = local_path(data.source)
        file = None if place is None else _first_file(place)
        header = () if file is None else header_of(file, data.delimiter, data.text_encoding)
    except (OSError, ValueError, EOFError, LookupError, csv.Error):
        # What is wrong with the file its own reader says best.
        return
    if not header:
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


HEADER_CHECKS: tuple[Check, ...] = (
    Check(
        tuple(
            ("data", field)
            for field in ("source", "format", "delimiter", "text_encoding", "target", "features", "columns")
        ),
        _columns_are_there,
    ),
)
