"""What a user types for a place in a store: `s3://bucket[/prefix]`, `file:///path`, or a plain path."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from job.store.keys import check_key

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# `s3:/bucket` would otherwise pass as the path of a folder named `s3:`.
_BROKEN_SCHEME = re.compile(r"(?i)(s3|file):")
# The rule for bucket names, widened to what older buckets and other servers than Amazon's allow.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_EXPECTED = "expected s3://bucket[/prefix], file:///path or a path"


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket, and the prefix under it without slashes at its ends; empty for the whole bucket."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class LocalLocation:
    """An absolute path without `..`; symbolic links stay as they were typed."""

    path: Path


def parse_store_url(url: str) -> S3Location | LocalLocation:
    """Understand the URL of a store's root.

    Raises:
        ValueError: the URL is empty, has another scheme, or names no bucket or path.
    """
    scheme, rest = _split_scheme(url)
    if scheme == "s3":
        return _parse_s3(url, rest)
    if scheme == "file":
        path = _file_url_path(url)
    else:
        try:
            path = Path(url).expanduser()
        except RuntimeError as error:  # `~` of an unknown user, or no home folder
            raise ValueError(f"{url!r}: {error}") from error
    # Path.absolute would keep `..`, and creating `a/../b` would then create `a`.
    return LocalLocation(Path(os.path.abspath(path)))  # noqa: PTH100


def split_object_url(url: str) -> tuple[str, str]:
    """Split the URL or path of one object into its store's URL and its key there.

    `s3://bucket/a/b.npz` gives `("s3://bucket/a/", "b.npz")`, `data/b.npz` gives `("data/", "b.npz")`: the
    folder is the store, so that what lies above it need not be readable.

    Raises:
        ValueError: the URL is not one of an object (a bare bucket, a trailing slash, another scheme).
    """
    scheme, rest = _split_scheme(url)
    folder, slash, name = rest.rpartition("/")
    if not name or (scheme == "s3" and not folder):
        raise ValueError(f"{url!r} names no object: a key or file name is expected at its end")
    store_url = url[: len(url) - len(name)] if slash else "."
    parse_store_url(store_url)
    key = unquote(name) if scheme == "file" else name
    _check_part(url, key)
    return store_url, key


def _split_scheme(url: str) -> tuple[str | None, str]:
    match = _SCHEME.match(url)
    if match is None:
        if not url or _BROKEN_SCHEME.match(url):
            raise ValueError(f"{url!r} is not the URL of a store: {_EXPECTED}")
        return None, url
    scheme = match[1].lower()
    if scheme not in {"s3", "file"}:
        raise ValueError(f"{url!r}: {scheme}:// is not supported; {_EXPECTED}")
    return scheme, url[match.end() :]


def _parse_s3(url: str, rest: str) -> S3Location:
    # Not urlsplit: `?`, `#` and `%` are ordinary characters of a key.
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{url!r} names no bucket: s3://bucket[/prefix] is expected")
    prefix = prefix.strip("/")
    if prefix:
        _check_part(url, prefix)
    return S3Location(bucket, prefix)


def _check_part(url: str, part: str) -> None:
    try:
        check_key(part)
    except ValueError as error:
        raise ValueError(f"{url!r}: {error}") from error


def _file_url_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or not parts.path or parts.query or parts.fragment:
        raise ValueError(f"{url!r}: file:///path is expected, without host, query and fragment")
    return Path(unquote(parts.path))
