"""S3 over a network that fails: answers cut short, lost, delayed by rivals, or refused for a while."""

import hashlib
import random
import threading

import pytest
from faults.proxy import Answer

from job.errors import AccessError, ObjectNotFoundError, PreconditionFailedError, StoreError
from job.store import StorageOptions, StoredFile, open_store
from job.store.s3_client import REQUEST_ATTEMPTS

LARGE = random.Random(0).randbytes(20_000_001)  # noqa: S311 - test data
THREE_PARTS = StorageOptions(part_bytes=8 * 2**20)
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()


@pytest.mark.usefixtures("abandoned_connections")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_body_that_breaks_off_is_read_anew(faulty_network, faults, bucket):
    """An answer cut half-way does not reach the caller; the object is read again."""
    store = open_store(f"s3://{bucket}")
    store.put("key", b"0123456789" * 1000)
    faulty_network.fault = faults("cut", "cut")

    assert store.get("key").data == b"0123456789" * 1000


@pytest.mark.usefixtures("abandoned_connections")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_body_that_keeps_breaking_off_is_a_store_error(faulty_network, bucket, tmp_path):
    """In the end a StoreError is raised, and no file is left of the download."""
    store = open_store(f"s3://{bucket}")
    store.put("key", b"0123456789" * 1000)
    faulty_network.fault = lambda exchange: "cut" if exchange.method == "GET" else None

    with pytest.raises(StoreError, match="cannot read"):
        store.get("key")
    with pytest.raises(StoreError, match="cannot read"):
        store.get_file("key", tmp_path / "download")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("abandoned_connections")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_large_download_survives_broken_parts(faulty_network, bucket, tmp_path):
    """Parts cut half-way are fetched again, and size and SHA-256 are those of the whole object."""
    store = open_store(f"s3://{bucket}", THREE_PARTS)
    store.put("key", LARGE)
    broken = set()

    def cut_each_part_once(exchange):
        part = exchange.headers.get("Range")
        if part is None or part in broken:
            return None
        broken.add(part)
        return "cut"

    faulty_network.fault = cut_each_part_once

    assert store.get_file("key", tmp_path / "download") == StoredFile(len(LARGE), LARGE_SHA256)
    assert (tmp_path / "download").read_bytes() == LARGE
    assert len(broken) == 3


@pytest.mark.usefixtures("abandoned_connections")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_object_replaced_during_its_download_is_downloaded_anew(faulty_network, bucket, s3_admin, tmp_path):
    """A large object that changes between its parts is never a mixture of both versions."""
    store = open_store(f"s3://{bucket}")
    store.put("key", LARGE)
    other = LARGE[::-1]
    first_part = threading.Semaphore()
    replaced = threading.Event()

    def hold_back_the_other_parts(method, _path):
        if method == "GET" and not first_part.acquire(blocking=False):
            assert replaced.wait(timeout=60)

    def replace_after_the_first_part(exchange):
        if exchange.method == "GET" and not replaced.is_set():
            s3_admin.put_object(Bucket=bucket, Key="key", Body=other)
            replaced.set()

    faulty_network.before = hold_back_the_other_parts
    faulty_network.fault = replace_after_the_first_part
    stored = store.get_file("key", tmp_path / "download")

    content = (tmp_path / "download").read_bytes()
    assert content == other
    assert stored == StoredFile(len(other), hashlib.sha256(other).hexdigest())


def test_a_failed_multipart_upload_leaves_nothing(faulty_network, bucket, s3_admin, tmp_path):
    """Where a part cannot be sent, no object appears and the parts already sent are thrown away."""
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    store = open_store(f"s3://{bucket}")
    faulty_network.before = lambda _method, path: Answer(403, "AccessDenied") if "partNumber=2" in path else None

    with pytest.raises(AccessError, match="access denied"):
        store.put_file("key", source)
    assert list(store.list()) == []
    assert "Uploads" not in s3_admin.list_multipart_uploads(Bucket=bucket)


