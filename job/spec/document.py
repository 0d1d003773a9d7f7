"""A spec document, in YAML 1.2, JSON or TOML, as plain data: what it says, not yet whether that is right."""

import json
import math
import re
import tomllib
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import PurePosixPath
from typing import Any, Literal, NoReturn

from job.errors import Problem, SpecError
from job.spec.paths import Path, format_path
from job.spec.yaml12 import load_yaml

Format = Literal["yaml", "json", "toml"]
Document = dict[str, Any]

# A spec has a few kilobytes; this only keeps a wrong path (a data set, a log) from being parsed.
MAX_DOCUMENT_BYTES = 1024 * 1024

# The deepest field has five levels; deeper nesting than this would exhaust the stack of whoever reads it.
_DEEPEST, _SHOWN_DEPTH = 32, 3
# Of the largest whole number that is a float.
_MOST_BITS = 1024

# Text that a document may carry and that is no field of the job.
NOT_FIELDS = {
    "$schema": "Where editors find this schema.",
    "spec_hash": "What a run's spec.json adds: it can be run again as it is.",
}

_SUFFIXES: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}
_TOML_TABLE = re.compile(r"\[[^\]\n,]+\]\]?\s*(?:#.*)?$")
_TOML_KEY = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_TOML_PAIR = re.compile(rf"{_TOML_KEY}(?:\s*\.\s*{_TOML_KEY})*\s*=")


def parse_document(text: str, *, source: str, name: str | None = None) -> Document:
    """Parse a spec document.

    Args:
        text: the document; `{}` means all defaults.
        source: what to call the document in messages.
        name: its file name, whose suffix (`.yaml`, `.yml`, `.json`, `.toml`) tells the format; without one the
            content does.

    Raises:
        SpecError: empty, not readable in its format (with line and column), a key given twice, not a mapping, or
            numbers that are not finite (by field path).
    """
    text = text.removeprefix("\ufeff")
    form = _format_of(text, name)
    try:
        data = _PARSERS[form](text)
    except ValueError as error:
        problem = Problem(source, f"not readable as {form.upper()}: {error}")
        raise SpecError([problem]) from error
    # No document at all is the quickstart; one that is given and says nothing was cut off or emptied.
    if data is None or (data == {} and form == "toml"):
        problem = Problem(source, "expected a mapping of fields, such as `name: nightly`; the document is empty")
        raise SpecError([problem], advice="{} as the document, or none at all, means all defaults.")
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "a single value"
        raise SpecError([Problem(source, f"expected a mapping of fields, such as `name: nightly`; found {kind}")])
    problems = [Problem(format_path(path), message, shown) for path, message, shown in unusable_values(data)]
    if problems:
        raise SpecError(problems)
    return {key: value for key, value in data.items() if key not in NOT_FIELDS or not isinstance(value, str)}


def _format_of(text: str, name: str | None) -> Format:
    suffix = PurePosixPath(name).suffix.lower() if name else ""
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if first.startswith("{"):
        # JSON is YAML, too, but for what YAML refuses: tabs as indentation.
        return "json" if _is_json(text) else "yaml"
    return "toml" if _TOML_TABLE.match(first) or _TOML_PAIR.match(first) else "yaml"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _load_json(text: str) -> object:
    if not text.strip():
        return None
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f"the key {key!r} is given twice")
        mapping[key] = value
    return mapping


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


def _load_toml(text: str) -> object:
    try:
        return _without_dates(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        # The place stands in brackets at the end of tomllib's message.
        raise ValueError(re.sub(r" \((at [^()]*)\)$", r" \1", str(error))) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _without_dates(value: object) -> object:
    """TOML's dates and times as the text that they are in the other formats."""
    if isinstance(value, dict):
        return {key: _without_dates(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_dates(entry) for entry in value]
    return value.isoformat() if isinstance(value, date | datetime | time) else value


def unusable_values(document: object) -> list[tuple[Path, str, str | None]]:
    """Every infinity, NaN, number beyond any float, and value that is nested too deeply.

    Returns:
        Of each where it is, what was expected, and how it reads.
    """
    found: list[tuple[Path, str, str | None]] = []
    waiting: list[tuple[Path, object]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > _DEEPEST:
            return [(path[:_SHOWN_DEPTH], f"expected at most {_DEEPEST} levels of nesting", None)]
        if isinstance(value, float) and not math.isfinite(value):
            found.append((path, "expected a finite number", str(value)))
        elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
            found.append((path, "expected a finite number", f"a whole number of {value.bit_length()} bits"))
        elif isinstance(value, dict):
            waiting += [((*path, key), entry) for key, entry in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [((*path, index), entry) for index, entry in reversed(list(enumerate(value)))]
    return found


_PARSERS: dict[Format, Callable[[str], object]] = {"yaml": load_yaml, "json": _load_json, "toml": _load_toml}
