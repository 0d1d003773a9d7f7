"""`inputs.json`: what a run started from, as it is written, read, and compared with what a later start finds."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from job.records import Inputs, SourceObject, artifact_of

# A version of one of these decides the last bits, or the search's order.
_DECISIVE_PACKAGES = ("keras", "keras-tuner", "numpy", "tensorflow")
# More objects of the data are listed in an object of their own.
_MOST_OBJECTS = 1000
_OBJECTS = TypeAdapter(dict[str, SourceObject])
# What the fields of the user's own code begin with.
_OF_CODE = "model."


def as_stored(document: Mapping[str, Any]) -> bytes:
    """Return a document as runs store it."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def listed_apart(inputs: Inputs) -> tuple[Inputs, dict[str, Any]]:
    """Return inputs that stay small, and the document that their `listing` names: empty where they were small."""
    if len(inputs.objects) <= _MOST_OBJECTS:
        return inputs, {}
    own_code = {name: found for name, found in inputs.objects.items() if name.startswith(_OF_CODE)}
    listed = {
        name: found.model_dump(mode="json", exclude_none=True)
        for name, found in sorted(inputs.objects.items())
        if name not in own_code
    }
    return inputs.model_copy(update={"objects": own_code, "listing": artifact_of(as_stored(listed))}), listed


def read_objects(data: bytes) -> dict[str, SourceObject] | None:
    """Return the data's objects that were listed apart; None where that is not what it is."""
    try:
        return _OBJECTS.validate_json(data)
    except ValidationError:
        return None


def read_inputs(data: bytes) -> Mapping[str, Any] | None:
    """Return what a run started from, as it was written; None where that is not what it is."""
    try:
        document = json.loads(data)
        # The types are those of the version that wrote it, which may be a later one.
        return document if isinstance(document["data"]["fingerprint"], str) else None
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def decisive_differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return what differs of the data, the user's code, the engine and the versions that the numbers depend on.

    A pin that the first start did not write, because it was an earlier version, decides nothing.
    """
    found = differences({"data": stored.get("data")}, {"data": wanted["data"]})
    if found:
        # The objects say which of the files it was.
        found += [name for name in differences(stored, wanted) if name.startswith("objects.")]
    found += _other_code(stored.get("objects"), wanted["objects"])
    for section, names in (
        ("engine", [name for name in wanted["engine"] if name != "cpu"]),
        ("versions", _DECISIVE_PACKAGES),
    ):
        was = stored.get(section)
        if isinstance(was, Mapping):
            found += [
                f"{section}.{name} ({was[name]} then, {wanted[section].get(name)} now)"
                for name in names
                if name in was and was[name] != wanted[section].get(name)
            ]
    return found


def _other_code(stored: object, wanted: Mapping[str, Any]) -> list[str]:
    """What of the model's code is not what the run started with."""
    was = stored if isinstance(stored, Mapping) else {}
    found = []
    for name, now in wanted.items():
        if not name.startswith(_OF_CODE):
            # Of data the fingerprint decides, whichever code has made it.
            continue
        then = was.get(name)
        sha256 = then.get("sha256") if isinstance(then, Mapping) else None
        if sha256 is not None and sha256 != now["sha256"]:
            found.append(f"{name} (code with the SHA-256 {sha256[:12]}… then, {str(now['sha256'])[:12]}… now)")
    return found


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: str = "") -> list[str]:
    """Return the dotted paths of the leaves that differ."""
    found: list[str] = []
    for name in sorted({*stored, *wanted}):
        one, other = stored.get(name), wanted.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, f"{path}{name}.")
        elif one != other:
            found.append(f"{path}{name}")
    return found
