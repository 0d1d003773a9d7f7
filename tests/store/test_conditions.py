"""Servers that ignore conditional writes are found out, and what stands in for the conditions."""

import pytest
from faults.proxy import Answer
from faults.random_faults import RandomFaults

from job.errors import ConditionsUnsupportedError, PreconditionFailedError, StoreError
from job.store import LookFirstStore, honours_conditions, open_store


def test_a_server_with_conditions_is_trusted(bucket):
    """SeaweedFS honours them; the probe leaves nothing behind."""
    store = open_store(f"s3://{bucket}")

    assert honours_conditions(store, "name/probe")
    assert list(store.list()) == []


def test_a_directory_is_trusted(tmp_path):
    """A local directory honours them."""
    assert honours_conditions(open_store(str(tmp_path)), "name/probe")


def test_a_server_that_ignores_conditions_is_found_out(old_minio_bucket):
    """Old MinIO answers 200 to If-None-Match and replaces the object; the probe tells, and leaves nothing behind."""
    store = open_store(f"s3://{old_minio_bucket}")
    store.put("key", b"first")
    store.put_if_absent("key", b"second")

    assert store.get("key").data == b"second"
    assert not honours_conditions(store, "name/probe")
    assert [entry.key for entry in store.list()] == ["key"]


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_server_that_ignores_one_condition_is_found_out(old_minio_bucket, header, monkeypatch):
    """Both conditions are tried: some servers have learnt one of them only."""
    store = open_store(f"s3://{old_minio_bucket}")
    honest = LookFirstStore(store)
    # The one that the server is to honour is looked at first.
    method = "put_if_absent" if header == "If-Match" else "replace_if_match"
    monkeypatch.setattr(store, method, getattr(LookFirstStore(open_store(store.url)), method))

    assert honours_conditions(honest, "name/probe")
    assert not honours_conditions(store, "name/probe")


def test_a_server_without_conditions_is_found_out(faulty_network, bucket):
    """501 to a condition counts as not honoured, and plain writes still go through."""
    store = open_store(f"s3://{bucket}")
    faulty_network.before = lambda _method, path: Answer(501, "NotImplemented") if "probe" in path else None
    with pytest.raises(ConditionsUnsupportedError, match="does not implement conditional writes"):
        store.put_if_absent("probe", b"")

    faulty_network.before = lambda method, path: (
        Answer(501, "NotImplemented") if method == "PUT" and "probe" in path else None
    )
    assert not honours_conditions(store, "name/probe")


def test_a_failing_network_does_not_make_a_server_suspect(faulty_network, bucket, monkeypatch):
    """Lost answers and retried requests do not count against the server."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "12")
    faulty_network.random = RandomFaults(5, 0.3, latency=0.05)
    store = open_store(f"s3://{bucket}")

    assert all(honours_conditions(store, f"name/probe{number}") for number in range(20))


def test_a_server_that_fails_is_not_judged(faulty_network, bucket, monkeypatch):
    """A server that does not answer is a StoreError, not one without conditions."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    faulty_network.outage = True

    with pytest.raises(StoreError, match="does not answer"):
        honours_conditions(open_store(f"s3://{bucket}"), "name/probe")


def test_looking_first_serves_one_writer(old_minio_bucket):
    """One writer alone meets existing and changed objects as the contract has it."""
    store = LookFirstStore(open_store(f"s3://{old_minio_bucket}"))
    store.put_if_absent("key", b"first")
    etag = store.get("key").etag

    with pytest.raises(PreconditionFailedError, match="key exists already"):
        store.put_if_absent("key", b"second")
    store.replace_if_match("key", b"second", etag)
    with pytest.raises(PreconditionFailedError, match="key has changed"):
        store.replace_if_match("key", b"third", etag)
    assert store.get("key").data == b"second"
