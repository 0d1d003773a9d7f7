"""The points of a space: how many there are, and which values an entry takes."""

import math
from collections.abc import Mapping

from job.spaces.entries import AnyEntry, BooleanEntry, ChoiceEntry, FixedEntry, FloatEntry, IntEntry, Scalar


def space_size(entries: Mapping[str, AnyEntry]) -> int | None:
    """The number of distinct points of a resolved space; None if an entry is continuous.

    A conditional entry counts only under its parent's values.
    """
    counts = [_points(name, entries) for name, entry in entries.items() if entry.parent_name is None]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def _points(name: str, entries: Mapping[str, AnyEntry]) -> int | None:
    """The points of an entry and of all that depends on it: parents make a forest, so no product is enumerated."""
    entry = entries[name]
    size = entry.size()
    children = {key: child for key, child in entries.items() if child.parent_name == name}
    if size is None or not children:
        return size
    deciding: list[Scalar] = []
    for child in children.values():
        for value in child.parent_values or ():
            if can_take(entry, value) and not any(same_value(as_made(entry, value), other) for other in deciding):
                deciding.append(as_made(entry, value))
    points = size - len(deciding)
    for value in deciding:
        below = [_points(key, entries) for key, child in children.items() if _is_active(entry, child, value)]
        if None in below:
            return None
        points += math.prod(count for count in below if count is not None)
    return points


def _is_active(parent: AnyEntry, child: AnyEntry, parent_value: Scalar) -> bool:
    return any(same_value(as_made(parent, value), parent_value) for value in child.parent_values or ())


def same_value(one: Scalar, other: Scalar) -> bool:
    """Whether two values are one and the same: 1 is 1.0, but it is not true."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def can_take(entry: AnyEntry, value: Scalar) -> bool:
    """Whether the entry ever has this value; ranges are not enumerated."""
    match entry:
        case FixedEntry():
            return same_value(entry.value, value)
        case BooleanEntry():
            return isinstance(value, bool)
        case ChoiceEntry():
            return any(same_value(one, value) for one in entry.values)
        case IntEntry() | FloatEntry():
            return entry.contains(value)


def as_made(entry: AnyEntry, value: Scalar) -> Scalar:
    """Return a value that the entry can take as a search has it: conditions compare to the last bit."""
    made = entry.made(value) if isinstance(entry, FloatEntry) and not isinstance(value, bool | str) else None
    return value if made is None else made


def values_of(entry: AnyEntry) -> tuple[Scalar, ...]:
    """All values of an entry, in order; raises ValueError for a continuous range."""
    match entry:
        case FixedEntry():
            return (entry.value,)
        case BooleanEntry():
            return (False, True)
        case ChoiceEntry():
            return entry.values
        case IntEntry() | FloatEntry():
            return tuple(_range_values(entry))
    raise AssertionError(entry)


def _range_values(entry: IntEntry | FloatEntry) -> list[Scalar]:
    count = entry.size()
    if count is None:
        raise ValueError("a continuous range has no list of values")
    return sorted(entry.value_at(index) for index in range(count))
