"""Job specs as runs have stored them: read again, and believed only where their hash is that of what they say."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from job.spec.model import JobSpec, hash_of_document

_HASH = "spec_hash"


@dataclass(frozen=True, slots=True)
class StoredSpec:
    """A run's spec.

    Attributes:
        stated: the hash that it was stored with; manifests of its time name it.
        spec: None where this version does not take it any more.
        document: all that it says, without its hash.
    """

    stated: str
    spec: JobSpec | None
    document: Mapping[str, Any]

    def is_of(self, spec: JobSpec) -> bool:
        """Whether it is this spec, as far as the answer depends on it; whichever version has stored it."""
        return self.spec is not None and self.spec.hash() == spec.hash()


def to_store(spec: JobSpec) -> dict[str, Any]:
    """Return the document of a resolved spec with its hash."""
    return {_HASH: spec.hash(), **spec.document()}


def read_stored(data: bytes) -> StoredSpec | None:
    """Return the spec that an object holds; None where it is damaged, or was changed after it had been stored."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get(_HASH), str):
        return None
    stated = document.pop(_HASH)
    try:
        spec = JobSpec.model_validate(document)
    except (ValidationError, RecursionError):
        spec = None
    # Before, 0.1.0 hashed the defaults, too: see tests/golden.
    if stated != (None if spec is None else spec.hash()) and stated != _hash_with_defaults(document):
        return None
    return StoredSpec(stated, spec, document)


def _hash_with_defaults(document: Mapping[str, Any]) -> str | None:
    try:
        return hash_of_document(document)
    except (AttributeError, RecursionError):
        return None
