"""Ends the largest worker before the container's memory limit ends everything.

Since Kubernetes 1.28 a container that passes its limit loses all its processes at once (memory.oom.group). So the
driver looks at its family's memory itself; the trial of the worker that it ends fails that attempt alone. Where it is
the driver that has grown, the trial is not to blame: it runs again as after any death that came from outside.
"""

import os
import threading
from types import TracebackType
from typing import Protocol, Self

from job.logs import get_logger
from job.resources import held_memory, private_memory, resident_memory
from job.training.fork_server import fork_server_pid

_SECONDS = 0.5
_SHARE = 0.92


class EndableWorkers(Protocol):
    """Whoever has workers that can be ended."""

    def worker_pids(self) -> list[int]:
        """The processes that run trials now."""
        ...

    def end_worker(self, pid: int, reason: str | None) -> None:
        """End one; its trial fails with this reason, or for none of its own."""
        ...


class MemoryWatch:
    """Watches while it is open.

    Args:
        workers: whose processes are watched, with the driver's own.
        limit: bytes that all of them together may use.
    """

    def __init__(self, workers: EndableWorkers, limit: int) -> None:
        self._workers = workers
        self._threshold = int(limit * _SHARE)
        # What each process held when it was first seen.
        self._first: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS):
            self._look()

    def _look(self) -> None:
        workers = self._workers.worker_pids()
        for pid in (os.getpid(), *workers):
            self._first.setdefault(pid, resident_memory(pid))
        server = fork_server_pid()
        total = held_memory(
            [*workers, os.getpid(), *([] if server is None else [server])], matters_from=self._threshold
        )
        if total <= self._threshold or not workers:
            return
        used = {pid: private_memory(pid) for pid in workers}
        largest = max(used, key=lambda pid: used[pid])
        mib = {
            name: amount >> 20 for name, amount in (("all", total), ("limit", self._threshold), ("own", used[largest]))
        }
        reason = f"ended for memory: the job used {mib['all']} of {mib['limit']} MiB, this worker {mib['own']}"
        driver = self._growth(os.getpid())
        is_to_blame = self._growth(largest) >= driver
        get_logger().warning(
            "worker ended", reason=reason, **({} if is_to_blame else {"driver_grew_mib": driver >> 20})
        )
        self._workers.end_worker(largest, reason if is_to_blame else None)

    def _growth(self, pid: int) -> int:
        """Bytes by which a process has grown since it was first seen."""
        return resident_memory(pid) - self._first.get(pid, 0)
