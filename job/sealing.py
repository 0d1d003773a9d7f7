"""Trial records as they are stored: with a checksum over all that they say, so that no damaged one is believed.

The stored object is the record's JSON with one more field, `checksum`: the hex SHA-256 of the object without it, as
canonical JSON (keys sorted, no spaces, UTF-8). It covers fields that a later version adds, too, and the provenance:
what says which run the record belongs to, so that no whole record of another is believed.
"""

import hashlib
import json
from typing import Any

from pydantic import ValidationError

from job.records import TrialRecord

CHECKSUM = "checksum"


class BrokenRecordError(ValueError):
    """An object is not the trial record that its key promises; the text says why."""


def provenance_of(spec_hash: str, fingerprint: str, code: str | None) -> str:
    """Return the hex SHA-256 that tells apart runs whose answers may differ.

    Args:
        spec_hash: of the spec.
        fingerprint: of the data.
        code: the SHA-256 of the user's own model; None for a built-in one.
    """
    return hashlib.sha256(json.dumps([spec_hash, fingerprint, code]).encode()).hexdigest()


def seal(record: TrialRecord) -> bytes:
    """The object to store for a record: indented UTF-8 JSON with a final newline."""
    document = json.loads(record.model_dump_json())
    document[CHECKSUM] = _checksum(document)
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def unseal_own(data: bytes, trial_id: str, provenance: str | None) -> TrialRecord:
    """See `unseal`; raises BrokenRecordError for a record of another run, too.

    Args:
        data: the object.
        trial_id: the trial that its key names.
        provenance: of the run that it must belong to; None for one that an earlier version has begun.
    """
    record = unseal(data, trial_id)
    if record.provenance != provenance:
        raise BrokenRecordError("it belongs to a run with another spec, other data or other code")
    return record


def unseal(data: bytes, trial_id: str) -> TrialRecord:
    """The record that an object holds.

    Args:
        data: the object.
        trial_id: the trial that its key names.

    Raises:
        BrokenRecordError: the object is torn, tampered with, or no record of this trial.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenRecordError(f"it is no JSON ({error})") from None
    if not isinstance(document, dict) or CHECKSUM not in document:
        raise BrokenRecordError("it is no trial record with a checksum")
    stated = document.pop(CHECKSUM)
    if stated != _checksum(document):
        raise BrokenRecordError("its checksum is not that of its content")
    try:
        record = TrialRecord.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BrokenRecordError(f"it is no trial record ({where}: {first['msg']})") from None
    if record.trial_id != trial_id:
        raise BrokenRecordError(f"it is the record of trial {record.trial_id}")
    return record


def _checksum(document: dict[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()
