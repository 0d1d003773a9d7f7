"""Durations and sizes as people write them: `2h`, `1h30m`, `512MiB`."""

import re
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema


@dataclass(frozen=True, slots=True)
class InWords:
    """Metadata of a type: what it expects, in words, for messages and the reference page."""

    text: str


_DURATION_IN_WORDS = "a duration such as 90s, 20m, 2h or 1h30m, or a number of seconds, of at least 1ms"
_SIZE_IN_WORDS = "a size such as 512MiB or 16MB, or a number of bytes, above 0"

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|d|h|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SHORTEST = timedelta(milliseconds=1)

_BYTES = {"b": 1} | {
    unit + suffix: factor**power
    for power, unit in enumerate("kmgtp", start=1)
    for suffix, factor in (("b", 1000), ("ib", 1024))
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", re.IGNORECASE)
_BINARY_UNITS = (("PiB", 1024**5), ("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))


def parse_duration(value: object) -> timedelta:
    """A duration from `1h30m` or a number of seconds, in whole milliseconds; raises ValueError otherwise."""
    seconds: float
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(value))
    elif isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        seconds = float(value)
    else:
        raise ValueError(f"expected {_DURATION_IN_WORDS}")
    try:
        duration = timedelta(milliseconds=round(seconds * 1000))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"expected {_DURATION_IN_WORDS}") from error
    if duration < _SHORTEST:
        raise ValueError(f"expected {_DURATION_IN_WORDS}")
    return duration


def format_duration(duration: timedelta) -> str:
    """The shortest form that `parse_duration` reads back: 5400 s is `1h30m`."""
    milliseconds = duration // _SHORTEST
    parts = []
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        amount, milliseconds = divmod(milliseconds, length)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def parse_size(value: object) -> int:
    """Bytes from `512MiB`, `16MB` or a number of bytes; raises ValueError for anything else."""
    size: int | Fraction = 0
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        # Exact: 1.5KiB comes out in whole bytes, 0.1KiB does not.
        size = Fraction(match[1]) * _BYTES.get(match[2].lower() or "b", 0)
    if size <= 0 or int(size) != size:
        raise ValueError(f"expected {_SIZE_IN_WORDS}")
    return int(size)


def format_size(size: int) -> str:
    """The shortest exact form, which `parse_size` reads back: 16777216 is `16MiB`."""
    for unit, factor in _BINARY_UNITS:
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|d|h|m|s))+$|^[0-9]+(\.[0-9]+)?$"},
                {"type": "number", "exclusiveMinimum": 0},
            ],
            "examples": ["90s", "20m", "2h"],
        }
    ),
    InWords(_DURATION_IN_WORDS),
]

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([kmgtpKMGTP]?[bB]|[kmgtpKMGTP][iI][bB])?$"},
                {"type": "integer", "exclusiveMinimum": 0},
            ],
            "examples": ["512MiB", "16MB"],
        }
    ),
    InWords(_SIZE_IN_WORDS),
]
