"""The rule that every object key keeps, so that a key means the same object in every store."""

# Names that begin so belong to the stores themselves: temporary files and the lock of a local directory.
RESERVED_PREFIX = ".tuning-job-"

# Amazon S3's limit for a whole key, and the limit of a file name on Linux; both count bytes of UTF-8.
_MAX_KEY_BYTES = 1024
_MAX_SEGMENT_BYTES = 255


def check_key(key: str) -> str:
    """Return a key that keeps the rule.

    Raises:
        ValueError: the key is empty, absolute, too long, not UTF-8, holds a backslash or a control
            character, or one of its `/`-separated segments is empty, `.`, `..` or reserved.
    """
    problem = _problem_of(key)
    if problem is not None:
        raise ValueError(f"{key!r} cannot be an object's key: {problem}")
    return key


def is_key(name: str) -> bool:
    """Whether a name found in a store is a key: others (a console's folder markers) are not ours to show."""
    return _problem_of(name) is None


def check_prefix(prefix: str) -> str:
    """Return a prefix that keys may begin with: a key, a part of one, or nothing.

    Raises:
        ValueError: no key can begin so.
    """
    folders, slash, _ = prefix.rpartition("/")
    if slash:
        check_key(folders)
    problem = _character_problem(prefix)
    if problem is not None:
        raise ValueError(f"{prefix!r} cannot begin an object's key: {problem}")
    return prefix


def check_folder(prefix: str) -> str:
    """Return a prefix that is a whole folder: nothing, or a key with a `/` at its end.

    Raises:
        ValueError: it is neither.
    """
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} is no folder: a '/' at its end is expected")
    return check_prefix(prefix)


def _problem_of(key: str) -> str | None:
    if not key:
        return "it is empty"
    problem = _character_problem(key)
    if problem is None and len(key.encode()) > _MAX_KEY_BYTES:
        problem = f"it is longer than {_MAX_KEY_BYTES} bytes"
    if problem is not None:
        return problem
    return next((found for found in map(_segment_problem, key.split("/")) if found is not None), None)


def _segment_problem(segment: str) -> str | None:
    if segment in {"", ".", ".."}:
        return f"it has the segment {segment!r}; a relative path without empty, '.' and '..' is expected"
    if segment.startswith(RESERVED_PREFIX):
        return f"names that begin with {RESERVED_PREFIX!r} are reserved"
    if len(segment.encode()) > _MAX_SEGMENT_BYTES:
        return f"it has a segment of more than {_MAX_SEGMENT_BYTES} bytes"
    return None


def _character_problem(text: str) -> str | None:
    # Some servers turn a backslash into a slash, which would make two keys one object.
    if "\\" in text:
        return "it holds a backslash"
    if any(ord(character) < ord(" ") or character == "\x7f" for character in text):
        return "it holds a control character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it cannot be written in UTF-8"
    return None
