"""The run's lease: who gets it, who keeps it, and who has to notice that it is gone."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from structlog.testing import capture_logs

from job.errors import LockedError, PreconditionFailedError, StoreError
from job.layout import LEASE, RunLayout
from job.lease import LeaseTiming, RunLease
from job.records import Lease
from job.store import LocalStore
from job.store.process_lock import ProcessLock

RUN = RunLayout("nightly", "one")
KEY = RUN.key(LEASE)
# No heartbeat by itself: the tests make them.
SILENT = LeaseTiming(beat=3600.0, look=0.01, release=2.0)


class Link:
    """A holder's way to a store: no directory as far as it knows, and faulty on demand.

    Attributes:
        down: nothing gets through.
        losing_answers: so many writes get through, and their answers do not.
        refusing: so many conditional writes get through, and are answered as if their condition had failed.
        ignoring: conditions are ignored, as some servers do.
    """

    def __init__(self, store):
        self.store = store
        self.down = False
        self.losing_answers = 0
        self.refusing = 0
        self.ignoring = False

    def get(self, key):
        self._pass()
        return self.store.get(key)

    def put_if_absent(self, key, data):
        self._write(key, lambda: self.store.put_if_absent(key, data), data)

    def replace_if_match(self, key, data, etag):
        self._write(key, lambda: self.store.replace_if_match(key, data, etag), data)

    def _pass(self):
        if self.down:
            raise StoreError("the network is gone")

    def _write(self, key, write, data):
        self._pass()
        if self.ignoring:
            self.store.put(key, data)
        else:
            write()
        if self.losing_answers:
            self.losing_answers -= 1
            raise StoreError("no answer came")
        if self.refusing:
            self.refusing -= 1
            raise PreconditionFailedError("it has changed")


class Time:
    """A clock that only sleeping moves; `events[n]` happens during the n-th sleep, counted from 1."""

    def __init__(self):
        self.now = 100.0
        self.sleeps = []
        self.events = {}

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.sleeps.append(seconds)
        self.events.get(len(self.sleeps), lambda: None)()


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "runs")


@pytest.fixture
def newcomer(store):
    """Another process, on a link of its own; those that are left are ended with the test."""
    made = []

    def make(*, direct=False, time=None, timing=SILENT, memory=lambda: 0):
        time = time or Time()
        link = store if direct else Link(store)
        lease = RunLease(link, RUN, timing=timing, clock=time, sleep=time.sleep, memory=memory)
        lease.link, lease.time = link, time
        made.append(lease)
        return lease

    yield make
    for lease in made:
        if isinstance(lease.link, Link):
            lease.link.down = False
        lease.release()


@pytest.fixture
def dead(newcomer):
    """A holder that was killed: it acquired the lease, and nothing comes from it any more."""
    lease = newcomer()
    lease.acquire()
    lease.link.down = True
    return lease


def stored(store):
    return Lease.model_validate_json(store.get(KEY).data)


def test_a_free_run_is_had_at_once(newcomer, store):
    """The first holder writes a lease with token 1 that names it, and waits for nothing."""
    lease = newcomer()
    lease.acquire()
    assert lease.time.sleeps == []
    found = stored(store)
    assert (found.token, found.state, found.deaths) == (1, "held", ())
    assert " pid " in found.holder
    assert (lease.token, lease.elapsed_before, lease.lost) == (1, 0.0, False)
    lease.confirm()


def test_a_released_lease_is_had_at_once_and_its_seconds_add_up(newcomer, store):
    """After an orderly end the next start waits for nothing, counts no death, and goes on counting seconds."""
    for number in range(3):
        lease = newcomer()
        lease.acquire()
        assert lease.elapsed_before == 40.0 * number
        lease.time.now += 40.0
        lease.release()
        assert lease.time.sleeps == []
        found = stored(store)
        assert (found.token, found.state, found.elapsed_seconds, found.deaths) == (
            number + 1,
            "released",
            40.0 * (number + 1),
            (),
        )


def test_a_holder_whose_heartbeat_goes_on_keeps_the_run(newcomer, store):
    """A newcomer gives up as soon as it has seen the heartbeat move, and names the holder."""
    holder = newcomer()
    holder.acquire()
    other = newcomer()
    other.time.events[3] = lambda: holder.beat(0)
    with pytest.raises(LockedError, match=r"run one is held by .* pid .* since 20") as raised:
        other.acquire()
    assert stored(store).holder in raised.value.message
    assert len(other.time.sleeps) == 3
    holder.confirm()
    assert stored(store).token == 1


def test_a_silent_holder_is_taken_over_after_ten_looks(dead, newcomer, store):
    """Ten seconds by the newcomer's own clock without a heartbeat: it takes over with the next token, and says so."""
    dead.time.now += 30.0
    dead.link.down = False
    dead.beat(12345)
    dead.link.down = True
    lease = newcomer()
    with capture_logs() as events:
        lease.acquire()
    assert lease.time.sleeps == [1.0] * 10
    assert [event["event"] for event in events if event["log_level"] == "warning"] == ["run taken over"]
    found = stored(store)
    assert (found.token, lease.elapsed_before) == (2, 30.0)
    (death,) = found.deaths
    assert (death.token, death.elapsed_seconds, death.memory_bytes) == (1, 30.0, 12345)


