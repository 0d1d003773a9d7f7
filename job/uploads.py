"""Uploads in the background: a bounded queue between a run and its store.

Training never waits for the store: what is to be stored is put here, and a few threads send it. What waits is a name
and a function, its content a file on disk; and it is bounded: whoever puts more is held back until there is room.

Two kinds of retries meet here. The short ones are botocore's (`job.store.s3_client`): a request that gets no answer
or a transient error is sent again within seconds. What still fails is a StoreError, an outage. Then an upload is tried
again with growing pauses for `storage.outage_patience`, while training goes on. What trying again cannot help
(AccessError, a lost condition, a bug) ends the queue at once.

None of the usual parts fits: an executor's queue is without bound, and cannot replace what waits in it.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from job.errors import PreconditionFailedError, StoreError
from job.logs import get_logger

# Enough for hundreds of trials that end during an outage; a waiting upload takes about a kilobyte of memory.
CAPACITY = 1000
_THREADS = 4
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# A thread that is in the middle of a request cannot be interrupted; so long an orderly end waits for it.
_CLOSE_SECONDS = 1.0


def through_outage(
    action: Callable[[], None],
    patience: float,
    pause: Callable[[float], bool] | None = None,
) -> None:
    """Do something with a store, again and again while the store fails.

    Args:
        action: may be repeated after a failure that left open whether it was carried out.
        patience: seconds from the first failure after which the last failure is raised.
        pause: waits for so many seconds, and says whether to give up before the patience is over; None sleeps.

    Raises:
        StoreError: the store still fails.
        Exception: whatever else `action` raises, at once.
    """
    failing_since: float | None = None
    seconds = FIRST_PAUSE_SECONDS
    while True:
        try:
            action()
        except PreconditionFailedError:
            raise
        except StoreError as error:
            now = time.monotonic()
            is_new = failing_since is None
            failing_since = now if failing_since is None else failing_since
            remaining = failing_since + patience - now
            if remaining <= 0:
                raise
            say = get_logger().warning if is_new else get_logger().debug
            say("store does not answer, trying again", reason=error.message, patience_seconds=round(remaining, 1))
            if pause is None:
                time.sleep(min(seconds, remaining))
            elif pause(min(seconds, remaining)):
                raise
            seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)
        else:
            if failing_since is not None:
                get_logger().info("store answers again", seconds=round(time.monotonic() - failing_since, 1))
            return


@dataclass(frozen=True, slots=True)
class _Upload:
    lane: str
    send: Callable[[], None]


class UploadQueue:
    """Sends uploads from threads of its own. Safe to use from any thread.

    Uploads of one lane are sent one after the other, in the order in which they were put; lanes overtake each other.

    Args:
        patience: seconds that an upload may fail for before the queue gives up.
        on_failure: told, once, from a thread of the queue, why nothing more will be sent.
        capacity: how many uploads may wait.
    """

    def __init__(
        self,
        patience: float,
        *,
        on_failure: Callable[[Exception], None] | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self._patience = patience
        self._on_failure = on_failure
        self._capacity = capacity
        # In the order in which they were put, by key.
        self._waiting: dict[str, _Upload] = {}
        self._busy_lanes: set[str] = set()
        self._failure: Exception | None = None
        self._closing = threading.Event()
        self._deadline: float | None = None
        self._changed = threading.Condition()
        self._threads = [
            # A thread's own events carry the fields that are bound here, such as the run id.
            threading.Thread(
                target=contextvars.copy_context().run, args=(self._work,), name=f"uploads-{number}", daemon=True
            )
            for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, key: str, send: Callable[[], None], *, lane: str | None = None) -> None:
        """Have something sent; the caller waits while the queue is full.

        An upload of the same key that still waits is replaced: only the newest version is sent. Once the queue is
        closed, or the time of `end_within` is over while it is full, nothing happens.

        Args:
            key: what is sent; names it in the queue.
            send: sends it; called again after a failure.
            lane: what it must not overtake, and not be overtaken by; the key itself where it stands alone.

        Raises:
            Exception: why the queue has given up; see `check`.
        """
        with self._changed:
            has_room = self._wait(lambda: key in self._waiting or len(self._waiting) < self._capacity)
            self._raise_failure()
            if self._closing.is_set() or not has_room:
                return
            # Replaced in its lane's order, not in its old place: what was put since may have to go before it.
            self._waiting.pop(key, None)
            self._waiting[key] = _Upload(key if lane is None else lane, send)
            self._changed.notify_all()

    def cancel(self, key: str) -> bool:
        """Take back what waits under this key; False where nothing does: it may be under way, or sent."""
        with self._changed:
            cancelled = self._waiting.pop(key, None) is not None
            self._changed.notify_all()
        return cancelled

    def check(self) -> None:
        """Raise why the queue has given up, if it has.

        Raises:
            StoreError: the store failed for longer than the patience.
            Exception: whatever else an upload raised.
        """
        with self._changed:
            self._raise_failure()

    def flush(self) -> bool:
        """Wait until everything is stored; False where the time of `end_within` did not suffice.

        Raises:
            Exception: why the queue has given up; see `check`.
        """
        with self._changed:
            is_all_stored = self._wait(lambda: not (self._waiting or self._busy_lanes))
            self._raise_failure()
        return is_all_stored

    def end_within(self, seconds: float) -> None:
        """From now on nobody is kept waiting longer than this."""
        with self._changed:
            self._deadline = time.monotonic() + seconds
            self._changed.notify_all()

    def close(self) -> None:
        """Send nothing more. What is under way may still be stored."""
        with self._changed:
            self._closing.set()
            self._waiting.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _wait(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; whether it holds, where the queue's end or the deadline came before it."""
        while not (condition() or self._closing.is_set()):
            remaining = None if self._deadline is None else self._deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return False
            self._changed.wait(remaining)
        return condition()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (upload := self._take()) is not None:
            try:
                through_outage(upload.send, self._patience, self._closing.wait)
            except Exception as error:  # noqa: BLE001 - raised again in the threads that put and flush
                self._give_up(error)
            with self._changed:
                self._busy_lanes.discard(upload.lane)
                self._changed.notify_all()

    def _take(self) -> _Upload | None:
        """The oldest upload whose lane is free; None once nothing more is to be sent."""
        with self._changed:
            while not self._closing.is_set():
                for key, upload in self._waiting.items():
                    if upload.lane not in self._busy_lanes:
                        del self._waiting[key]
                        self._busy_lanes.add(upload.lane)
                        self._changed.notify_all()
                        return upload
                self._changed.wait()
            return None

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            if self._closing.is_set():
                return
            self._failure = error
            self._closing.set()
            self._waiting.clear()
            self._changed.notify_all()
        if self._on_failure is not None:
            self._on_failure(error)
