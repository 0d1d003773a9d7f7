"""What is particular to S3: credentials, endpoints, refusals, write options and prefixes."""

import hashlib
import random
import socket
from contextlib import suppress

import pytest
from faults.proxy import Answer

from job.errors import AccessError, ConditionsUnsupportedError, JobError, StoreError
from job.store import StorageOptions, open_store

LARGE = random.Random(0).randbytes(20_000_001)  # noqa: S311 - test data; two parts
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()


def every_call(store, tmp_path):
    """Each method of the store on an ordinary key."""
    source = tmp_path / "source"
    source.write_bytes(b"data")
    return {
        "get": lambda: store.get("key"),
        "get_file": lambda: store.get_file("key", tmp_path / "download"),
        "stat": lambda: store.stat("key"),
        "put": lambda: store.put("key", b"data"),
        "put_file": lambda: store.put_file("key", source),
        "put_if_absent": lambda: store.put_if_absent("key", b"data"),
        "replace_if_match": lambda: store.replace_if_match("key", b"data", '"etag"'),
        "list": store.list,
        "delete": lambda: store.delete("key"),
    }


def text_of(error: JobError) -> str:
    return f"{error.message} {error.advice}"


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.usefixtures("s3_environment")
def test_a_missing_bucket_is_an_access_error(s3_server, tmp_path):
    """Every method says that there is no such bucket, where, and what can be done, even where S3 says just 404."""
    store = open_store("s3://no-such-bucket/prefix")
    calls = every_call(store, tmp_path)
    # The server looks at the condition first, and says 412; who has an etag has read from the bucket anyway.
    del calls["replace_if_match"]

    for name, call in calls.items():
        with pytest.raises(AccessError, match="there is no bucket no-such-bucket") as caught:
            call()
        assert s3_server.endpoint in caught.value.message, name
        assert "Create the bucket" in caught.value.advice
    assert not (tmp_path / "download").exists()


def test_a_wrong_secret_is_an_access_error(bucket, monkeypatch, tmp_path):
    """Every method says that the secret is wrong, without showing it."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    store = open_store(f"s3://{bucket}")

    for call in every_call(store, tmp_path).values():
        with pytest.raises(AccessError, match="secret key does not belong") as caught:
            call()
        assert "wrong-secret" not in text_of(caught.value)


def test_an_unknown_access_key_is_an_access_error(bucket, monkeypatch):
    """A key that the server does not know is reported as such."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown-key")

    with pytest.raises(AccessError, match="does not know this access key"):
        open_store(f"s3://{bucket}").put("key", b"")


def test_missing_credentials_are_an_access_error(bucket, monkeypatch, tmp_path):
    """Without credentials anywhere, every method says which variables to set."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store(f"s3://{bucket}")

    for call in every_call(store, tmp_path).values():
        with pytest.raises(AccessError, match="no usable credentials") as caught:
            call()
        assert "AWS_ACCESS_KEY_ID" in caught.value.advice


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("AWS_PROFILE", "no-such-profile", "no-such-profile"),
        ("AWS_ENDPOINT_URL_S3", "minio:9000", "minio:9000"),
        ("AWS_SECRET_ACCESS_KEY", "", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_MAX_ATTEMPTS", "many", "many"),
    ],
)
def test_a_broken_configuration_is_an_access_error(bucket, monkeypatch, variable, value, message):
    """What is wrong with the AWS variables is said when the store is opened or first used."""
    monkeypatch.setenv(variable, value)

    with pytest.raises(AccessError, match=message):
        open_store(f"s3://{bucket}").put("key", b"")


def test_a_dead_endpoint_is_a_store_error(bucket, monkeypatch, tmp_path):
    """Where nobody listens, every method ends with a transient error that names the endpoint, not its password."""
    port = closed_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:password@127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = open_store(f"s3://{bucket}")

    for call in every_call(store, tmp_path).values():
        with pytest.raises(StoreError, match=f"@127.0.0.1:{port}: the server does not answer") as caught:
            call()
        assert type(caught.value) is StoreError
        assert "password" not in text_of(caught.value)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_a_given_endpoint_is_addressed_by_path(faulty_network, bucket, monkeypatch, variable):
    """The bucket goes into the path, not into a host name that no DNS server knows."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv(variable, faulty_network.endpoint.replace("127.0.0.1", "localhost"))

    open_store(f"s3://{bucket}/prefix").put("key", b"data")

    assert [exchange.path for exchange in faulty_network.exchanges] == [f"/{bucket}/prefix/key"]


