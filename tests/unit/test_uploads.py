"""Uploads in the background: order, bounds, outages, and how they end."""

import threading

import pytest

from job.errors import AccessError, PreconditionFailedError, StoreError
from job.uploads import UploadQueue, through_outage

LONG = 60.0


class Gate:
    """An upload that waits until it is let through; notes what was sent, in order."""

    def __init__(self):
        self.sent = []
        self.open = threading.Event()
        self.entered = threading.Event()

    def send(self, name):
        def send():
            self.entered.set()
            assert self.open.wait(LONG)
            self.sent.append(name)

        return send


class Failing:
    """An action that fails so many times before it succeeds."""

    def __init__(self, times, error=None):
        self.times = times
        self.error = error or StoreError("no answer")
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error


@pytest.fixture
def queue():
    opened = []

    def make(patience=LONG, **options):
        opened.append(UploadQueue(patience, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_what_was_put_is_sent_before_a_flush_returns(queue):
    """A flush waits for everything that was put before it."""
    sent = []
    uploads = queue()
    for number in range(50):
        uploads.put(str(number), lambda number=number: sent.append(number))
    assert uploads.flush()
    assert sorted(sent) == list(range(50))


def test_a_lane_keeps_its_order_and_others_overtake_it(queue):
    """Uploads of one lane are sent in turn, also while one of them is slow; another lane does not wait for it."""
    gate, uploads = Gate(), queue()
    other = threading.Event()
    for name in ("best", "last", "record"):
        uploads.put(name, gate.send(name), lane="trial")
    uploads.put("elsewhere", other.set)
    assert other.wait(LONG)
    assert gate.sent == []
    gate.open.set()
    uploads.flush()
    assert gate.sent == ["best", "last", "record"]


def test_only_the_newest_version_of_a_key_is_sent(queue):
    """What waits is replaced by a newer version of the same key, and takes that one's place in its lane."""
    gate, uploads = Gate(), queue()
    uploads.put("first", gate.send("first"), lane="trial")
    assert gate.entered.wait(LONG)
    uploads.put("last", gate.send("last 1"), lane="trial")
    uploads.put("best", gate.send("best"), lane="trial")
    uploads.put("last", gate.send("last 2"), lane="trial")
    gate.open.set()
    uploads.flush()
    assert gate.sent == ["first", "best", "last 2"]


def test_what_still_waits_can_be_taken_back(queue):
    """A cancelled upload is not sent; one that is under way cannot be cancelled."""
    gate, uploads = Gate(), queue()
    uploads.put("first", gate.send("first"), lane="trial")
    assert gate.entered.wait(LONG)
    uploads.put("second", gate.send("second"), lane="trial")
    assert uploads.cancel("second")
    assert not uploads.cancel("second")
    assert not uploads.cancel("first")
    gate.open.set()
    uploads.flush()
    assert gate.sent == ["first"]


def test_a_full_queue_holds_the_caller_back(queue):
    """Whoever puts more than may wait is blocked until there is room: memory does not grow."""
    gate, uploads = Gate(), queue(capacity=2)
    uploads.put("0", gate.send("0"), lane="trial")
    assert gate.entered.wait(LONG)
    for name in ("1", "2"):
        uploads.put(name, gate.send(name), lane="trial")
    is_through = threading.Event()

    def put_one_more():
        uploads.put("3", gate.send("3"), lane="trial")
        is_through.set()

    caller = threading.Thread(target=put_one_more)
    caller.start()
    assert not is_through.wait(0.2)
    # A newer version of what waits needs no room.
    uploads.put("2", gate.send("2 again"), lane="trial")
    assert not is_through.is_set()
    gate.open.set()
    assert is_through.wait(LONG)
    caller.join()
    uploads.flush()
    assert gate.sent == ["0", "1", "2 again", "3"]


def test_a_full_queue_that_is_to_end_lets_its_callers_go(queue):
    """Once there is a time limit, nobody waits longer than that: puts find no room, and a flush says so."""
    gate, uploads = Gate(), queue(capacity=1)
    uploads.put("0", gate.send("0"), lane="trial")
    assert gate.entered.wait(LONG)
    uploads.put("1", gate.send("1"), lane="trial")
    blocked = threading.Thread(target=uploads.put, args=("2", gate.send("2")), kwargs={"lane": "trial"})
    blocked.start()
    uploads.end_within(0.1)
    blocked.join(LONG)
    assert not blocked.is_alive()
    assert not uploads.flush()
    gate.open.set()


def test_an_outage_is_waited_out(queue):
    """While the store fails an upload is tried again, and others go on; nothing is lost and nothing is raised."""
    failing, uploads = Failing(2), queue()
    uploads.put("key", failing)
    assert uploads.flush()
    assert failing.calls == 3
    uploads.check()


def test_an_outage_longer_than_the_patience_ends_the_queue(queue):
    """When the patience is over, every later call raises what the store failed with, and the owner is told once."""
    told = []
    error = StoreError("no answer")
    uploads = queue(patience=0.1, on_failure=told.append)
    uploads.put("key", Failing(10**6, error))
    with pytest.raises(StoreError, match="no answer"):
        uploads.flush()
    with pytest.raises(StoreError, match="no answer"):
        uploads.put("other", lambda: None)
    with pytest.raises(StoreError, match="no answer"):
        uploads.check()
    assert told == [error]


@pytest.mark.parametrize("error", [AccessError("denied"), PreconditionFailedError("lost"), ValueError("a bug")])
def test_what_trying_again_cannot_help_ends_the_queue_at_once(queue, error):
    """Refused access, a lost condition or a bug is raised without a second attempt."""
    failing, uploads = Failing(10**6, error), queue()
    uploads.put("key", failing)
    with pytest.raises(type(error)):
        uploads.flush()
    assert failing.calls == 1


def test_a_caller_that_waits_for_room_learns_of_the_failure(queue):
    """Back-pressure ends with the error when the store is given up."""
    uploads = queue(patience=0.3, capacity=1)
    failing = Failing(10**6)
    uploads.put("0", failing, lane="trial")

    def put_more():
        for number in range(1, 10):
            uploads.put(str(number), failing, lane="trial")

    with pytest.raises(StoreError, match="no answer"):
        put_more()


def test_after_its_end_a_queue_sends_nothing(queue):
    """A closed queue forgets what waits, and what is put."""
    gate, uploads = Gate(), queue()
    uploads.put("0", gate.send("0"), lane="trial")
    assert gate.entered.wait(LONG)
    uploads.put("1", gate.send("1"), lane="trial")
    gate.open.set()
    uploads.close()
    uploads.put("2", gate.send("2"))
    assert set(gate.sent) <= {"0", "1"}
    assert "2" not in gate.sent


def test_the_foreground_is_as_patient():
    """An action of the main thread is repeated through an outage, and not after any other failure."""
    failing = Failing(1)
    through_outage(failing, LONG)
    assert failing.calls == 2
    with pytest.raises(StoreError):
        through_outage(Failing(10**6), 0.0)
    refused = Failing(10**6, AccessError("denied"))
    with pytest.raises(AccessError):
        through_outage(refused, LONG)
    assert refused.calls == 1
