"""Single values set over a document: `--set search.max_epochs=27`, `JOB_SEARCH__MAX_EPOCHS=27`.

What an override may name is read off the models; an unknown name is a problem, never ignored. A value is YAML 1.2 in
one line, except where the field is text: there it is taken as written. A mapping adds to what is there (an empty one
empties it); everything else replaces.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from job.errors import Problem
from job.redaction import redact_text, show
from job.spaces import BUILDERS, Builder, spell_out
from job.spec.document import Document, unusable_values
from job.spec.fields import Place, nearest, paths_named, place_at, root
from job.spec.paths import Path, begins_with, format_path, parse_path
from job.spec.sections import ModelSpec
from job.spec.yaml12 import PlainValue, load_yaml, resolve_scalar

SET = "--set"
VARIABLE_PREFIX = "JOB_"
_SEPARATOR = "__"
# `space.units` has two segments.
_ENTRY_DEPTH = 2


@dataclass(frozen=True, slots=True)
class Override:
    """One value to set, as it was written.

    Attributes:
        origin: the option (`--set`, `--output`) or the variable that sets it.
        segments: the path. A variable's are matched regardless of case, for variables are written in capitals.
        text: the value.
    """

    origin: str
    segments: tuple[str, ...]
    text: str

    @property
    def is_variable(self) -> bool:
        """Whether an environment variable sets it."""
        return self.origin.startswith(VARIABLE_PREFIX)


@dataclass(frozen=True, slots=True)
class Overridden:
    """A document after its overrides.

    Attributes:
        origins: what set the value at a path, where that is not the document.
        problems: overrides that name nothing or cannot be read; they are not applied.
    """

    document: Document
    origins: Mapping[Path, str]
    problems: tuple[Problem, ...]


def parse_assignment(text: str) -> Override:
    """`search.max_epochs=27`, the argument of `--set`; raises ValueError where it is not of this form."""
    path, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"expected FIELD=VALUE, such as search.max_epochs=27, found {redact_text(text)!r}")
    return Override(SET, parse_path(path), value)


def variable_segments(name: str) -> tuple[str, ...]:
    """The path that a variable's name spells: `JOB_SEARCH__MAX_EPOCHS` is (`SEARCH`, `MAX_EPOCHS`)."""
    return tuple(name.removeprefix(VARIABLE_PREFIX).split(_SEPARATOR))


def variable_name(path: Iterable[str]) -> str:
    """The variable that sets a field: the inverse of `variable_segments`."""
    return VARIABLE_PREFIX + _SEPARATOR.join(segment.upper() for segment in path)


def apply_overrides(document: Document, overrides: Sequence[Override]) -> Overridden:
    """Set values over a document, later ones over earlier ones; the document itself is left as it is."""
    merger = _Merger(copy.deepcopy(document))
    # The space comes last: an entry may start from that of the builder, which another override may name.
    for override in sorted(overrides, key=lambda override: override.segments[0].lower() == "space"):
        merger.apply(override)
    return Overridden(merger.document, merger.origins, tuple(merger.problems))


