"""Values as they may be shown to anyone: short, and without secrets. Imports nothing of the job."""

import json
import re
from collections.abc import Iterable, Mapping

REDACTED = "<redacted>"
MAX_SHOWN = 80

_SECRET_KEY = re.compile(r"secret|passw|pwd|token|credential|access_?key|key_?id|private_?key", re.IGNORECASE)
_URL_USER = re.compile(r"([a-z][a-z0-9+.-]*://)[^/@\s]*@", re.IGNORECASE)
# Presigned URLs carry their authority in the query.
_SIGNED_QUERY = re.compile(
    r"((?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)=)[^&\s\"']+", re.IGNORECASE
)
_ACCESS_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")


def is_secret_name(name: str) -> bool:
    """Whether a key of this name is expected to hold a secret."""
    return _SECRET_KEY.search(name) is not None


def redact_text(text: str) -> str:
    """The text without users in URLs, signatures of presigned URLs and AWS access key ids."""
    text = _URL_USER.sub(rf"\1{REDACTED}@", text)
    text = _SIGNED_QUERY.sub(rf"\1{REDACTED}", text)
    return _ACCESS_KEY_ID.sub(REDACTED, text)


def redact(value: object) -> object:
    """Plain data with every secret replaced, however deep."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {key: REDACTED if is_secret_name(str(key)) else redact(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [redact(entry) for entry in value]
    return value


def show(value: object, path: Iterable[str | int] = ()) -> str:
    """A value of the spec for a message: as JSON, shortened, redacted if its path names a secret."""
    if any(isinstance(segment, str) and is_secret_name(segment) for segment in path):
        return REDACTED
    text = json.dumps(redact(value), ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
