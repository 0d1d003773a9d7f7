"""The run's scratch folder: what lives on this machine's disk, and outlives the process that wrote it.

It is found again by the run's address: after a transient end (exit code 20, 75, 130 or 143, or SIGKILL) the same
command on the same machine finds its checkpoints, and what was not stored yet. It goes with the run's publication or
with a permanent failure; folders that nobody came back to are removed after some days.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from job.disk import clear_disk_errors, disk_full, is_disk_full
from job.errors import AccessError, JobError, LockedError
from job.file_lock import open_locked, unlock
from job.logs import get_logger

DEFAULT_FOLDER = "tuning-job"
# A folder that no run came back to for so long is removed.
STALE_SECONDS = 7 * 24 * 3600

_LOCK = "lock"
_TOKEN = "token"  # noqa: S105 - a fencing token's file, no secret
# Made anew by every start; the rest is what a later start wants.
_TEMPORARY = "tmp"
_REMADE = (_TEMPORARY, "data", "exports")
_NAME = re.compile(r"[0-9a-f]{24}")
# A process that was killed a moment ago may still hold the lock while the system takes its memory back.
_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.1


@dataclass(slots=True)
class Scratch:
    """A run's scratch folder, held by this process."""

    folder: Path
    is_kept: bool = True

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of trials that are under way or may be promoted."""
        return self.folder / "checkpoints"

    @property
    def exports(self) -> Path:
        """The model in other formats."""
        return self.folder / "exports"

    @property
    def outbox(self) -> Path:
        """What is finished and not stored yet."""
        return self.folder / "outbox"

    def remove_at_end(self) -> None:
        """Nothing here is of use to a later start."""
        self.is_kept = False

    def follows(self, token: int) -> bool:
        """Whether nobody has held the run's lease between the last start here and this one; notes this one's token.

        Args:
            token: the lease's fencing token, which each holder has one more of than the one before.
        """
        file = self.folder / _TOKEN
        try:
            last = int(file.read_text())
        except (OSError, ValueError):
            last = None
        with clear_disk_errors(file):
            file.write_text(str(token))
        return last in {token, token - 1}


def scratch_root(setting: str | None) -> Path:
    """The folder of all runs' scratch folders: what `JOB_SCRATCH` says, or one in the system's temporary folder."""
    if setting is not None:
        return Path(setting).expanduser().absolute()
    return Path(tempfile.gettempdir()) / DEFAULT_FOLDER


def nearest_existing(folder: Path) -> Path:
    """Return a folder, or that above it which it would be made in.

    Raises:
        AccessError: the folder cannot be: a name is too long, or one on the way may not be entered.
    """
    try:
        return next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        raise _explain(error, folder) from error


@contextmanager
def claim_scratch(root: Path, run_url: str, *, patience: float = _PATIENCE_SECONDS) -> Iterator[Scratch]:
    """Hold a run's scratch folder, and keep all temporary files of this process and its children in it.

    Args:
        root: the folder of all runs' scratch folders.
        run_url: the run's address in its store.
        patience: seconds to wait for another process of this machine to let go of it.

    Raises:
        LockedError: another process of this machine works on the run.
        AccessError: the folder cannot be made.
        StoreError: its disk is full.
    """
    folder = root / hashlib.sha256(run_url.encode()).hexdigest()[:24]
    try:
        lock = _lock(folder, time.monotonic() + patience)
    except OSError as error:
        raise _explain(error, folder) from error
    scratch = Scratch(folder)
    try:
        _remove_stale(root)
        _remove_remade(folder)
        with _temporary_files_in(folder / _TEMPORARY):
            yield scratch
    finally:
        if scratch.is_kept:
            _remove_remade(folder)
            os.utime(lock)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        unlock(lock)


def _lock(folder: Path, deadline: float) -> int:
    """The locked lock file's descriptor."""
    while True:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):  # removed by its last holder meanwhile
            if folder.stat().st_uid != os.getuid():
                raise PermissionError(errno.EPERM, "it belongs to another user")
            descriptor = open_locked(folder / _LOCK, 0o600)
            if descriptor is not None:
                os.utime(descriptor)
                return descriptor
        if time.monotonic() > deadline:
            raise LockedError(
                f"another process of this machine works on the run: it holds {folder}",
                advice="wait for its end, or give this job a run id of its own",
            )
        time.sleep(_POLL_SECONDS)


def _remove_remade(folder: Path) -> None:
    for name in _REMADE:
        shutil.rmtree(folder / name, ignore_errors=True)


def _remove_stale(root: Path) -> None:
    """Remove the folders of runs that nobody has come back to."""
    for folder in root.iterdir():
        lock = folder / _LOCK
        with suppress(OSError):
            if not _NAME.fullmatch(folder.name) or time.time() - lock.stat().st_mtime < STALE_SECONDS:
                continue
            descriptor = open_locked(lock, 0o600)
            if descriptor is None:
                continue
            try:
                shutil.rmtree(folder, ignore_errors=True)
                get_logger().info("old scratch folder removed", folder=str(folder))
            finally:
                unlock(descriptor)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Have this process and its children make temporary files in a folder, so that a killed one leaves none elsewhere.

    TensorFlow, for one, writes a Python file for every function that it traces, and removes them at its orderly end.
    """
    with clear_disk_errors(folder):
        folder.mkdir()
    variable, attribute = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = attribute
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable


def _explain(error: OSError, folder: Path) -> JobError:
    if is_disk_full(error):
        return disk_full(folder, error)
    reason = error.strerror or type(error).__name__
    return AccessError(
        f"the scratch folder {folder} cannot be used: {reason}",
        advice="Set JOB_SCRATCH to a folder that the job may write to; checkpoints and arrays are kept there.",
    )