class _Merger:
    """A document on its way through its overrides."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.origins: dict[Path, str] = {}
        self.problems: list[Problem] = []

    def apply(self, override: Override) -> None:
        """Set one value, or note why it cannot be."""
        path, place = self._resolve(override)
        if place is None:
            return
        try:
            value = _read(override.text, place)
        except ValueError as error:
            shown = show(override.text, path)
            message = f"expected {place.expected}; not readable as YAML: {error}"
            self.problems.append(Problem(format_path(path), message, shown, override.origin))
            return
        self._put(path, value, override.origin)

    def _resolve(self, override: Override) -> tuple[tuple[str, ...], Place | None]:
        """The path as the document writes it, and what may stand there; None if there is no such field."""
        path: tuple[str, ...] = ()
        place = root()
        value: object = self.document
        for segment in override.segments:
            name = self._match(segment, path, place, value) if override.is_variable else segment
            deeper = place.step(name) if name else None
            if deeper is None:
                self.problems.append(_unknown(override, path, place))
                return path, None
            path, place = (*path, name), deeper
            value = value.get(name) if isinstance(value, Mapping) else None
        return path, place

    def _match(self, segment: str, path: Path, place: Place, value: object) -> str:
        """The key that a variable's segment means: any case for fields, capitals for what is there already."""
        keys = list(place.names)
        if place.has_free_keys and segment.isupper():
            keys += value if isinstance(value, Mapping) else ()
            builder = self._builder() if path == ("space",) else None
            keys += [] if builder is None else [h.name for h in builder.hyperparameters]
        by_capitals = {key.upper(): key for key in reversed(keys)}
        return segment if segment in keys else by_capitals.get(segment.upper(), segment)

    def _put(self, path: tuple[str, ...], value: PlainValue, origin: str) -> None:
        if isinstance(value, dict) and value and _adds(path, value):
            for key, entry in value.items():
                self._put((*path, key), entry, origin)
            return
        parent = self._parent_of(path)
        if parent is None:
            # Beneath something that should be a mapping and is not: validation reports that.
            return
        if _is_entry_field(path) and path[-1] == "type":
            self._change_type(path[:-1], parent, value)
        parent[path[-1]] = value
        self.origins = {old: by for old, by in self.origins.items() if not begins_with(old, path)}
        self.origins[path] = origin

    def _parent_of(self, path: tuple[str, ...]) -> Document | None:
        """The mapping that holds the path's last segment; made on the way where it is missing."""
        mapping = self.document
        for depth, segment in enumerate(path[:-1], start=1):
            inner = mapping.get(segment)
            if depth == _ENTRY_DEPTH and _is_entry_field(path):
                inner = self._entry(segment, inner)
            elif inner is None:
                inner = {}
            if not isinstance(inner, dict):
                return None
            mapping[segment] = inner
            mapping = inner
        return mapping

    def _entry(self, name: str, value: object) -> object:
        """An entry with its fields spelled out: the document's, or else the builder's own."""
        builder = self._builder()
        own = None if builder is None else builder.hyperparameter(name)
        if value is None:
            return {} if own is None or own.entry is None else own.entry.model_dump(mode="json", exclude_unset=True)
        return spell_out(value)

    def _change_type(self, path: Path, entry: Document, kind: PlainValue) -> None:
        """Drop what an entry of the new type has no field for, unless an override put it there."""
        place = place_at(path)
        fields = place.narrowed({"type": kind}).names if place is not None else ()
        for name in [name for name in entry if name not in fields and (*path, name) not in self.origins]:
            del entry[name]

    def _builder(self) -> Builder | None:
        """The built-in builder as far as the document goes; None where it names a model of the user's own."""
        model = self.document.get("model")
        named = model if isinstance(model, Mapping) else {}
        if named.get("source") is not None:
            return None
        return BUILDERS.get(str(named.get("builder")), BUILDERS[str(ModelSpec().builder)])


def _is_entry_field(path: Path) -> bool:
    return path[0] == "space" and len(path) > _ENTRY_DEPTH


def _adds(path: Path, value: dict[str, PlainValue]) -> bool:
    """Whether a mapping adds to what is at the path; an entry that states its type replaces it."""
    place = place_at(path)
    return place is not None and place.is_mapping and not ("type" in value and place.kinds)


def _read(text: str, place: Place) -> PlainValue:
    """The value of an override; raises ValueError."""
    may_be_mapping = any(one.model is not None for one in place.alternatives)
    if place.takes_text and not (may_be_mapping and text.lstrip().startswith("{")):
        is_null = place.takes_null and resolve_scalar(text.strip()) is None
        return None if is_null else text
    value = load_yaml(text)
    for path, expected, shown in unusable_values(value):
        where = f" at {format_path(path)}" if path else ""
        raise ValueError(f"{expected}{where}" + ("" if shown is None else f", found {shown}"))
    return value


def _unknown(override: Override, path: tuple[str, ...], place: Place) -> Problem:
    """What to say of an override whose path ends at `path`, where `place` has no field of the next name."""
    depth = len(path)
    wrong, rest = override.segments[depth], override.segments[depth + 1 :]
    close = nearest(wrong, place.names)
    if close is None:
        guesses = [] if path else [tuple(guess.split(".")) for guess in paths_named(wrong.lower())]
    else:
        # What follows may be wrong, too.
        whole = (*path, close, *rest)
        is_field = place_at(tuple(segment.lower() for segment in whole)) is not None
        guesses = [whole if is_field else (*path, close)]
    written = variable_name if override.is_variable else format_path
    hint = f"; did you mean {written(guesses[0])}?" if guesses else ""
    if override.is_variable:
        return Problem(override.origin, f"no such field, so this variable would be ignored{hint}")
    message = "unknown field" if place.names else f"{format_path(path)} has no fields"
    return Problem(format_path(override.segments), message + hint, origin=override.origin)
