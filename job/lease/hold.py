"""A process's hold on a run, from taking the lease to giving it back."""

import contextvars
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from job.errors import JobError, LockedError, StoreError
from job.layout import RunKeys
from job.lease.memory import FamilyMemory
from job.lease.stored import LeaseObject, StoredLease, is_near_limit
from job.lease.takeover import Takeover, newcomer_lease
from job.lease.timing import LeaseTiming
from job.logs import get_logger
from job.records import Lease
from job.store import ObjectStore
from job.store.process_lock import process_lock


def seconds_since_boot() -> float:
    """Return seconds on a steady clock that counts on while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class RunLease:
    """One process's hold on a run. Enter it after `acquire`: its end gives the lease back.

    Args:
        store: the store that the run is in.
        layout: which run.
        heartbeats: the same store by a client that waits for seconds at most: one answer that does not come must not
            lose the run. `store` where none is given.
        clock: seconds on a steady clock; others' patience passes by it, also while this machine sleeps.
        sleep: waits for so many seconds.
        memory: bytes that this process and its children use.
        purpose: see `newcomer_lease`.
    """

    def __init__(  # noqa: PLR0913 - all but the first two are for tests
        self,
        store: ObjectStore,
        layout: RunKeys,
        *,
        heartbeats: ObjectStore | None = None,
        timing: LeaseTiming | None = None,
        clock: Callable[[], float] = seconds_since_boot,
        sleep: Callable[[float], None] = time.sleep,
        memory: Callable[[], int] | None = None,
        purpose: str = "",
    ) -> None:
        # Taking a lease may wait as long as any request.
        self._patient = LeaseObject(store, layout)
        self._stored = LeaseObject(heartbeats or store, layout)
        self._run_id = layout.run_id
        self._timing = timing or LeaseTiming()
        self._clock = clock
        self._sleep = sleep
        self._memory = memory or FamilyMemory(clock).bytes
        self._purpose = purpose
        self._process_lock = process_lock(store, layout.prefix)
        self._mine: Lease | None = None
        self._elapsed_before = 0.0
        self._started = 0.0
        # When what was last known to be written was sent.
        self._confirmed = -math.inf
        self._lost: LockedError | None = None
        self._on_loss: Callable[[LockedError], None] | None = None
        self._is_given_back = False
        # Renewing and giving back exclude each other.
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def token(self) -> int:
        """The fencing token: larger than any earlier holder's."""
        return self.current.token

    @property
    def elapsed_before(self) -> float:
        """For how many seconds earlier holders had the run."""
        return self._elapsed_before

    @property
    def current(self) -> Lease:
        """The lease as this process last wrote it."""
        if self._mine is None:
            raise RuntimeError("the lease was not acquired")
        return self._mine

    @property
    def lost(self) -> bool:
        """Whether another process has taken the run over."""
        return self._lost is not None

    def tell_of_loss(self, on_loss: Callable[[LockedError], None]) -> None:
        """Have somebody told, from the lease's thread, as soon as another process has taken the run over."""
        self._on_loss = on_loss
        if self._lost is not None:
            on_loss(self._lost)

    def check(self) -> None:
        """Refuse to go on unless the lease is certainly ours: costs nothing while heartbeats go through.

        Where none has for so long that others may take the holder for dead (a hanging network, a process or a machine
        that was suspended), one is sent now.

        Raises:
            LockedError: another process has the run; it is named.
            AccessError, StoreError: the store refuses or fails; whose the lease is, is not known.
        """
        self._make_sure(lambda: self._clock() - self._confirmed <= self._timing.trusted)

    def raise_if_lost(self) -> None:
        """Raise what is known, without a request.

        Raises:
            LockedError: another process is known to have the run; it is named.
        """
        if self._lost is not None:
            raise self._lost

    def confirm(self) -> None:
        """Renew the lease now, and so make sure that it is still ours.

        Raises:
            LockedError: it is not.
            AccessError, StoreError: the store refuses or fails; whose the lease is, is not known.
        """
        before = self.current.beat
        self._make_sure(lambda: self.current.beat > before)

    def _make_sure(self, is_sure: Callable[[], bool]) -> None:
        """Send heartbeats until one makes sure: each asks once only, and waits for seconds."""
        failure = StoreError(f"the lease of run {self._run_id} could not be confirmed in time")
        for _ in range(self._timing.attempts):
            self.raise_if_lost()
            if is_sure():
                return
            if self._is_given_back:
                raise LockedError(f"run {self._run_id} is not this process's any more: it has given its lease back")
            try:
                self.beat(self._memory(), unless=is_sure)
            except StoreError as error:
                failure = error
                self._sleep(self._timing.look)
        self.raise_if_lost()
        if not is_sure():
            raise failure

    def acquire(self) -> None:
        """Become the run's only holder, and stay it by a thread that renews the lease.

        Raises:
            LockedError: another live process has the run; it is named.
            AccessError, StoreError: the store refuses or fails.
        """
        try:
            self._take_process_lock()
            self._started = self._clock()
            takeover = self._takeover()
            try:
                takeover.claim()
            finally:
                if takeover.mine is not None:
                    self._confirmed = takeover.sent_at
                    self._mine, self._elapsed_before = takeover.mine, takeover.mine.elapsed_seconds
        except BaseException:
            # Also where a signal ends it: a lease that nobody renews would make the next start wait.
            self.release()
            raise
        context = contextvars.copy_context()
        self._keeper = threading.Thread(target=context.run, args=(self._keep,), name="lease", daemon=True)
        self._keeper.start()

    def release(self) -> None:
        """Give the lease back, so that the next start need not wait. Never raises, and takes seconds at most."""
        self._stop.set()
        keeper, self._keeper = self._keeper, None
        if keeper is None and self._mine is not None and not self._is_given_back:
            keeper = threading.Thread(target=self._give_back, name="lease", daemon=True)
            keeper.start()
        if keeper is not None:
            # The store may not answer, and whoever ends has no time for its retries.
            keeper.join(self._timing.release)
            if keeper.is_alive():
                get_logger().warning("lease not released", reason="the store does not answer")
        if self._process_lock is not None:
            self._process_lock.release()

    @contextmanager
    def ended_with_its_run(self) -> Iterator[None]:
        """Delete the lease, for all the rest of the run is gone; within the block nobody else is at its folder.

        Raises:
            AccessError, StoreError: the store refuses or fails.
        """
        self._stop.set()
        with self._writing:
            # Where this fails, the lease is given back as it is.
            self._patient.delete()
            self._is_given_back = True
        yield
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def beat(self, memory: int, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Renew the lease once, or find out that it is lost.

        Args:
            memory: bytes in use.
            unless: whether there is nothing to do: another thread may have renewed it by now.

        Raises:
            AccessError, StoreError: the store refuses or fails; the lease is neither lost nor renewed by that.
        """
        with self._writing:
            if self._lost is not None or self._is_given_back or unless():
                return
            now = self._stored.read()
            renewed, sent_at = self._renewed(memory), self._clock()
            # Where somebody deleted it, or a volume is away and back, nobody else has it either: it is put back.
            if now is None or self._is_mine(now):
                if self._stored.write_over(now, renewed):
                    self._mine, self._confirmed = renewed, sent_at
                    return
                # A refusal may follow a write of our own that went through: who wrote last decides.
                now = self._stored.read()
            if not self._is_mine(now):
                self._lose(now)
                return
            self._mine, self._confirmed = renewed, sent_at

    def _take_process_lock(self) -> None:
        if self._process_lock is None:
            return
        try:
            is_ours = self._process_lock.take()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreError(f"cannot lock the folder of run {self._run_id}: {reason}") from error
        if not is_ours:
            raise self._takeover().refuse()

    def _takeover(self) -> Takeover:
        newcomer = newcomer_lease(
            self._purpose, self._memory(), "" if self._process_lock is None else self._process_lock.identity
        )
        return Takeover(self._patient, self._run_id, newcomer, self._timing, self._sleep, self._clock)

    def _keep(self) -> None:
        """Renew the lease until told to stop, then give it back."""
        next_beat = self._clock() + self._timing.beat
        is_answered = True
        while not self._stop.wait(min(self._timing.look, self._timing.beat)):
            used = self._memory()
            if self._clock() < next_beat and not self._is_alarming(used):
                continue
            try:
                self.beat(used)
                is_answered = True
            except Exception as error:  # noqa: BLE001 - whatever it is: only what somebody else has taken is lost
                if is_answered:
                    reason = error.message if isinstance(error, JobError) else repr(error)
                    get_logger().warning("heartbeat failed", reason=reason)
                is_answered = False
            # What was not answered is asked again at once: others' patience passes.
            next_beat = self._clock() + (self._timing.beat if is_answered else 0.0)
        self._give_back()

    def _is_alarming(self, used: int) -> bool:
        """Whether the lease should tell at once: what is killed for its memory does not live to the next heartbeat."""
        told, limit = self.current.memory_bytes, self.current.memory_limit
        return is_near_limit(used, limit) and not is_near_limit(told, limit)

    def _renewed(self, memory: int) -> Lease:
        mine = self.current
        return mine.model_copy(
            update={
                "beat": mine.beat + 1,
                "renewed_at": datetime.now(UTC),
                "elapsed_seconds": round(self._elapsed_before + self._clock() - self._started, 3),
                "memory_bytes": memory,
            }
        )

    def _give_back(self) -> None:
        with self._writing:
            if self._lost is not None or self._is_given_back:
                return
            self._is_given_back = True
            try:
                now = self._stored.read()
                if self._is_mine(now):
                    self._stored.write_over(
                        now, self._renewed(self.current.memory_bytes).model_copy(update={"state": "released"})
                    )
            except JobError as error:
                get_logger().warning("lease not released", reason=error.message)

    def _is_mine(self, now: StoredLease | None) -> bool:
        return now is not None and now.is_of(self.current)

    def _lose(self, now: StoredLease | None) -> None:
        what = "its lease was deleted" if now is None else f"{now.holder} has taken it over"
        self._lost = LockedError(
            f"run {self._run_id} is not this process's any more: {what}",
            advice="nothing is lost; the same command goes on once no other process has the run",
        )
        if self._on_loss is not None:
            self._on_loss(self._lost)
        get_logger().error("lease lost", reason=self._lost.message)
