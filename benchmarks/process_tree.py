"""Runs a command and measures its whole process tree: time, processor time and memory."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took. Seconds; bytes of resident memory.

    Attributes:
        cpu: user and system time of the command and of every descendant that was waited for.
        root_peak: the most that the command's own process held.
        child_peak: the most that any one of its descendants held; 0 without descendants.
        tree_peak: the most that all held at one moment, pages that they share counted for each.
        processes: the most processes alive at one moment.
    """

    wall: float
    cpu: float
    root_peak: int
    child_peak: int
    tree_peak: int
    processes: int

    @property
    def process_peak(self) -> int:
        """The most that any one process held."""
        return max(self.root_peak, self.child_peak)


@dataclass(slots=True)
class _Sampler:
    """Looks at the tree's memory five times a second; a shorter peak goes unseen."""

    root: psutil.Process
    root_peak: int = 0
    child_peak: int = 0
    tree_peak: int = 0
    processes: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.ended.wait(_SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                self._sample()

    def _sample(self) -> None:
        root = self.root.memory_info().rss
        children = []
        for child in self.root.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                children.append(child.memory_info().rss)
        self.root_peak = max(self.root_peak, root)
        self.child_peak = max([self.child_peak, *children])
        self.tree_peak = max(self.tree_peak, root + sum(children))
        self.processes = max(self.processes, 1 + len(children))


def run_measured(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path) -> Measured:
    """Run a command to its end; its standard output goes to `<log>.out`, its standard error to `<log>.err`.

    Raises:
        subprocess.CalledProcessError: it ended with another code than 0.
    """
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    with out.open("wb") as stdout, err.open("wb") as stderr:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
        sampler = _Sampler(psutil.Process(process.pid))
        watching = threading.Thread(target=sampler.run, daemon=True)
        watching.start()
        try:
            # The kernel's account of this child and of all that it waited for; samples would miss the last moments.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            # Its workers end with it.
            process.kill()
            raise
        wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    sampler.ended.set()
    watching.join()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, out.read_bytes(), err.read_bytes())
    return Measured(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        root_peak=sampler.root_peak,
        child_peak=sampler.child_peak,
        tree_peak=sampler.tree_peak,
        processes=sampler.processes,
    )
