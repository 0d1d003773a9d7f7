"""The real command as a process group of its own that can be watched, signalled and killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

GONE_SECONDS = 5.0


class RunProcess:
    """One start of `python -m job run`, with an empty scratch directory that goes with it; a context manager.

    Attributes:
        pid: the driver's process id, which is the group's too.
        started: when it was started, by `time.monotonic`.
        events: what it has logged so far, each with `at`, the moment it was read, by the same clock.
        killed_at: when its group was killed, by the same clock; None if it was not.
    """

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="run-"))
        self.events: list[dict] = []
        self.killed_at: float | None = None
        self._changed = threading.Condition()
        self._errors = (self.folder / "stderr").open("w+b")
        scratch, temporary = self.folder / "scratch", self.folder / "tmp"
        scratch.mkdir()
        temporary.mkdir()
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "job", "run", *arguments],
            cwd=self.folder,
            env={**environment, "JOB_SCRATCH": str(scratch), "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # The last line of a killed process may be half of one.
            try:
                event = json.loads(line)
            except ValueError:
                continue
            with self._changed:
                self.events.append({**event, "at": time.monotonic()})
                self._changed.notify_all()

    def wait_for(self, wanted: Callable[[dict], bool], timeout: float = 1800) -> dict | None:
        """The first event that is wanted, once it is there; None if the process ends without one."""
        deadline = time.monotonic() + timeout
        seen = 0
        while True:
            with self._changed:
                if len(self.events) == seen:
                    # The end of a process notifies nobody: look at it now and then.
                    self._changed.wait(timeout=0.1)
                fresh, seen = self.events[seen:], len(self.events)
            found = next(filter(wanted, fresh), None)
            if found is not None:
                return found
            if not fresh and not self._reader.is_alive():
                return None
            if time.monotonic() > deadline:
                raise TimeoutError(f"no such event within {timeout:g} s:\n{self.story()}")

    def wait_until(self, moment: float) -> bool:
        """Wait for a moment of `time.monotonic`; False if the process ends before."""
        while (left := moment - time.monotonic()) > 0:
            if self._process.poll() is not None:
                return False
            time.sleep(min(left, 0.02))
        return self._process.poll() is None

    def finish(self, timeout: float = 600) -> int:
        """Wait for the end; the exit code."""
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the driver alone."""
        self._process.send_signal(number)

    def kill_group(self) -> None:
        """SIGKILL for driver and workers at once."""
        self.killed_at = time.monotonic()
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def survivors(self, within: float = GONE_SECONDS) -> list[psutil.Process]:
        """Processes of this start that are still there after so many seconds, wherever their group is."""
        deadline = time.monotonic() + within
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def processes(self) -> list[psutil.Process]:
        """All living processes that have this start's scratch directory in their environment."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            ours = process.environ().get("JOB_SCRATCH") == str(self.folder / "scratch")
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def story(self) -> str:
        """What it said, shortened, for the message of a failed test."""
        said = "\n".join(json.dumps(event)[:300] for event in self.events[-30:])
        return f"{said}\n{(self.folder / 'stderr').read_text(errors='replace')[-3000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self.processes():
            process.kill()
        self._process.wait()
        self._reader.join(GONE_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)