def test_an_upload_survives_lost_answers(faulty_network, bucket, tmp_path):
    """Parts whose answers were lost are sent again; the object is whole."""
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    store = open_store(f"s3://{bucket}", THREE_PARTS)
    lost = set()

    def lose_each_answer_once(exchange):
        if exchange.path in lost or "partNumber" not in exchange.path:
            return None
        lost.add(exchange.path)
        return "drop"

    faulty_network.fault = lose_each_answer_once

    assert store.put_file("key", source) == StoredFile(len(LARGE), LARGE_SHA256)
    assert store.get("key").data == LARGE
    assert len(lost) == 3


def test_a_creation_whose_answer_was_lost_has_won(faulty_network, faults, bucket):
    """If the retry finds our own object there, the write succeeded: it must not count as a lost race."""
    store = open_store(f"s3://{bucket}")
    faulty_network.fault = faults("drop")

    store.put_if_absent("key", b"mine")

    assert [exchange.status for exchange in faulty_network.exchanges] == [200, 412, 200]
    assert store.get("key").data == b"mine"


def test_a_swap_whose_answer_was_lost_has_won(faulty_network, faults, bucket):
    """The same for a replacement: the etag no longer matches because we ourselves replaced it."""
    store = open_store(f"s3://{bucket}")
    store.put("key", b"before")
    etag = store.get("key").etag
    faulty_network.fault = faults("drop")

    store.replace_if_match("key", b"mine", etag)

    assert store.get("key").data == b"mine"


def test_a_lost_answer_does_not_win_somebody_elses_race(faulty_network, faults, bucket):
    """A retried creation that finds another writer's object has lost, even where the bytes are equal."""
    other = open_store(f"s3://{bucket}")
    other.put_if_absent("key", b"same bytes")
    store = open_store(f"s3://{bucket}")
    faulty_network.fault = faults("drop")

    with pytest.raises(PreconditionFailedError):
        store.put_if_absent("key", b"same bytes")


def test_an_object_removed_after_a_lost_answer_counts_as_lost(faulty_network, bucket, s3_admin):
    """Where our object is gone by the time we look, the caller is told to read anew."""
    store = open_store(f"s3://{bucket}")

    def lose_then_remove(exchange):
        if exchange.status == 412:
            s3_admin.delete_object(Bucket=bucket, Key="key")
        return "drop" if exchange.method == "PUT" and exchange.status == 200 else None

    faulty_network.fault = lose_then_remove

    with pytest.raises(PreconditionFailedError):
        store.put_if_absent("key", b"mine")


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_a_conflicting_write_is_tried_again(faulty_network, bucket, code):
    """409 means that a concurrent write was in the way and ours was not carried out: it is sent again."""
    store = open_store(f"s3://{bucket}")
    conflicts = iter([Answer(409, code)] * 2)
    faulty_network.before = lambda _method, _path: next(conflicts, None)

    store.put_if_absent("key", b"mine")

    assert store.get("key").data == b"mine"


def test_conflicts_without_end_are_a_store_error(faulty_network, bucket):
    """A write that is always in somebody's way ends with a transient error after a limited number of attempts."""
    store = open_store(f"s3://{bucket}")
    requests = []

    def conflict(method, path):
        requests.append((method, path))
        return Answer(409, "ConditionalRequestConflict")

    faulty_network.before = conflict

    with pytest.raises(StoreError, match="ConditionalRequestConflict"):
        store.put_if_absent("key", b"mine")
    assert len(requests) == REQUEST_ATTEMPTS


def test_a_failing_server_is_asked_again(faulty_network, bucket):
    """Transient answers (503, 500) are retried without the caller's notice, for every method."""
    store = open_store(f"s3://{bucket}")
    failing = set()

    def fail_first(method, path):
        if (method, path) in failing:
            return None
        failing.add((method, path))
        return Answer(503, "SlowDown")

    faulty_network.before = fail_first
    store.put("key", b"data")

    assert store.get("key").data == b"data"
    assert store.stat("key").size == 4
    assert [entry.key for entry in store.list()] == ["key"]
    store.delete("key")
    with pytest.raises(ObjectNotFoundError):
        store.get("key")
    assert len(failing) == 5
