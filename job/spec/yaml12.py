"""YAML 1.2 (core schema) to and from plain data. ruamel.yaml parses; what a scalar means is decided here.

ruamel's own resolution differs from the core schema where it surprises: `2001-01-01` becomes a date and `1_000`
a number. The schema is section 10.3 of https://yaml.org/spec/1.2.2/.
"""

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ruamel.yaml.error import StreamMark
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

PlainValue = None | bool | int | float | str | list["PlainValue"] | dict[str, "PlainValue"]

# Aliases may repeat a small document into a huge one; a spec has a few hundred values.
MAX_VALUES = 100_000

_CORE_SCHEMA: tuple[tuple[re.Pattern[str], Callable[[str], PlainValue]], ...] = (
    (re.compile(r"(?:~|null|Null|NULL|)"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)
_TAG = "tag:yaml.org,2002:"
# What an untagged scalar may have been given by ruamel's resolver.
_IMPLICIT_TAGS = {_TAG + kind for kind in ("null", "bool", "int", "float", "timestamp", "merge", "value")}

_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_./](?:[A-Za-z0-9_./+:@=-]*[A-Za-z0-9_./+@=-])?")
_YAML_1_1_BOOLEANS = {"y", "n", "yes", "no", "on", "off"}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


class YamlError(ValueError):
    """The text is not YAML that a spec can be written in; the message ends with line and column."""

    def __init__(self, message: str, mark: "StreamMark | None" = None) -> None:
        where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        super().__init__(f"{message}{where}")


def load_yaml(text: str) -> PlainValue:
    """The single document in `text`; None if it is empty.

    Raises:
        YamlError: a syntax error, a duplicate or non-text key, a tag, several documents, or values that
            refer to themselves or multiply beyond `MAX_VALUES`.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - documents in JSON or TOML do without
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415

    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    try:
        with warnings.catch_warnings():
            # YAML allows an anchor to be set anew; ruamel warns of it.
            warnings.simplefilter("ignore")
            node = yaml.compose(text)
    except MarkedYAMLError as error:
        raise YamlError(error.problem or error.context or "syntax error", error.problem_mark) from error
    except YAMLError as error:
        raise YamlError("a character is not allowed in YAML") from error
    except RecursionError as error:
        raise YamlError("nested too deeply") from error
    return None if node is None else _Reader().read(node, ())


class _Reader:
    """Turns one document's nodes into plain data."""

    def __init__(self) -> None:
        self._count = 0

    def read(self, node: "Node", ancestors: tuple[int, ...]) -> PlainValue:
        from ruamel.yaml.nodes import MappingNode, ScalarNode  # noqa: PLC0415 - loaded by load_yaml

        self._count += 1
        if self._count > MAX_VALUES:
            raise YamlError(f"more than {MAX_VALUES} values", node.start_mark)
        if id(node) in ancestors:
            raise YamlError("a value refers to itself", node.start_mark)
        if isinstance(node, ScalarNode):
            return _scalar(node)
        inside = (*ancestors, id(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, inside)
        _expect_tag(node, "seq")
        return [self.read(entry, inside) for entry in node.value]

    def _mapping(self, node: "MappingNode", inside: tuple[int, ...]) -> PlainValue:
        _expect_tag(node, "map")
        mapping: dict[str, PlainValue] = {}
        for key_node, value_node in node.value:
            key = self.read(key_node, inside)
            if not isinstance(key, str):
                raise YamlError(f"a key must be text, found {key!r}: put it in quotes", key_node.start_mark)
            if key in mapping:
                raise YamlError(f"the key {key!r} is given twice", key_node.start_mark)
            mapping[key] = self.read(value_node, inside)
        return mapping


def _scalar(node: "ScalarNode") -> PlainValue:
    tag = str(node.tag)
    if tag in {_TAG + "str", "!"}:
        return str(node.value)
    if node.style is not None or tag not in _IMPLICIT_TAGS:
        raise YamlError(f"the tag {tag.replace(_TAG, '!!')} is not supported", node.start_mark)
    try:
        return resolve_scalar(node.value)
    except ValueError as error:  # a whole number of thousands of digits
        raise YamlError("a number is too long", node.start_mark) from error


def resolve_scalar(text: str) -> PlainValue:
    """What a plain (unquoted) scalar means in YAML 1.2's core schema."""
    for pattern, convert in _CORE_SCHEMA:
        if pattern.fullmatch(text):
            return convert(text)
    return text


def _expect_tag(node: "Node", kind: str) -> None:
    if str(node.tag) != _TAG + kind:
        tag = str(node.tag).replace(_TAG, "!!")
        raise YamlError(f"the tag {tag} is not supported", node.start_mark)


def dump_yaml(data: Mapping[str, object]) -> str:
    """A mapping as YAML that `load_yaml` reads back to equal data: mappings as blocks, lists in brackets."""
    return "".join(f"{line}\n" for line in _block(data))


def _block(mapping: Mapping[str, object]) -> Iterator[str]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield f"{_in_quotes_if_needed(key)}:"
            yield from (f"  {line}" for line in _block(value))
        else:
            yield f"{_in_quotes_if_needed(key)}: {_flow(value)}"
    if not mapping:
        yield "{}"


def _flow(value: object) -> str:
    match value:
        case Mapping():
            inner = ", ".join(f"{_in_quotes_if_needed(key)}: {_flow(entry)}" for key, entry in value.items())
            return f"{{{inner}}}"
        case list():
            return f"[{', '.join(map(_flow, value))}]"
        case str():
            return _in_quotes_if_needed(value)
        case float() if not math.isfinite(value):
            return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
        case _:
            return json.dumps(value)


def _in_quotes_if_needed(text: str) -> str:
    # Quotes also where readers of YAML 1.1 would see a boolean.
    if _PLAIN_TEXT.fullmatch(text) and resolve_scalar(text) == text and text.lower() not in _YAML_1_1_BOOLEANS:
        return text
    return (
        '"' + "".join(_ESCAPES.get(one) or (one if one.isprintable() else f"\\U{ord(one):08x}") for one in text) + '"'
    )
