"""Locks on files: one holder at a time, had back from the dead, and never waited for without end."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from job.errors import StoreError
from job.file_lock import lock_within, open_locked, unlock
from job.store import LocalStore

HOLDER = """
import sys, time
from pathlib import Path
from job.file_lock import open_locked
open_locked(Path(sys.argv[1]), 0o600)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder():
    """Another process that holds the lock of a file, until it is ended."""
    held = []

    def hold(path):
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
        held.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in held:
        process.kill()
        process.communicate()


def test_a_lock_has_one_holder(tmp_path, holder):
    """Another process gets it once its holder is dead, and not before."""
    path = tmp_path / "lock"
    process = holder(path)
    assert open_locked(path, 0o600) is None
    process.kill()
    process.wait()
    descriptor = open_locked(path, 0o600)
    assert descriptor is not None
    unlock(descriptor)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_of_a_removed_file_is_none(tmp_path):
    """Whoever opens the path afterwards locks another file."""
    path = tmp_path / "lock"
    first = open_locked(path, 0o600)
    path.unlink()
    second = open_locked(path, 0o600)
    assert second is not None
    for descriptor in (first, second):
        unlock(descriptor)


def test_a_lock_is_waited_for_as_long_as_is_said(tmp_path):
    """A holder that lets go in time is waited for; one that does not is not."""
    path = tmp_path / "lock"
    held, wanted = open_locked(path, 0o600), os.open(path, os.O_RDWR)
    assert not lock_within(wanted, 0.0)
    letting_go = threading.Timer(0.05, unlock, (held,))
    letting_go.start()
    assert lock_within(wanted, 60.0)
    letting_go.join()
    unlock(wanted)


def test_a_stopped_writer_does_not_hold_up_the_others_for_ever(tmp_path, holder, monkeypatch):
    """A process that is stopped in the middle of a rename has the directory's lock: an outage, and told as one."""
    store = LocalStore(tmp_path)
    store.put("key", b"before")
    (lock,) = (path for path in tmp_path.iterdir() if path.name.endswith("lock"))
    process = holder(lock)
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr("job.store.local._LOCK_SECONDS", 0.1)
    for write in (lambda: store.put("key", b"after"), lambda: store.delete("key")):
        with pytest.raises(StoreError, match="held by another process"):
            write()
    assert store.get("key").data == b"before"
    process.kill()
    process.wait()
    store.put("key", b"after")
    assert store.get("key").data == b"after"
