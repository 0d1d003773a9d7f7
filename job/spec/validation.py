"""From a document to a JobSpec, or to all that is wrong with it, in the user's words."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from job.errors import Problem, SpecError
from job.redaction import is_secret_name, show
from job.spec.checks import CHECKS
from job.spec.document import Document
from job.spec.drafts import Check, Draft, Finding
from job.spec.fields import listed, nearest, paths_named, place_at, root
from job.spec.model import JobSpec
from job.spec.paths import Path, begins_with, format_path

_UNKNOWN = "extra_forbidden"
_MISSING = "missing"
# pydantic reports these at the entry; the user looks for them at its `type`.
_WRONG_TYPE = {"union_tag_invalid", "union_tag_not_found"}
# Where the type of a space's entry stands in a location: ("space", "units", "int", "min_value").
_TAG_DEPTH = 2


def validate_document(
    document: Document,
    origins: Mapping[Path, str] | None = None,
    *,
    found_before: Sequence[Problem] = (),
    more_checks: Iterable[Check] = (),
) -> JobSpec:
    """Validate a document as a whole.

    What is wrong by itself is set aside, and the cross-field checks run on what remains, so that one call reports
    everything.

    Args:
        document: plain data; see `job.spec.document`.
        origins: what set the values that do not come from the document itself.
        found_before: problems that are known already, such as overrides that name nothing.
        more_checks: cross-field checks in addition to those of `job.spec.checks`.

    Raises:
        SpecError: with every problem.
    """
    document = _without_empty_sections(document)
    draft, findings = _draft(document)
    for check in (*CHECKS, *more_checks):
        findings.extend(check.run(draft))
    problems = [*found_before, *(_problem(finding, document, origins or {}) for finding in findings)]
    if problems:
        raise SpecError(problems)
    return draft.spec


def _without_empty_sections(document: Document) -> Document:
    """`space:` with nothing beneath it is null in YAML, and means the default."""
    return {key: value for key, value in document.items() if value is not None or not _is_section(key)}


def _is_section(key: str) -> bool:
    place = root().step(key)
    return place is not None and place.is_mapping


def _draft(document: Document) -> tuple[Draft, list[Finding]]:
    """The spec without what is invalid by itself, and what that is."""
    valid = copy.deepcopy(document)
    broken: set[Path] = set()
    findings: list[Finding] = []
    while True:
        try:
            return Draft(JobSpec.model_validate(valid), frozenset(broken)), findings
        except ValidationError as error:
            found = list(_findings(error.errors(include_url=False), valid))
            removed = {_remove(valid, finding.path) for finding in found}
            if removed <= broken:
                # Nothing more can be taken out: a mistake of ours, and no reason to go round for ever.
                raise
        # Later rounds see what the first one's removals left incomplete: no news for the user.
        findings = findings or found
        broken |= removed


def _remove(document: Document, path: Path) -> Path:
    """Take an invalid value out, or what holds it where it is missing; returns the path of what is gone."""
    names = [segment for segment in path[: _list_depth(path)] if isinstance(segment, str)]
    holder: object = document
    for name in names[:-1]:
        holder = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(holder, dict) and names[-1] in holder:
        del holder[names[-1]]
        return tuple(names)
    return _remove(document, tuple(names[:-1])) if len(names) > 1 else tuple(names)


def _list_depth(path: Path) -> int:
    """How much of the path lies outside lists: a list is valid or not as a whole."""
    return next((depth for depth, segment in enumerate(path) if isinstance(segment, int)), len(path))


def _findings(errors: Sequence[ErrorDetails], document: Document) -> Iterator[Finding]:
    by_path: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        by_path.setdefault(_path_of(error, document), []).append(error)
    for path, at_path in by_path.items():
        # Of a union, the member that got furthest is the one that was meant.
        if not any(other != path and begins_with(other, path) for other in by_path):
            is_known = all(error["type"] != _UNKNOWN for error in at_path)
            message = _message(path, at_path, document) if is_known else _unknown_field(path, document)
            yield Finding(path, message, shows_value=is_known)


def _path_of(error: ErrorDetails, document: Document) -> Path:
    """The error's location without what is not in the document: the tags and names of union members."""
    path: Path = ()
    value: object = document
    for depth, segment in enumerate(error["loc"]):
        if depth == _TAG_DEPTH and path[:1] == ("space",):
            continue
        inner = _inside(value, segment)
        if inner is not _NOTHING:
            path, value = (*path, segment), inner
    if error["type"] == _MISSING:
        path = (*path, error["loc"][-1])
    return (*path, "type") if error["type"] in _WRONG_TYPE else path


_NOTHING = object()


def _inside(value: object, segment: str | int) -> object:
    if isinstance(value, Mapping):
        return value.get(segment, _NOTHING)
    is_index = isinstance(value, list) and isinstance(segment, int) and segment < len(value)
    return value[segment] if is_index else _NOTHING  # type: ignore[index]


def _value_at(document: Document, path: Path) -> object:
    value: object = document
    for segment in path:
        value = _inside(value, segment)
    return value


def _message(path: Path, errors: Sequence[ErrorDetails], document: Document) -> str:
    kinds = {error["type"] for error in errors}
    # What our own validators say is already in words.
    said = [str(error["ctx"]["error"]) for error in errors if error["type"] == "value_error"]
    if said:
        return said[0]
    place = place_at(path, document)
    expected = f"expected {place.expected}" if place is not None and place.expected else str(errors[0]["msg"])
    return f"missing; {expected}" if kinds <= {_MISSING, "union_tag_not_found"} else expected


def _unknown_field(path: Path, document: Document) -> str:
    name = str(path[-1])
    holder = place_at(path[:-1], document)
    known = holder.narrowed(_value_at(document, path[:-1])).names if holder is not None else ()
    close = nearest(name, known)
    elsewhere = paths_named(name) if len(path) == 1 else []
    if close:
        return f"unknown field; did you mean {close}?"
    if elsewhere:
        return f"unknown field; did you mean {elsewhere[0]}?"
    if is_secret_name(name):
        return "unknown field; credentials are never in a spec: boto3's own chain (AWS_* variables, roles) finds them"
    return f"unknown field; known here are {listed(known, 'and')}"


def _problem(finding: Finding, document: Document, origins: Mapping[Path, str]) -> Problem:
    value = _value_at(document, finding.path)
    return Problem(
        format_path(finding.path),
        finding.message,
        show(value, finding.path) if finding.shows_value and value is not _NOTHING else None,
        _origin(finding.path, origins),
    )


def _origin(path: Path, origins: Mapping[Path, str]) -> str | None:
    """What set the value at the path, or parts of it."""
    concerned = [by for where, by in origins.items() if begins_with(path, where) or begins_with(where, path)]
    return listed(tuple(dict.fromkeys(concerned)), "and") or None
