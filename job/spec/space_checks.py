"""Checks of the search space: what the builder knows and accepts, and what depends on what."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from job.spaces import (
    BUILDERS,
    AnyEntry,
    BooleanEntry,
    Builder,
    ChoiceEntry,
    FixedEntry,
    Hyperparameter,
    Scalar,
    can_take,
    same_value,
)
from job.spec.drafts import Check, Draft, Finding
from job.spec.fields import listed, nearest
from job.spec.paths import Path

_KINDS_IN_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _entries_are_known(draft: Draft) -> Iterator[Finding]:
    """Every entry is a hyperparameter of the builder."""
    builder = BUILDERS[draft.spec.model.builder]
    names = [hyperparameter.name for hyperparameter in builder.hyperparameters]
    for name in [*draft.spec.space, *sorted(draft.broken_entries - draft.spec.space.keys())]:
        if name not in names:
            close = nearest(name, names)
            hint = f"did you mean {close}?" if close else f"it has {listed(names, 'and')}"
            message = f"builder {builder.name} has no such hyperparameter; {hint}"
            yield Finding(("space", name), message, shows_value=False)


def _values_are_accepted(draft: Draft) -> Iterator[Finding]:
    """Every value that an entry can take is one that the builder takes."""
    builder = BUILDERS[draft.spec.model.builder]
    for name, entry in draft.spec.space.items():
        hyperparameter = builder.hyperparameter(name)
        if hyperparameter is not None and not _accepts(hyperparameter, entry):
            yield Finding(("space", name), f"expected {accepted_in_words(hyperparameter)}")


def _accepts(hyperparameter: Hyperparameter, entry: AnyEntry) -> bool:
    match entry:
        case BooleanEntry():
            return hyperparameter.kind is bool
        case FixedEntry():
            extremes: tuple[Scalar, ...] = (entry.value,)
        case ChoiceEntry():
            extremes = entry.values
        case _:
            extremes = (entry.min_value, entry.max_value)
    return all(_accepts_value(hyperparameter, value) for value in extremes)


def _accepts_value(hyperparameter: Hyperparameter, value: Scalar) -> bool:
    kinds = (int, float) if hyperparameter.kind is float else (hyperparameter.kind,)
    if type(value) not in kinds:
        return False
    if isinstance(value, str):
        return hyperparameter.choices is None or value in hyperparameter.choices
    low, high = hyperparameter.minimum, hyperparameter.maximum
    if hyperparameter.exclusive:
        return (low is None or low < value) and (high is None or value < high)
    return (low is None or low <= value) and (high is None or value <= high)


def accepted_in_words(hyperparameter: Hyperparameter) -> str:
    """What a builder takes for a hyperparameter: `a number of at least 0 and of at most 0.95`."""
    if hyperparameter.choices is not None:
        return f"one of {listed(hyperparameter.choices, 'or')}"
    low = "above" if hyperparameter.exclusive else "of at least"
    high = "below" if hyperparameter.exclusive else "of at most"
    bounds = [
        f"{word} {bound:g}"
        for word, bound in ((low, hyperparameter.minimum), (high, hyperparameter.maximum))
        if bound is not None
    ]
    return " ".join([_KINDS_IN_WORDS[hyperparameter.kind], " and ".join(bounds)]).strip()


def _parents_are_possible(draft: Draft) -> Iterator[Finding]:
    """A parent is another entry of the space, and has the named values; nothing is its own ancestor."""
    builder = BUILDERS[draft.spec.model.builder]
    entries = builder.resolve(draft.spec.space)
    for name, entry in draft.spec.space.items():
        if entry.parent_name is None:
            continue
        cycle = _cycle(name, entries)
        if cycle:
            yield Finding(("space", name, "parent_name"), f"the entry depends on itself: {' -> '.join(cycle)}")
        elif entry.parent_name in entries:
            yield from _impossible_values(name, entry, entries[entry.parent_name])
        elif entry.parent_name not in draft.broken_entries:
            yield Finding(("space", name, "parent_name"), _unknown_parent(entry.parent_name, entries, builder))


def _cycle(name: str, entries: Mapping[str, AnyEntry]) -> list[str]:
    """The way from an entry back to itself along its parents; empty if there is none."""
    way = [name]
    while (parent := entries[way[-1]].parent_name) is not None and parent in entries:
        way.append(parent)
        if parent == name:
            return way
        if parent in way[:-1]:
            # A cycle further up, which is reported at the entries that are part of it.
            return []
    return []


def _impossible_values(name: str, entry: AnyEntry, parent: AnyEntry) -> Iterator[Finding]:
    for index, value in enumerate(entry.parent_values or ()):
        if not can_take(parent, value):
            path: Path = ("space", name, "parent_values", index)
            yield Finding(path, f"{entry.parent_name} never has this value")


def _unknown_parent(parent: str, entries: Mapping[str, AnyEntry], builder: Builder) -> str:
    if parent in builder.constants():
        return f"{parent} is not searched: give it an entry in the space, too"
    close = nearest(parent, entries)
    hint = f"did you mean {close}?" if close else f"there are {listed(tuple(entries), 'and')}"
    return f"expected another entry of the space; {hint}"


def _entries_have_an_effect(draft: Draft) -> Iterator[Finding]:
    """What changes nothing in any point would be searched for nothing; two ways of clipping exclude each other."""
    builder = BUILDERS[draft.spec.model.builder]
    entries = builder.resolve(draft.spec.space)
    for name in draft.spec.space:
        reason = builder.without_effect(name, entries) if name in entries else None
        if reason is not None and not _depends_on(builder, name, draft.broken_entries):
            yield Finding(("space", name), f"has no effect in this space: {reason}", shows_value=False)
    used = [name for name in builder.exclusive if name in entries and not _is_zero(entries[name])]
    for name, other in pairwise(used):
        if not _never_together(entries[name], entries[other]):
            yield Finding(("space", other), f"cannot be used together with {name}", shows_value=False)


def _depends_on(builder: Builder, name: str, broken: frozenset[str]) -> bool:
    """Whether it is invalid entries that decide what effect this one has."""
    declared = builder.hyperparameter(name)
    return declared is not None and declared.needs is not None and declared.needs.parent in broken


def _is_zero(entry: AnyEntry) -> bool:
    return isinstance(entry, FixedEntry) and not entry.value


def _never_together(one: AnyEntry, other: AnyEntry) -> bool:
    """Whether no value of a common parent switches both on."""
    if one.parent_name is None or one.parent_name != other.parent_name:
        return False
    values = other.parent_values or ()
    return not any(same_value(first, second) for first in one.parent_values or () for second in values)


def _grids_are_finite(draft: Draft) -> Iterator[Finding]:
    """A grid lists every value of every entry."""
    if draft.spec.search.algorithm != "grid":
        return
    for name, entry in BUILDERS[draft.spec.model.builder].resolve(draft.spec.space).items():
        if entry.size() is None and name not in draft.broken_entries:
            message = "expected a step, or a choice of values: search.algorithm: grid lists every value"
            yield Finding(("space", name), message)


_NEEDS: tuple[Path, ...] = (("space",), ("model", "builder"))

SPACE_CHECKS: tuple[Check, ...] = (
    Check(_NEEDS, _entries_are_known),
    Check(_NEEDS, _values_are_accepted),
    Check(_NEEDS, _parents_are_possible),
    Check(_NEEDS, _entries_have_an_effect),
    Check((*_NEEDS, ("search", "algorithm")), _grids_are_finite),
)