def test_deaths_are_kept_over_orderly_ends(dead, newcomer, store):  # noqa: ARG001 - there has to be one
    """A holder that ends in good order is no death, and forgets none."""
    for _ in range(2):
        lease = newcomer()
        lease.acquire()
        lease.release()
    assert [death.token for death in stored(store).deaths] == [1]


def test_a_lease_released_while_watched_is_had_at_once(newcomer):
    """A holder that ends in good order under a newcomer's eyes is not waited for any longer."""
    holder = newcomer()
    holder.acquire()
    lease = newcomer()
    lease.time.events[2] = holder.release
    lease.acquire()
    assert len(lease.time.sleeps) == 2
    assert lease.token == 2


def test_of_two_newcomers_that_waited_one_takes_over(dead, newcomer):  # noqa: ARG001 - they wait for it
    """Whoever is second in the compare-and-swap is told who was first."""
    first, second = newcomer(), newcomer()
    second.time.events[10] = first.acquire
    with pytest.raises(LockedError):
        second.acquire()
    first.confirm()
    assert first.token == 2


def test_a_holder_that_was_taken_over_stops(dead, newcomer, store):
    """Back from a partition the old holder finds the new one's token: it is refused, and releases nothing."""
    newer = newcomer()
    newer.acquire()
    dead.link.down = False
    dead.check()  # it does not know yet
    with pytest.raises(LockedError, match="has taken it over"):
        dead.confirm()
    assert dead.lost
    with pytest.raises(LockedError):
        dead.check()
    before = store.get(KEY).data
    dead.release()
    assert store.get(KEY).data == before
    newer.confirm()


def test_a_loss_is_told_to_who_wants_to_know(dead, newcomer):
    """Whoever asked is told when the loss is noticed, or at once where it is known already."""
    told = []
    dead.tell_of_loss(told.append)
    newcomer().acquire()
    dead.link.down = False
    assert not told
    with pytest.raises(LockedError):
        dead.confirm()
    (loss,) = told
    dead.tell_of_loss(told.append)
    assert told == [loss, loss]


def test_an_outage_does_not_lose_the_lease(newcomer, store):
    """While the store does not answer the lease is neither lost nor renewed; afterwards it is still ours."""
    lease = newcomer()
    lease.acquire()
    lease.link.down = True
    with pytest.raises(StoreError):
        lease.confirm()
    lease.check()
    lease.link.down = False
    lease.confirm()
    assert (stored(store).token, stored(store).beat) == (1, 1)


def test_who_waits_for_a_heartbeat_has_it_sent_again(newcomer):
    """Each asks once, so that a hanging answer costs seconds; the check as a whole rides through a short outage."""
    lease = newcomer()
    lease.acquire()
    lease.link.down = True
    before = len(lease.time.sleeps)
    lease.time.events[before + 3] = lambda: setattr(lease.link, "down", False)
    lease.confirm()
    assert len(lease.time.sleeps) == before + 3


