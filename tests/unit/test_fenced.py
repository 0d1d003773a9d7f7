"""What a run's holder writes: refused once the run may be another's, and never over what it has not seen."""

import pytest

from job.errors import LockedError, PreconditionFailedError, StoreError
from job.layout import RunLayout
from job.lease import FencedStore, LeaseTiming, RunLease
from job.store import LocalStore

RUN = RunLayout("nightly", "one")
# As the real one, with nothing that happens by itself.
SILENT = LeaseTiming(beat=10**6, look=0.01)


class Holder:
    """A fenced store whose check does what a test asks for, once; `lost` refuses from then on."""

    def __init__(self, store):
        self.store = store
        self.lost = False
        self.meanwhile = []
        self.fenced = FencedStore(store, self.check)

    def check(self):
        if self.lost:
            raise LockedError("it is another's")
        if self.meanwhile:
            self.meanwhile.pop(0)()


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "runs")


@pytest.fixture
def holder(store):
    return Holder(store)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"ours")
    return path


WRITES = {
    "put": lambda store, _: store.put("a/key", b"ours"),
    "put_file": lambda store, file: store.put_file("a/key", file),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_there_is_replaced(holder, store, file, write):
    """An earlier start's object, and this holder's own, over and over."""
    store.put("a/key", b"before")
    for _ in range(3):
        write(holder.fenced, file)
        assert store.get("a/key").data == b"ours"


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("before", [None, b"before"], ids=["new", "there before"])
def test_what_a_successor_has_written_since_the_check_stays(holder, store, file, write, before):
    """A freeze between the check and the write: on waking the write is refused, and the check after it refuses all."""
    if before is not None:
        store.put("a/key", before)
        holder.fenced.written.add("a/key")

    def freeze():
        store.put("a/key", b"the successor's")
        holder.lost = True

    holder.meanwhile.append(freeze)
    with pytest.raises(LockedError):
        write(holder.fenced, file)
    assert store.get("a/key").data == b"the successor's"


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_successor_replaces_a_late_write(holder, store, file, write):
    """What a predecessor's write has left between look and write is looked at again."""
    holder.meanwhile += [lambda: store.put("a/key", b"late"), lambda: store.put("a/key", b"later")]
    write(holder.fenced, file)
    assert store.get("a/key").data == b"ours"


def test_whoever_writes_all_the_time_is_given_up_on(holder, store):
    """A write ends."""
    holder.meanwhile += [lambda n=n: store.put("a/key", b"%d" % n) for n in range(9)]
    with pytest.raises(PreconditionFailedError):
        holder.fenced.put("a/key", b"ours")


def test_every_write_and_deletion_is_checked(holder, store, file):
    """A holder that has lost the run changes nothing, by whichever method."""
    store.put("key", b"x")
    holder.lost = True
    etag = store.get("key").etag
    for change in (
        lambda: holder.fenced.put("key", b""),
        lambda: holder.fenced.put_file("key", file),
        lambda: holder.fenced.put_file_if("key", file, etag),
        lambda: holder.fenced.put_if_absent("other", b""),
        lambda: holder.fenced.replace_if_match("key", b"", etag),
        lambda: holder.fenced.delete("key"),
    ):
        with pytest.raises(LockedError):
            change()
    assert {entry.key: store.get(entry.key).data for entry in store.list()} == {"key": b"x"}
    assert holder.fenced.get("key").data == b"x"


class Clock:
    """Seconds since the boot, which pass while the machine sleeps."""

    now = 100.0

    def __call__(self):
        return self.now


class Hanging(LocalStore):
    """Heartbeats go nowhere while it hangs."""

    hangs = False

    def get(self, key):
        if self.hangs:
            raise StoreError("no answer within 3 s")
        return super().get(key)


@pytest.fixture
def leased(tmp_path):
    clock, heartbeats = Clock(), Hanging(tmp_path / "runs")
    lease = RunLease(
        LocalStore(tmp_path / "runs"), RUN, heartbeats=heartbeats, timing=SILENT, clock=clock, memory=lambda: 0
    )
    lease.acquire()
    yield lease, clock, heartbeats
    heartbeats.hangs = False
    lease.release()


def test_a_lease_is_trusted_for_less_than_others_wait(leased):
    """Until then a check asks nobody; after it a heartbeat is sent, and its answer trusted as long."""
    lease, clock, heartbeats = leased
    heartbeats.hangs = True
    clock.now += 9
    lease.check()
    clock.now += 0.1
    with pytest.raises(StoreError, match="no answer"):
        lease.check()
    heartbeats.hangs = False
    lease.check()
    heartbeats.hangs = True
    clock.now += 9
    lease.check()


def test_a_machine_that_has_slept_asks_before_it_writes(leased, tmp_path):
    """Another holder's lease is found at once, however short a time the process itself has seen."""
    lease, clock, _ = leased
    other = lease.current.model_copy(update={"token": lease.token + 1, "holder": "other"})
    LocalStore(tmp_path / "runs").put(RUN.key("lease.json"), other.to_json())
    lease.check()
    clock.now += 3600
    with pytest.raises(LockedError, match="other has taken it over"):
        lease.check()
