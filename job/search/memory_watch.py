"""Ends the largest worker before the container's memory limit ends everything.

Since Kubernetes 1.28 a container that passes its limit loses all its processes at once (memory.oom.group). So the
driver looks at its family's memory itself; the trial of the worker that it ends fails that attempt alone.
"""

import os
import threading
from types import TracebackType
from typing import Protocol, Self

from job.logs import get_logger
from job.resources import held_memory, private_memory
from job.training.fork_server import fork_server_pid

_SECONDS = 0.5
_SHARE = 0.92


class EndableWorkers(Protocol):
    """Whoever has workers that can be ended."""

    def worker_pids(self) -> list[int]:
        """The processes that run trials now."""
        ...

    def end_worker(self, pid: int, reason: str) -> None:
        """End one; its trial fails with this reason."""
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
        get_logger().warning("worker ended", reason=reason)
        self._workers.end_worker(largest, reason)