REFUSALS = [
    (403, "AccessDenied", AccessError, "access denied"),
    (403, "SomethingNew", AccessError, r"access denied \(SomethingNew\)"),
    (403, "RequestTimeTooSkewed", AccessError, "clock"),
    (400, "ExpiredToken", AccessError, "token has expired"),
    (400, "AuthorizationHeaderMalformed", AccessError, "another region"),
    (400, "KMS.DisabledException", AccessError, "refuses the storage options"),
    (403, "InvalidObjectState", AccessError, "archived"),
    (501, "NotImplemented", StoreError, "does not implement"),
    (500, "InternalError", StoreError, "InternalError"),
    (503, "SlowDown", StoreError, "SlowDown"),
    (400, "SomethingNew", StoreError, "SomethingNew"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal[0]}-{refusal[1]}")
def test_answers_of_the_server_become_errors(faulty_network, bucket, monkeypatch, refusal):
    """Refusals are permanent, failures transient, and each is named."""
    status, code, error_class, message = refusal
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    faulty_network.before = lambda _method, _path: Answer(status, code)
    store = open_store(f"s3://{bucket}")
    calls = [
        lambda: store.get("key"),
        lambda: store.put_if_absent("key", b""),
        lambda: store.replace_if_match("key", b"", '"etag"'),
        store.list,
    ]
    if status < 500:
        # HEAD has no body to name the reason in; a second request finds it out.
        calls.append(lambda: store.stat("key"))

    for call in calls:
        with pytest.raises(error_class, match=message) as caught:
            call()
        conditional = {ConditionsUnsupportedError} if status == 501 else set()
        assert type(caught.value) in {error_class} | conditional


def test_options_apply_to_every_kind_of_write(bucket, s3_admin, tmp_path):
    """Encryption, tags and storage class are on every object, however it was written, multipart included."""
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    tags = {"team": "vision + sound", "purpose": "a=b"}
    options = StorageOptions(encryption="sse-s3", tags=tags, storage_class="STANDARD_IA")
    store = open_store(f"s3://{bucket}", options)

    store.put("put", b"data")
    store.put_file("put_file", source)
    store.put_if_absent("put_if_absent", b"data")
    store.put("replace_if_match", b"data")
    store.replace_if_match("replace_if_match", b"other", store.get("replace_if_match").etag)

    for entry in store.list():
        head = s3_admin.head_object(Bucket=bucket, Key=entry.key)
        stored_tags = s3_admin.get_object_tagging(Bucket=bucket, Key=entry.key)["TagSet"]
        assert head["ServerSideEncryption"] == "AES256", entry
        assert head["StorageClass"] == "STANDARD_IA", entry
        assert {tag["Key"]: tag["Value"] for tag in stored_tags} == tags, entry
    assert store.get_file("put_file", tmp_path / "download").sha256 == LARGE_SHA256


def test_a_kms_key_is_sent_with_every_kind_of_write(faulty_network, bucket, tmp_path, monkeypatch):
    """SSE-KMS is asked for with its key; a server without that key fails the write."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    store = open_store(f"s3://{bucket}", StorageOptions(encryption="sse-kms", kms_key="alias/tuning"))

    for write in (
        lambda: store.put("key", b""),
        lambda: store.put_if_absent("key", b""),
        lambda: store.put_file("key", source),
    ):
        # The test server has no key service: creating the object, or the multipart upload, is an internal error.
        with suppress(StoreError):
            write()

    writes = [
        exchange
        for exchange in faulty_network.exchanges
        if exchange.method in {"PUT", "POST"} and "partNumber" not in exchange.path and "uploadId" not in exchange.path
    ]
    assert len(writes) == 3
    for exchange in writes:
        assert exchange.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert exchange.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/tuning"


def test_a_refused_option_is_an_access_error(bucket):
    """A storage class that the server does not have is permanent, and points at the spec."""
    store = open_store(f"s3://{bucket}", StorageOptions(storage_class="NO_SUCH_CLASS"))

    with pytest.raises(AccessError, match=r"storage options .*InvalidStorageClass") as caught:
        store.put("key", b"")
    assert "storage_class" in caught.value.advice


def test_a_store_sees_only_its_prefix(bucket, s3_admin):
    """Keys are relative to the prefix; neighbours whose names begin alike are not listed."""
    store = open_store(f"s3://{bucket}/runs")
    store.put("key", b"data")
    s3_admin.put_object(Bucket=bucket, Key="runs-other/key", Body=b"")

    assert store.url == f"s3://{bucket}/runs"
    assert s3_admin.get_object(Bucket=bucket, Key="runs/key")["Body"].read() == b"data"
    assert [entry.key for entry in store.list()] == ["key"]
    assert sorted(entry.key for entry in open_store(f"s3://{bucket}").list()) == ["runs-other/key", "runs/key"]


def test_folder_markers_are_not_listed(bucket, s3_admin):
    """The empty objects that consoles make for folders are not objects of the store."""
    store = open_store(f"s3://{bucket}/runs")
    s3_admin.put_object(Bucket=bucket, Key="runs/folder/", Body=b"")
    store.put("folder/key", b"")

    assert [entry.key for entry in store.list()] == ["folder/key"]
