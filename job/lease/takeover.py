"""How a newcomer becomes the holder of a lease, or finds out who is."""

import math
import os
import secrets
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

from job.errors import LockedError, StoreError
from job.lease.stored import LeaseObject, StoredLease
from job.lease.timing import LeaseTiming
from job.logs import get_logger
from job.records import HolderDeath, Lease
from job.resources import memory_limit

# Deaths beyond these are forgotten: none so old decides anything.
_KEPT_DEATHS = 100


def newcomer_lease(purpose: str, memory: int, process_lock: str) -> Lease:
    """Return the lease of this process as the first holder.

    Args:
        purpose: what its name begins with; empty for whoever works on the run.
        memory: bytes in use.
        process_lock: the identity of its lock; empty where there is none.
    """
    now = datetime.now(UTC)
    process = f"{socket.gethostname()} pid {os.getpid()}"
    return Lease(
        token=1,
        # The last part tells threads and restarts of a container apart, whose host and process id are the same.
        holder=f"{purpose}{process} since {now:%Y-%m-%dT%H:%M:%SZ} ({secrets.token_hex(4)})",
        state="held",
        beat=0,
        renewed_at=now,
        elapsed_seconds=0.0,
        memory_bytes=memory,
        memory_limit=memory_limit(),
        process_lock=process_lock,
    )


class Takeover:
    """One newcomer's way to the lease.

    Args:
        stored: the lease's object.
        run_id: for messages.
        newcomer: the lease to write, but for what it takes over from the one before: token, elapsed time and deaths.
        sleep: waits for so many seconds.
        clock: seconds on a steady clock.

    Attributes:
        mine: the lease that was written, or may have been.
        sent_at: when it was sent, by the clock.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what the one caller has at hand
        self,
        stored: LeaseObject,
        run_id: str,
        newcomer: Lease,
        timing: LeaseTiming,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._stored = stored
        self._run_id = run_id
        self._newcomer = newcomer
        self._timing = timing
        self._sleep = sleep
        self._clock = clock
        self.mine: Lease | None = None
        self.sent_at = -math.inf

    def claim(self) -> Lease:
        """Write a lease of the newcomer's own.

        Raises:
            LockedError: another live process has the run.
            AccessError, StoreError: the store refuses or fails.
        """
        found = self._stored.read()
        while True:
            found = self._await_stillness(found)
            mine = self._replace(found)
            if mine is not None:
                return mine
            changed = self._stored.read()
            if changed is not None and changed.is_held:
                # It moved under our eyes: whoever did that lives.
                raise self.refusal(changed)
            found = changed

    def refuse(self) -> LockedError:
        """Why not, where something else than the lease has shown that its holder lives."""
        return self.refusal(self._stored.read())

    def refusal(self, found: StoredLease | None) -> LockedError:
        """Why not: somebody else has the run."""
        # Between its lock and its lease a process is there without a name.
        who = found.holder if found is not None and found.is_held else "another process, which begins or ends just now"
        return LockedError(
            f"run {self._run_id} is held by {who}", advice="wait for it or end it; the same command then goes on"
        )

    def _await_stillness(self, found: StoredLease | None) -> StoredLease | None:
        """What may be replaced now: nothing, a released lease, or one whose holder is dead. Raises LockedError."""
        if found is None or not found.is_held:
            return found
        lock = self._newcomer.process_lock
        if lock and found.lease is not None and found.lease.process_lock == lock:
            # The lock that its holder had for its life is ours now.
            get_logger().warning("run taken over", holder=found.holder, reason="its process is gone")
            return found
        seconds = self._timing.poll * self._timing.polls
        get_logger().info("watching the run's holder", holder=found.holder, seconds=seconds)
        for _ in range(self._timing.polls):
            self._sleep(self._timing.poll)
            now = self._stored.read()
            if now is None or not now.is_held:
                return now
            if now.etag != found.etag:
                raise self.refusal(now)
        get_logger().warning("run taken over", holder=found.holder, reason=f"no heartbeat for {seconds:g} s")
        return found

    def _replace(self, found: StoredLease | None) -> Lease | None:
        """Write a lease of our own over what was found; None where somebody was faster."""
        mine = self.mine = self._successor_of(found)
        failure: StoreError | None = None
        self.sent_at = self._clock()
        try:
            self._stored.write_over(found, mine)
        except StoreError as error:
            failure = error
        # A refusal and an answer that was lost may both follow a write that went through. And where a server ignores
        # conditions, everybody is told to have won.
        now = self._stored.read()
        if now is not None and now.is_of(mine):
            return mine
        self.mine = None
        if failure is not None:
            raise failure
        return None

    def _successor_of(self, found: StoredLease | None) -> Lease:
        if found is None:
            return self._newcomer
        before = found.lease
        if before is None:
            # What an unreadable lease has counted to is not known; nobody has counted as far as this.
            return self._newcomer.model_copy(update={"token": int(time.time())})
        deaths = before.deaths
        if before.state == "held":
            death = HolderDeath.model_validate(before.model_dump(include=set(HolderDeath.model_fields)))
            deaths = (*deaths, death)[-_KEPT_DEATHS:]
        taken = {"token": before.token + 1, "elapsed_seconds": before.elapsed_seconds, "deaths": deaths}
        return self._newcomer.model_copy(update=taken | {"renewed_at": datetime.now(UTC)})
