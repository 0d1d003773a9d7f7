"""Locks on files (flock): the kernel takes them from a process that has died.

Closing the descriptor does not let go where a child was forked meanwhile: it has a copy. `unlock` does.
"""

import fcntl
import os
import time
from pathlib import Path

_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.05


def open_locked(path: Path, mode: int) -> int | None:
    """Open a file and lock it, without waiting.

    Args:
        path: of the file, which is made if it is not there.
        mode: its permissions then.

    Returns:
        The descriptor; None where another one holds the lock.

    Raises:
        OSError: the file cannot be opened, or its file system has no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            if not _try_lock(descriptor):
                os.close(descriptor)
                return None
            # Somebody may have removed it between opening and locking: that lock is nobody else's any more.
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def lock_within(descriptor: int, seconds: float) -> bool:
    """Lock an open file; False where somebody else has held the lock for so long."""
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE_SECONDS
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    return True


def unlock(descriptor: int) -> None:
    """Let go of a lock and close the file."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