def test_a_store_too_slow_to_confirm_a_lease_is_not_asked_for_ever(newcomer, monkeypatch):
    """Where each answer takes longer than it is trusted for, the check ends as in an outage."""
    lease = newcomer()
    lease.acquire()
    write = lease.link.replace_if_match

    def slowly(key, data, etag):
        write(key, data, etag)
        lease.time.now += 60

    monkeypatch.setattr(lease.link, "replace_if_match", slowly)
    lease.time.now += 60
    with pytest.raises(StoreError, match="could not be confirmed in time"):
        lease.check()


def test_a_given_back_lease_is_nobodys(newcomer):
    """What is still written by a straggling thread after its trust has ended is refused, without a wait."""
    lease = newcomer()
    lease.acquire()
    lease.release()
    with pytest.raises(LockedError, match="given its lease back"):
        lease.confirm()


@pytest.mark.parametrize("fault", ["losing_answers", "refusing"])
def test_a_first_write_whose_answer_is_wrong_is_recognised(newcomer, fault):
    """A lease that was written although the store said otherwise is our own, and no reason to wait or to end."""
    lease = newcomer()
    setattr(lease.link, fault, 1)
    lease.acquire()
    assert lease.time.sleeps == []
    lease.confirm()


@pytest.mark.parametrize("fault", ["losing_answers", "refusing"])
def test_a_heartbeat_whose_answer_is_wrong_loses_nothing(newcomer, store, fault):
    """A heartbeat that was written although the store said otherwise is our own."""
    lease = newcomer()
    lease.acquire()
    setattr(lease.link, fault, 1)
    try:
        lease.beat(1)
    except StoreError:
        assert fault == "losing_answers"
    lease.confirm()
    assert not lease.lost
    assert stored(store).holder == lease.current.holder


def test_a_store_that_fails_at_the_start_leaves_no_lease_behind(newcomer):
    """A start that the store refused ends with the store's error, and does not make the next one wait."""
    lease = newcomer()
    lease.link.down = True
    with pytest.raises(StoreError):
        lease.acquire()
    after = newcomer()
    after.acquire()
    assert after.time.sleeps == []


def test_an_interrupted_start_leaves_nothing_behind(dead, newcomer, store):  # noqa: ARG001 - it is waited for
    """A signal while the heartbeat is watched leaves the lease as it was."""

    def interrupt():
        raise KeyboardInterrupt

    lease = newcomer()
    lease.time.events[4] = interrupt
    with pytest.raises(KeyboardInterrupt):
        lease.acquire()
    assert (stored(store).token, stored(store).state) == (1, "held")


def test_a_deleted_lease_is_put_back(newcomer, store):
    """A holder whose lease somebody deleted goes on: nobody else has the run."""
    lease = newcomer()
    lease.acquire()
    store.delete(KEY)
    lease.confirm()
    assert not lease.lost
    assert stored(store).token == lease.token


def test_a_lease_that_was_deleted_and_taken_is_lost(newcomer, store):
    """Whoever came between the deletion and the next heartbeat has the run."""
    lease, other = newcomer(), newcomer()
    lease.acquire()
    store.delete(KEY)
    other.acquire()
    with pytest.raises(LockedError):
        lease.confirm()
    other.confirm()


@pytest.mark.parametrize("garbage", [b"", b"not json", b"{}", b"[]"])
def test_an_unreadable_lease_is_watched_and_replaced(newcomer, store, garbage):
    """A lease that is none is not trusted: it is watched like any other, and the new token is above any count."""
    store.put(KEY, garbage)
    lease = newcomer()
    lease.acquire()
    assert len(lease.time.sleeps) == 10
    assert lease.token > 1_000_000


def test_where_conditions_are_ignored_one_holder_is_left(newcomer):
    """Two that a server lets both win find out at the next heartbeat: one goes on, the other stops."""
    one, other = newcomer(), newcomer()
    for lease in (one, other):
        lease.link.ignoring = True
    one.acquire()
    # The other read the store before the first had written: both think that there is no lease.
    held = other.link.store.get(KEY).data
    other.link.store.delete(KEY)
    other.acquire()
    assert other.link.store.get(KEY).data != held
    for lease in (one, other, one, other):
        lease.beat(0)
    assert [one.lost, other.lost] == [True, False]


def test_the_thread_renews_and_gives_back(newcomer, store):
    """Without anybody's doing the heartbeat goes on until the end, and the end releases the lease."""
    before = set(threading.enumerate())
    lease = newcomer(timing=LeaseTiming(beat=0.0, look=0.001))
    lease.acquire()
    moved = threading.Event()
    while not moved.wait(0.01):
        if stored(store).beat >= 3:
            moved.set()
    with lease:
        pass
    assert stored(store).state == "released"
    assert set(threading.enumerate()) <= before


