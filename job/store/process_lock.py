"""A lock that a process holds on a folder of a local store until it lets go or dies.

The kernel takes an flock from a dead process at once, which a heartbeat can only show after a while. Between machines
it works where the file system shares its locks; elsewhere it is free although somebody lives, so that a lock that was
had proves little by itself. `identity` tells what it does prove: a process that held the lock of the same identity,
that is the same file under the same kernel, is gone.
"""

import contextlib
import os
import uuid
from pathlib import Path

from job.file_lock import open_locked, unlock
from job.store.keys import RESERVED_PREFIX
from job.store.local import LocalStore
from job.store.protocol import ObjectStore

_NAME = f"{RESERVED_PREFIX}holder"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Descriptors of the locks that this process holds.
_held: set[int] = set()


def _close_in_child() -> None:
    """A forked child would hold a copy of the descriptor, and with it the lock after its parent's death."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


class ProcessLock:
    """The lock of one folder of a local store.

    Args:
        folder: an existing folder or one to create; nothing that the store shows is written there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._descriptor: int | None = None
        self.identity = ""

    def take(self) -> bool:
        """Have the lock, without waiting; False where another process has it.

        Raises:
            OSError: the folder cannot be written, or its file system has no locks.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_locked(self._path, 0o666)
        if descriptor is None:
            return False
        self._descriptor = descriptor
        _held.add(descriptor)
        locked = os.fstat(descriptor)
        self.identity = f"{_boot_id()}:{locked.st_dev}:{locked.st_ino}"
        return True

    def release(self) -> None:
        """Let go, if it is held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        _held.discard(descriptor)
        unlock(descriptor)


def process_lock(store: ObjectStore, prefix: str) -> ProcessLock | None:
    """The lock of the folder `prefix` of a store; None where the store is no local directory."""
    if not isinstance(store, LocalStore):
        return None
    return ProcessLock(Path(store.url) / prefix)


def _boot_id() -> str:
    """Names a kernel from its start to its end."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        # Without it no lock proves anything: whoever comes later watches the heartbeat.
        return uuid.uuid4().hex
