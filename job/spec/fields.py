"""The spec's fields, read off the models' annotations: which exist, what each expects, in words.

One source for the messages, for how overrides are read and for the reference page.
"""

import difflib
import json
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from job.spaces import BUILDERS
from job.spec.model import JobSpec
from job.spec.quantities import InWords

_SCALARS = {bool, int, float, str}
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    tuple: "a list",
}


@dataclass(frozen=True, slots=True)
class Alternative:
    """One member of a field's union: a type as annotated, and the constraints on it."""

    annotation: Any
    constraints: tuple[object, ...]

    @property
    def model(self) -> type[BaseModel] | None:
        """The section that this is, if it is one."""
        is_model = isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel)
        return self.annotation if is_model else None

    @property
    def literals(self) -> tuple[str, ...]:
        """The only values that it takes, as one writes them, if they can be listed."""
        is_literal = get_origin(self.annotation) is Literal
        return tuple(map(literal_in_words, get_args(self.annotation))) if is_literal else ()

    @property
    def in_words(self) -> str:
        """What it expects."""
        written = [one.text for one in self.constraints if isinstance(one, InWords)]
        if written:
            return written[0]
        if self.model is not None:
            return f"a mapping of {listed(tuple(self.model.model_fields), 'and')}"
        if self.literals:
            return listed(self.literals, "or")
        kind = get_origin(self.annotation) or self.annotation
        return _WORDS[kind] + _constraints_in_words(self.constraints)

    def step(self, segment: str | int) -> tuple["Alternative", ...]:
        """What may stand one step deeper; nothing where nothing may."""
        if self.model is not None:
            # A bare list stands for the values of a choice.
            name = "values" if isinstance(segment, int) else segment
            field = self.model.model_fields.get(name)
            if field is None:
                return ()
            inside = alternatives_of(field.annotation, _flat(field.metadata))
            return inside if name == segment else tuple(deep for one in inside for deep in one.step(segment))
        arguments = get_args(self.annotation)
        if get_origin(self.annotation) is dict and isinstance(segment, str):
            return alternatives_of(arguments[1])
        if get_origin(self.annotation) is tuple and isinstance(segment, int):
            return alternatives_of(arguments[0])
        return ()


@dataclass(frozen=True, slots=True)
class Place:
    """What may stand at one path of the spec."""

    alternatives: tuple[Alternative, ...]

    def step(self, segment: str | int) -> "Place | None":
        """What may stand one step deeper; None if nothing may."""
        found = tuple(deep for one in self.alternatives for deep in one.step(segment))
        return Place(found) if found else None

    def narrowed(self, value: object) -> "Place":
        """Without the members that the `type` in `value` rules out."""
        if not isinstance(value, Mapping) or "type" not in value:
            return self
        fitting = [one for one in self.alternatives if Place((one,)).kinds == (value["type"],)]
        return Place(tuple(fitting)) if fitting else self

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that may stand beneath."""
        models = [one.model for one in self.alternatives if one.model is not None]
        return tuple(dict.fromkeys(name for model in models for name in model.model_fields))

    @property
    def has_free_keys(self) -> bool:
        """Whether any key may stand beneath: the entries of a space, tags."""
        return any(get_origin(one.annotation) is dict for one in self.alternatives)

    @property
    def is_mapping(self) -> bool:
        """Whether nothing but a mapping may stand here."""
        return all(one.model is not None or get_origin(one.annotation) is dict for one in self.alternatives)

    @property
    def takes_text(self) -> bool:
        """Whether a plain value here is text, whatever it looks like."""
        plain = [one for one in self.alternatives if one.model is None and one.annotation is not types.NoneType]
        return bool(plain) and all(one.annotation is str for one in plain)

    @property
    def takes_null(self) -> bool:
        """Whether the field may be empty."""
        return any(one.annotation is types.NoneType for one in self.alternatives)

    @property
    def expected(self) -> str:
        """What is expected here, in words: `auto or a whole number of at least 1`. Null goes unsaid."""
        if len(self.kinds) > 1:
            return f"a value, a list of one value or more, or a mapping whose type is {listed(self.kinds, 'or')}"
        if {one.annotation for one in self.alternatives} >= _SCALARS:
            return "a number, text, true or false"
        members = [one for one in self.alternatives if one.annotation is not types.NoneType]
        if len(members) == 1:
            return members[0].in_words
        words = [word for one in members for word in (one.literals or (one.in_words,))]
        # The same field of several kinds of entry repeats itself: min_value is a whole number or a number.
        return listed(tuple(dict.fromkeys(words)), "or")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The values of `type` that tell the mappings which may stand here apart."""
        fields = [one.model.model_fields.get("type") for one in self.alternatives if one.model is not None]
        return tuple(kind for field in fields if field is not None for kind in get_args(field.annotation))


def root() -> Place:
    """The whole spec."""
    return Place((Alternative(JobSpec, ()),))


def place_at(path: Sequence[str | int], document: object = None) -> Place | None:
    """What may stand at a path; `document` rules out the kinds of entry that it does not have there."""
    place: Place | None = root()
    value = document
    for segment in path:
        if place is None:
            return None
        place = place.narrowed(value).step(segment)
        value = value.get(segment) if isinstance(value, Mapping) and isinstance(segment, str) else None
    return place


def alternatives_of(annotation: object, constraints: Iterable[object] = ()) -> tuple[Alternative, ...]:
    """The members of an annotation's union; a plain annotation is its only member."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return alternatives_of(inner, (*constraints, *_flat(metadata)))
    if get_origin(annotation) in {Union, types.UnionType}:
        return tuple(one for member in get_args(annotation) for one in alternatives_of(member, constraints))
    return (Alternative(annotation, tuple(constraints)),)


def field_place(field: FieldInfo) -> Place:
    """What may stand in a model's field."""
    return Place(alternatives_of(field.annotation, _flat(field.metadata)))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant; None if none is close."""
    by_lower_case = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[close[0]] if close else None


def paths_named(name: str) -> list[str]:
    """Where in the spec's sections, and among the builders' hyperparameters, something has this name."""
    sections = [
        f"{section}.{name}"
        for section, field in JobSpec.model_fields.items()
        for one in field_place(field).alternatives
        if one.model is not None and name in one.model.model_fields
    ]
    known = any(builder.hyperparameter(name) is not None for builder in BUILDERS.values())
    return sections + [f"space.{name}"] * known


def _flat(metadata: Iterable[object]) -> tuple[object, ...]:
    """Constraints, out of the Field() calls that some of them stand in."""
    return tuple(inner for one in metadata for inner in (one.metadata if isinstance(one, FieldInfo) else (one,)))


def literal_in_words(value: object) -> str:
    """A literal value as one writes it in a spec."""
    return value if isinstance(value, str) else json.dumps(value)


def listed(words: Sequence[str], conjunction: str) -> str:
    """`a, b or c`."""
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}" if len(words) > 1 else "".join(words)


def _constraints_in_words(constraints: Iterable[object]) -> str:
    parts = []
    for one in constraints:
        match one:
            case Ge():
                parts.append(f"of at least {one.ge}")
            case Gt():
                parts.append(f"above {one.gt}")
            case Le():
                parts.append(f"of at most {one.le}")
            case Lt():
                parts.append(f"below {one.lt}")
            case MinLen(min_length=least) if least > 1:
                parts.append(f"of at least {least} entries")
            case MinLen(min_length=1):
                parts.append("that is not empty")
            case MaxLen():
                parts.append(f"of at most {one.max_length} entries")
    return "".join(f" {part}" if index == 0 else f" and {part}" for index, part in enumerate(parts))