def test_the_thread_goes_on_after_an_outage(newcomer, store):
    """Heartbeats that fail are said once, and begin again with the store."""
    lease = newcomer(timing=LeaseTiming(beat=0.0, look=0.001))
    with capture_logs() as events:
        lease.acquire()
        lease.link.down = True
        while not events:
            threading.Event().wait(0.01)
        lease.link.down = False
        beat = stored(store).beat
        while stored(store).beat < beat + 2:
            threading.Event().wait(0.01)
    assert [event["event"] for event in events] == ["heartbeat failed"]
    assert not lease.lost


def test_memory_close_to_the_limit_is_told_at_once(newcomer, store):
    """Long before the next heartbeat the lease says that the memory is nearly full."""
    used = [0]
    lease = newcomer(memory=lambda: used[0])
    lease.acquire()
    used[0] = int(lease.current.memory_limit * 0.81)
    while stored(store).memory_bytes == 0:
        threading.Event().wait(0.01)
    assert stored(store).memory_bytes == used[0]


def test_in_a_directory_a_live_holder_is_seen_at_once(newcomer):
    """Who has the lock lives: a newcomer is told without waiting, and gets the run as soon as that has ended."""
    holder = newcomer(direct=True)
    holder.acquire()
    other = newcomer(direct=True)
    with pytest.raises(LockedError, match=r"held by .* pid "):
        other.acquire()
    assert other.time.sleeps == []
    holder.release()
    after = newcomer(direct=True)
    after.acquire()
    assert (after.time.sleeps, after.token) == ([], 2)


def leave_lease(store, *, process_lock):
    """The lease of a process that is no more."""
    lease = Lease.model_validate(
        {
            "token": 4,
            "holder": "other pid 1 since then",
            "state": "held",
            "beat": 7,
            "renewed_at": "2026-01-31T03:00:00Z",
            "elapsed_seconds": 5.0,
            "memory_bytes": 1,
            "memory_limit": 2,
            "process_lock": process_lock,
        }
    )
    store.put(KEY, lease.to_json())


@pytest.mark.parametrize(("same", "sleeps"), [(True, 0), (False, 10)])
def test_in_a_directory_a_dead_holder_is_not_waited_for(newcomer, store, tmp_path, same, sleeps):
    """Having the very lock that the lease names proves its holder dead; with another one the heartbeat decides."""
    lock = ProcessLock(tmp_path / "runs" / RUN.prefix)
    assert lock.take()
    identity = lock.identity
    lock.release()
    leave_lease(store, process_lock=identity if same else "another-machine:1:2")
    lease = newcomer(direct=True)
    lease.acquire()
    assert (len(lease.time.sleeps), lease.token) == (sleeps, 5)


def test_in_a_directory_without_shared_locks_the_heartbeat_locks_out(newcomer, store):
    """A free lock is no proof where machines do not share it: a heartbeat that moves keeps the newcomer out."""
    elsewhere = newcomer()
    elsewhere.acquire()
    lease = newcomer(direct=True)
    lease.time.events[2] = lambda: elsewhere.beat(0)
    with pytest.raises(LockedError):
        lease.acquire()
    # It has let go of the lock again.
    elsewhere.release()
    after = newcomer(direct=True)
    after.acquire()
    assert stored(store).token == 2


FORKING = """
import os, signal, sys
from pathlib import Path
from job.store.process_lock import ProcessLock
assert ProcessLock(Path(sys.argv[1])).take()
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, b"x")
    print(os.getpid(), flush=True)
    signal.pause()
os.read(reader, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    """A process that was forked from a killed holder and outlives it does not hold the run."""
    holder = subprocess.Popen([sys.executable, "-c", FORKING, str(tmp_path)], stdout=subprocess.PIPE)
    with holder:
        child = int(holder.stdout.readline())
        try:
            assert holder.wait() == -signal.SIGKILL
            lock = ProcessLock(tmp_path)
            assert lock.take()
            lock.release()
        finally:
            os.kill(child, signal.SIGKILL)
