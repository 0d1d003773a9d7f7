"""Many starts of one run at the same moment, with real processes, real locks and a real S3 server."""

import subprocess
import sys
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import LockedError
from job.layout import LEASE, RunLayout
from job.lease import LeaseTiming, RunLease
from job.records import Lease
from job.store import LocalStore, open_store

RUN = RunLayout("nightly", "one")
STARTS = 20

# Says that it is ready, waits for the others, says how it went, and ends with its standard input.
START = """
import sys
from job.errors import LockedError
from job.layout import RunLayout
from job.lease import RunLease
from job.store import open_store
lease = RunLease(open_store(sys.argv[1]), RunLayout("nightly", "one"))
print("ready", flush=True)
sys.stdin.readline()
try:
    lease.acquire()
    print("held", flush=True)
    sys.stdin.readline()
    lease.confirm()
    lease.release()
except LockedError:
    print("locked", flush=True)
"""


def test_of_many_processes_on_one_directory_one_holds_the_run(tmp_path):
    """Twenty processes that start at once: one has the run, nineteen are locked out, and the lease is released."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(STARTS)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * STARTS
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.stdout.readline() for process in processes]
    for process in processes:
        process.communicate("end\n" if process.poll() is None else None)
    assert sorted(said) == ["held\n"] + ["locked\n"] * (STARTS - 1)
    assert {process.returncode for process in processes} == {0}
    lease = Lease.model_validate_json(LocalStore(tmp_path).get(RUN.key(LEASE)).data)
    assert (lease.token, lease.state) == (1, "released")


def test_of_many_starts_on_one_bucket_one_holds_the_run(bucket):
    """Twenty starts at once against a real S3 server: one has the run, the others see its heartbeat and give up."""
    store = open_store(f"s3://{bucket}/tuning")
    leases = [RunLease(store, RUN, memory=lambda: 0) for _ in range(STARTS)]
    outcomes = dict.fromkeys(range(STARTS), "nothing")
    together = threading.Barrier(STARTS)

    def start(number):
        together.wait()
        try:
            leases[number].acquire()
            outcomes[number] = "held"
        except LockedError:
            outcomes[number] = "locked"

    threads = [threading.Thread(target=start, args=(number,)) for number in range(STARTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes.values()) == ["held"] + ["locked"] * (STARTS - 1)
    (holder,) = (leases[number] for number, outcome in outcomes.items() if outcome == "held")
    with holder:
        holder.confirm()
    lease = Lease.model_validate_json(store.get(RUN.key(LEASE)).data)
    assert (lease.token, lease.state) == (1, "released")


class Elsewhere:
    """A store that is no directory as far as a lease knows, so that the heartbeat alone decides."""

    def __init__(self, store):
        self.get, self.put_if_absent, self.replace_if_match = store.get, store.put_if_absent, store.replace_if_match


# What happens, to which process, and for a newcomer whose heartbeat goes on at which of its looks.
DEEDS = st.lists(
    st.tuples(st.sampled_from(["start", "beat", "end"]), st.integers(0, 5), st.integers(1, 12)), max_size=15
)


@given(DEEDS)
@settings(max_examples=60, deadline=None)
def test_there_is_never_more_than_one_holder(tmp_path_factory, deeds):
    """Whatever starts, beats, ends and stalls in whatever order: one process at most is confirmed, tokens only grow.

    A start is locked out exactly where the holder's heartbeat moves while it looks.
    """
    store = LocalStore(tmp_path_factory.mktemp("runs"))
    started: list[RunLease] = []
    ended: list[RunLease] = []
    holder = None
    for deed, number, look in deeds:
        if deed == "start":
            looks = []

            def see(seconds, looks=looks, look=look, holder=holder):
                looks.append(seconds)
                if holder is not None and len(looks) == look:
                    holder.beat(0)

            silent = LeaseTiming(beat=3600.0, look=3600.0)
            newer = RunLease(Elsewhere(store), RUN, timing=silent, sleep=see, memory=lambda: 0)
            try:
                newer.acquire()
            except LockedError:
                assert holder is not None
                assert look <= 10
                assert len(looks) == look
            else:
                assert holder is None or look > 10
                assert newer.token == (1 + max((lease.token for lease in started), default=0))
                started.append(newer)
                holder = newer
        elif started:
            lease = started[number % len(started)]
            if deed == "beat":
                lease.beat(0)
            else:
                lease.release()
                ended.append(lease)
                holder = None if lease is holder else holder
        confirmed = [lease for lease in started if lease not in [holder, *ended] and _is_confirmed(lease)]
        assert confirmed == []
        assert holder is None or _is_confirmed(holder)
    for lease in started:
        lease.release()


def _is_confirmed(lease):
    try:
        lease.confirm()
    except LockedError:
        return False
    return True
