"""Room on a disk: whether there is enough, and one clear error where there is none left."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from job.errors import StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ADVICE = (
    "Free space there, or set JOB_SCRATCH to a folder on a larger disk; what is finished is kept, and the same command "
    "goes on."
)


def is_disk_full(error: BaseException) -> bool:
    """Whether the operating system refused a write because there is no room (or a quota, or a limit, is reached)."""
    return isinstance(error, OSError) and error.errno in _FULL


def disk_full(path: Path, error: BaseException) -> StoreError:
    """What to raise where a write to `path` found no room."""
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return StoreError(f"cannot write {path}: no space is left on its disk ({reason})", advice=_ADVICE)


@contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk into a StoreError that names `path`; other errors pass as they are."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(path, error) from error
        raise


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start what will not fit.

    Args:
        folder: exists.
        needed: bytes.

    Raises:
        StoreError: there is less room; says where, how much there is, how much is needed and what can be done.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"{folder} has {size_in_words(free)} of free disk space, and this run needs about {size_in_words(needed)}",
            advice="Free space there, or set JOB_SCRATCH to a folder on a larger disk; nothing was trained or written.",
        )


def size_in_words(size: int) -> str:
    """Bytes as a person reads them: `1.5 GiB`."""
    number = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:  # noqa: PLR2004 - the step from unit to unit
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} TiB"
