"""Containers of the job as they are meant to be run: read-only, without capabilities, and as nobody in particular."""

import json
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

import psutil
from image.podman import Podman

USER = "10001:10001"
HARDENED = (
    "--read-only",
    # As Docker and Kubernetes have it: podman would make /tmp, /run and /var/tmp writable.
    "--read-only-tmpfs=false",
    *("--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
    *("--user", USER),
    # The server listens on this machine alone.
    *("--network", "host"),
)
TERMINATION_LOG = "/dev/termination-log"
END_SECONDS = 600
# Fifteen or so seconds on two cores, and enough trials to be stopped in the middle.
SPEC = """\
name: digits
seed: 3
search: {max_epochs: 10, factor: 3}
space:
  units: {type: int, min_value: 32, max_value: 256, step: 32}
  learning_rate: [0.01, 0.001]
"""


@dataclass
class Container:
    """A container of the job that was started; what it says is read as it comes.

    Attributes:
        started: when podman was told to start it, as the system's clock has it (seconds).
        code: how it ended; None while it runs.
        message: its termination message; None if it left none.
    """

    podman: Podman
    name: str
    termination_log: Path
    process: subprocess.Popen[str]
    started: float
    lines: list[str] = field(default_factory=list)
    stderr: str = ""
    code: int | None = None
    message: dict | None = None

    def wait_for(self, event: str, times: int = 1) -> None:
        """Read on until an event has come so often."""
        for line in self.process.stdout or ():
            self.lines.append(line)
            times -= json.loads(line)["event"] == event
            if times == 0:
                return
        raise AssertionError(f"it ended before: {self.lines[-3:]}\n{self.process.communicate()[1][-2000:]}")

    def finish(self) -> int:
        """Wait for the end."""
        rest, self.stderr = self.process.communicate(timeout=END_SECONDS)
        self.lines += rest.splitlines()
        self.code = self.process.returncode
        with suppress(ValueError):
            self.message = json.loads(self.termination_log.read_text())
        return self.code

    @property
    def events(self) -> list[dict]:
        """Standard output, every line of which must be one JSON event."""
        return [json.loads(line) for line in self.lines]

    def seconds_until(self, event: str) -> float:
        """From the start of the container to the first event of a name."""
        first = next(entry for entry in self.events if entry["event"] == event)
        return datetime.fromisoformat(first["timestamp"]).timestamp() - self.started

    def host_pid(self) -> int:
        """Process 1 of the container, as this machine numbers it."""
        return int(self.podman.output("inspect", "--format", "{{.State.Pid}}", self.name))


@contextmanager
def started(
    podman: Podman,
    image: str,
    folder: Path,
    environment: Mapping[str, str],
    *arguments: str,
    options: tuple[str, ...] = (),
) -> Iterator[Container]:
    """A hardened container with an empty scratch volume of its own; both are gone with the block.

    Args:
        podman: the engine.
        image: to run.
        folder: for the file that takes the termination message.
        environment: of the job; in place of it Kubernetes has `env`.
        arguments: the job's.
        options: further ones, podman's.
    """
    name = f"tuning-job-{uuid.uuid4().hex[:8]}"
    log = folder / name
    log.touch()
    # As Kubernetes makes it, for whatever user the container has.
    log.chmod(0o666)
    command = podman.command(
        *("run", "--name", name, *HARDENED, *options),
        *("--volume", f"{name}:/scratch", "--volume", f"{log}:{TERMINATION_LOG}"),
        *(part for item in environment.items() for part in ("--env", "=".join(item))),
        *(image, *arguments),
    )
    at = time.time()
    process = subprocess.Popen(
        command,
        env=podman.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield Container(podman, name, log, process, at)
    finally:
        podman.run("rm", "--force", "--time", "0", name, check=False)
        podman.run("volume", "rm", "--force", name, check=False)


class ProcessWatch:
    """Looks at a container's processes every tenth of a second; a context manager.

    Attributes:
        zombies: the most that there were at a time, by what they were.
        commands: command lines that were seen.
    """

    def __init__(self, pid: int) -> None:
        self._first = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.zombies: list[str] = []
        self.commands: set[tuple[str, ...]] = set()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            with suppress(psutil.Error):
                self._look()

    def _look(self) -> None:
        family = [self._first, *self._first.children(recursive=True)]
        zombies = []
        for process in family:
            with suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    zombies.append(process.name())
                else:
                    self.commands.add(tuple(process.cmdline()))
        if len(zombies) > len(self.zombies):
            self.zombies = zombies

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
