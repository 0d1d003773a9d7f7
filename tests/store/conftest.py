"""The stores under test."""

import gc
from collections.abc import Callable, Iterator

import pytest
from faults.random_faults import RandomFaults

from job.store import LookFirstStore, open_store

SEED = 20261123


@pytest.fixture
def local_store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def s3_store(bucket):
    return open_store(f"s3://{bucket}/some/prefix")


@pytest.fixture
def s3_failing_store(faulty_network, bucket, monkeypatch):
    """The same, with one request in five failing."""
    # Of the 1100 objects that one test writes some would else meet a fault every time.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "12")
    faulty_network.random = RandomFaults(SEED, 0.2, latency=0.05)
    return open_store(f"s3://{bucket}/some/prefix")


@pytest.fixture
def look_first_store(old_minio_bucket):
    """What stands in for conditions on a server that ignores them."""
    return LookFirstStore(open_store(f"s3://{old_minio_bucket}/some/prefix"))


KINDS = ["local", "s3", "s3_failing"]


@pytest.fixture(params=KINDS)
def atomic_store(request):
    """Every implementation of ObjectStore; S3 also where one request in five fails."""
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture(params=[*KINDS, "look_first"])
def store(request):
    """Likewise, with the one that keeps the whole contract but that of racing writers."""
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def abandoned_connections() -> Iterator[None]:
    """For a download that fails: s3transfer drops the answers it has not read to the end.

    Their sockets are closed by the garbage collector, which warns. Together with `ignore:unclosed` on the
    test, this makes it happen before the next test.
    """
    yield
    gc.collect()


@pytest.fixture
def faults() -> Callable:
    """Make a scripted fault of several: one for each answer in turn, then none."""

    def in_order(*each: str | None) -> Callable:
        remaining = iter(each)
        return lambda _: next(remaining, None)

    return in_order
