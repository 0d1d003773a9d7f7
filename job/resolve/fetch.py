"""The spec's document, wherever it is: a file, an object, standard input, or the argument itself."""

import re
import sys
from pathlib import Path

from job.errors import AccessError, Problem, SpecError
from job.redaction import redact_text, show
from job.spec.document import MAX_DOCUMENT_BYTES, Document, parse_document
from job.store import open_store, split_object_url

STANDARD_INPUT = "-"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# `name: nightly` or `name = "nightly"`: one line that is no file's name.
_ONE_FIELD = re.compile(r"""["']?[\w.-]+["']?\s*(?::(?:\s|$)|=)""")


def fetch_document(source: str, origin: str) -> Document:
    """Fetch and parse a spec document.

    Args:
        source: a path, an `s3://` or `file://` URL, `-` for standard input, or the document itself.
        origin: what gave the source (`--spec` or the variable's name), for messages.

    Raises:
        SpecError: there is none, or it is not a document.
        AccessError, StoreError: the file system or the store refuses or fails.
    """
    if source == STANDARD_INPUT:
        return _parse(sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1), "standard input")
    if "\n" in source or source.lstrip().startswith("{") or not source.strip():
        return parse_document(source, source=origin)
    if _URL.match(source):
        return _from_store(source, origin)
    path = Path(source)
    if _ONE_FIELD.match(source.lstrip()) and not _exists(path):
        return parse_document(source, source=origin)
    return _from_file(path, origin)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a file's name, which a document may well be
        return False


def _from_file(path: Path, origin: str) -> Document:
    try:
        with path.expanduser().open("rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
    except FileNotFoundError as error:
        message = f"there is no file {show(str(path))}, and it is no document such as `name: nightly`"
        raise SpecError([Problem(origin, message)]) from error
    except PermissionError as error:
        raise AccessError(f"{origin}: the file {show(str(path))} may not be read") from error
    except (OSError, RuntimeError) as error:  # a folder; `~` of an unknown user
        message = f"the file {show(str(path))} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise SpecError([Problem(origin, message)]) from error
    return _parse(data, str(path), path.name)


def _from_store(url: str, origin: str) -> Document:
    shown = redact_text(url)
    try:
        store_url, key = split_object_url(url)
        store = open_store(store_url)
    except ValueError as error:
        raise SpecError([Problem(origin, redact_text(str(error)))]) from error
    known = store.stat(key)
    if known is None:
        raise SpecError([Problem(origin, f"there is no object {shown}")])
    if known.size > MAX_DOCUMENT_BYTES:
        raise _too_large(shown)
    return _parse(store.get(key).data, shown, key)


def _parse(data: bytes, source: str, name: str | None = None) -> Document:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise _too_large(source)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError([Problem(source, f"expected a text in UTF-8; byte {error.start} is none")]) from error
    return parse_document(text, source=source, name=name)


def _too_large(source: str) -> SpecError:
    return SpecError([Problem(source, f"expected a spec of at most {MAX_DOCUMENT_BYTES // 1024} KiB")])
