"""The proxy that breaks the network: what it does to requests, and what it leaves as it is."""

from collections import Counter
from itertools import pairwise

import pytest
from faults.random_faults import Fault, RandomFaults

from job.errors import AccessError, PreconditionFailedError, StoreError
from job.store import open_store

SEED = 7


def draws(faults, number):
    return [faults.draw() for _ in range(number)]


def test_signatures_hold_through_the_proxy(faulty_network, bucket, monkeypatch):
    """The server checks what the client signed, its Host header included: a wrong secret is refused, ours is not."""
    open_store(f"s3://{bucket}").put("key", b"data")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

    with pytest.raises(AccessError, match="SignatureDoesNotMatch"):
        open_store(f"s3://{bucket}").get("key")
    host = faulty_network.endpoint.removeprefix("http://")
    assert {exchange.headers["Host"] for exchange in faulty_network.exchanges} == {host}


def test_a_seed_gives_the_same_faults_again():
    """Draws depend on the seed alone."""
    assert draws(RandomFaults(SEED, 0.5), 200) == draws(RandomFaults(SEED, 0.5), 200)
    assert draws(RandomFaults(SEED, 0.5), 200) != draws(RandomFaults(SEED + 1, 0.5), 200)


def test_the_rate_is_the_share_of_requests_that_fail():
    """At 20 % one draw in five is a fault, and every kind occurs."""
    faults = RandomFaults(SEED, 0.2)
    draws(faults, 10_000)

    assert 0.18 < 1 - faults.counts[None] / faults.counts.total() < 0.22
    assert set(faults.counts) == {None, *Fault}


@pytest.mark.usefixtures("abandoned_connections")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("kind", Fault)
def test_the_store_bears_each_kind_of_fault(faulty_network, bucket, kind, monkeypatch):
    """Each fault alone, met by a third of all requests, is nothing that a caller sees."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "12")
    faulty_network.random = RandomFaults(SEED, 0.33, [kind], latency=0.05)
    store = open_store(f"s3://{bucket}")

    for number in range(10):
        # A caller that is told of a lost race must have lost it: nobody else writes here.
        store.put_if_absent(f"key{number}", b"first")
        store.replace_if_match(f"key{number}", b"second", store.get(f"key{number}").etag)
        with pytest.raises(PreconditionFailedError):
            store.put_if_absent(f"key{number}", b"third")
    assert [store.get(entry.key).data for entry in store.list()] == [b"second"] * 10
    assert faulty_network.counts[kind] >= 5
    assert set(faulty_network.counts) == {kind, "passed"}


def test_an_outage_ends_when_it_is_switched_off(faulty_network, bucket, monkeypatch):
    """While it lasts nothing gets through, on old connections and new ones; afterwards everything is as before."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    store = open_store(f"s3://{bucket}")
    store.put("key", b"data")
    faulty_network.outage = True

    for client in (store, open_store(f"s3://{bucket}")):
        with pytest.raises(StoreError, match="the server does not answer"):
            client.get("key")
    assert faulty_network.counts == Counter(passed=1, outage=4)
    assert len(faulty_network.exchanges) == 1
    faulty_network.outage = False
    assert store.get("key").data == b"data"


@pytest.mark.usefixtures("abandoned_connections")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_increments_are_neither_lost_nor_doubled(faulty_network, bucket, monkeypatch):
    """Compare-and-swap counts right where a third of the requests fail, also those that were carried out."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "12")
    faulty_network.random = RandomFaults(SEED, 0.33, latency=0.05)
    store = open_store(f"s3://{bucket}")
    store.put("counter", b"0")
    seen = []

    for _ in range(30):
        current = store.get("counter")
        seen.append(int(current.data))
        store.replace_if_match("counter", b"%d" % (int(current.data) + 1), current.etag)

    assert store.get("counter").data == b"30"
    assert all(later == earlier + 1 for earlier, later in pairwise(seen))
