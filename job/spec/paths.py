"""Field paths as a person writes them: `search.max_epochs`, `space.units.values[0]`, `space."a.b"`."""

import re
from collections.abc import Iterable

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SEGMENT = re.compile(r'\s*(?:"([^"]*)"|([^."]+?))\s*(\.|$)')


def format_path(path: Iterable[str | int]) -> str:
    """The path in writing; a key that is not one plain word stands in quotes."""
    text = ""
    for segment in path:
        if isinstance(segment, int):
            text += f"[{segment}]"
            continue
        word = segment if _BARE.fullmatch(segment) else f'"{segment}"'
        text += f".{word}" if text else word
    return text


def parse_path(text: str) -> tuple[str, ...]:
    """The segments of a written path without list indexes.

    Raises:
        ValueError: a segment is empty or a quote is left open.
    """
    segments: list[str] = []
    position = 0
    while True:
        match = _SEGMENT.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is not a field path such as search.max_epochs")
        segments.append(match[1] if match[1] is not None else match[2])
        position = match.end()
        if not match[3]:
            return tuple(segments)


def begins_with(path: Path, prefix: Path) -> bool:
    """Whether `path` is `prefix` or lies beneath it."""
    return path[: len(prefix)] == prefix
