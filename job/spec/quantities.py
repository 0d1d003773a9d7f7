"""Durations and sizes as people write them: `2h`, `1h30m`, `512MiB`."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, PlainSerializer, WithJsonSchema

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_EXPECTED = "expected a duration such as 90s, 20m, 2h or 1h30m, or a number of seconds, above zero"


def parse_duration(value: Any) -> timedelta:
    """A duration from `1h30m` or a number of seconds; raises ValueError for anything else."""
    seconds: float
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(value))
    elif isinstance(value, str) and re.fullmatch(r"\d+(?:\.\d+)?", value.strip()):
        seconds = float(value)
    else:
        raise ValueError(_EXPECTED)
    try:
        duration = timedelta(seconds=seconds)
    except (OverflowError, ValueError) as error:
        raise ValueError(_EXPECTED) from error
    if duration <= timedelta(0):
        raise ValueError(_EXPECTED)
    return duration


def format_duration(duration: timedelta) -> str:
    """The shortest form that `parse_duration` reads back: 5400 s is `1h30m`."""
    milliseconds = round(duration.total_seconds() * 1000)
    parts = []
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        amount, milliseconds = divmod(milliseconds, length)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["90s", "20m", "2h"]}),
]

Size = Annotated[
    ByteSize,
    PlainSerializer(lambda size: size.human_readable(separator=""), return_type=str),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["512MiB", "16MB"]}),
]
