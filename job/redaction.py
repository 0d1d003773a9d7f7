"""Text as it may be shown to anyone: without secrets. Imports nothing of the job.

Secrets are told by their form (users in URLs, signed queries, AWS access key ids), and by the environment: what a
variable holds whose name says that it is a secret is replaced wherever it appears.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator

REDACTED = "<redacted>"
MAX_SHOWN = 80

_SECRET_KEY = re.compile(r"secret|passw|pwd|token|credential|access_?key|key_?id|private_?key|^tags$", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|KEY|CREDENTIAL", re.IGNORECASE)
# Up to the last `@`, for passwords may hold anything; but not where a port and a path come before it.
_URL_USER = re.compile(r"([a-z][a-z0-9+.-]*://)(?![^/@\s:]+:\d+/)[^\s\"'<>/@]*(?::[^\s\"'<>]*)?@", re.IGNORECASE)
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?\"'<>]+\?)[^\s\"'<>]+", re.IGNORECASE)
# Presigned URLs carry their authority in the query.
_SIGNED_QUERY = re.compile(
    r"((?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)=)[^&\s\"']+", re.IGNORECASE
)
_ACCESS_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")

# Shorter values, and these, are words that stand for other things as well.
_LEAST_SECRET = 6
_NO_SECRETS = frozenset({"default", "disabled", "enabled", "required"})
# A line of a longer secret, a private key for example.
_LEAST_LINE = 16

# As the environment was when the process began; forked workers inherit it.
_secrets: list[str] = []


def learn_secrets(environ: Mapping[str, str]) -> None:
    """Have the values of variables whose names say that they are secrets replaced from now on, in this process.

    Values of fewer than 6 characters are not: such words stand for other things as well.
    """
    found = set[str]()
    for name, value in environ.items():
        text = value.strip()
        if _SECRET_VARIABLE.search(name) is None or len(text) < _LEAST_SECRET or text.lower() in _NO_SECRETS:
            continue
        lines = [line.strip() for line in text.splitlines()]
        for part in (text, *(line for line in lines if len(line) >= _LEAST_LINE)):
            # As a program prints it, as it stands in JSON, and as it stands in a URL.
            found |= {part, repr(part)[1:-1], json.dumps(part)[1:-1], quote(part, safe="")}
    # The longest first, for one may be a part of another.
    _secrets[:] = sorted(found, key=len, reverse=True)


def is_secret_name(name: str) -> bool:
    """Whether a key of this name is expected to hold a secret."""
    return _SECRET_KEY.search(name) is not None


def redact_text(text: str) -> str:
    """The text without secrets: those of the environment, users and queries of URLs, AWS access key ids."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    if "://" in text:
        text = _URL_USER.sub(rf"\1{REDACTED}@", text)
        text = _QUERY.sub(rf"\1{REDACTED}", text)
    text = _SIGNED_QUERY.sub(rf"\1{REDACTED}", text)
    return _ACCESS_KEY_ID.sub(REDACTED, text)


def redact_texts(value: object) -> object:
    """Plain data with `redact_text` done to every string, keys of mappings included, however deep."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {redact_texts(key): redact_texts(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [redact_texts(entry) for entry in value]
    return value


def redact(value: object) -> object:
    """Plain data with every secret replaced, however deep: also whatever stands under a secret's name."""
    if isinstance(value, Mapping):
        return {key: REDACTED if is_secret_name(str(key)) else redact(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [redact(entry) for entry in value]
    return redact_texts(value)


def show(value: object, path: Iterable[str | int] = ()) -> str:
    """A value of the spec for a message: as JSON, shortened, redacted if its path names a secret."""
    if any(isinstance(segment, str) and is_secret_name(segment) for segment in path):
        return REDACTED
    text = json.dumps(redact(value), ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


# What somebody else's code or library has said, in an object that is stored.
Told = Annotated[str, AfterValidator(redact_text)]
