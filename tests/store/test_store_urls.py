"""What users type for a store or an object, and what opening a store imports."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from job.store import StorageOptions, open_store, split_object_url
from job.store.urls import LocalLocation, S3Location, parse_store_url


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("S3://my.bucket/a/b/", "my.bucket", "a/b"),
        ("s3://bucket/with space/100%?x#y", "bucket", "with space/100%?x#y"),
    ],
)
def test_s3_urls_name_bucket_and_prefix(url, bucket, prefix):
    """Everything after the bucket is the prefix, as it stands."""
    assert parse_store_url(url) == S3Location(bucket, prefix)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/srv/runs", "/srv/runs"),
        ("/srv/runs/", "/srv/runs"),
        ("file:///srv/runs/", "/srv/runs"),
        ("file://localhost/srv/runs", "/srv/runs"),
        ("file:///srv/my%20runs", "/srv/my runs"),
        ("/srv/my%20runs", "/srv/my%20runs"),
        ("runs", "{cwd}/runs"),
        ("./runs", "{cwd}/runs"),
        (".", "{cwd}"),
        ("a/../runs", "{cwd}/runs"),
        ("~/runs", "{home}/runs"),
        ("name:with/colon", "{cwd}/name:with/colon"),
    ],
)
def test_paths_become_absolute(url, expected, tmp_path, monkeypatch):
    """Relative paths, `~` and file:// URLs all lead to an absolute path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = Path(expected.format(cwd=tmp_path, home=tmp_path / "home"))

    assert parse_store_url(url) == LocalLocation(path)
    assert open_store(url).url == str(path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gs://bucket/prefix",
        "http://example.com/bucket",
        "s3:/bucket/prefix",
        "s3:bucket",
        "file:runs",
        "file://host/runs",
        "file://",
        "file:///runs?x=1",
        "s3://",
        "s3:///prefix",
        "s3://bad_bucket!/prefix",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "~no-such-user-here/runs",
    ],
)
def test_other_urls_are_refused(url):
    """A URL that leads nowhere is a ValueError that quotes it."""
    with pytest.raises(ValueError, match=re.escape(repr(url))):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "store_url", "key"),
    [
        ("s3://bucket/a/b.npz", "s3://bucket/a/", "b.npz"),
        ("s3://bucket/b.npz", "s3://bucket/", "b.npz"),
        ("data/b.npz", "data/", "b.npz"),
        ("b.npz", ".", "b.npz"),
        ("/b.npz", "/", "b.npz"),
        ("~/b.npz", "~/", "b.npz"),
        ("file:///data/my%20b.npz", "file:///data/", "my b.npz"),
        ("file:///b.npz", "file:///", "b.npz"),
    ],
)
def test_object_urls_split_into_store_and_key(url, store_url, key):
    """The folder is the store and the name is the key; both halves can be used as they are."""
    assert split_object_url(url) == (store_url, key)
    parse_store_url(store_url)


def test_an_object_is_read_by_its_url(tmp_path):
    """A file is found by its path, through the store that its folder is."""
    (tmp_path / "data.npz").write_bytes(b"data")
    store_url, key = split_object_url(str(tmp_path / "data.npz"))

    assert open_store(store_url).get(key).data == b"data"


@pytest.mark.parametrize(
    "url",
    ["", "s3://bucket", "s3://bucket/", "s3://bucket/a/", "data/", "..", "gs://bucket/key", "s3:///key"],
)
def test_urls_without_an_object_are_refused(url):
    """A bucket, a folder or another scheme is not the URL of an object."""
    with pytest.raises(ValueError, match=re.escape(repr(url))):
        split_object_url(url)


@pytest.mark.parametrize(
    "options",
    [
        StorageOptions(encryption="sse-s3"),
        StorageOptions(tags={"team": "vision"}),
        StorageOptions(storage_class="STANDARD_IA"),
    ],
)
def test_a_directory_refuses_storage_options(tmp_path, options):
    """Encryption, tags and storage class are not ignored in silence where they cannot be given."""
    with pytest.raises(ValueError, match="need an s3:// URL"):
        open_store(str(tmp_path), options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kms_key": "alias/key"}, "kms_key needs"),
        ({"kms_key": "alias/key", "encryption": "sse-s3"}, "kms_key needs"),
        ({"tags": {str(number): "" for number in range(11)}}, "at most 10 tags"),
        ({"tags": {"": "value"}}, "1 to 128"),
        ({"tags": {"key": "x" * 257}}, "at most 256"),
    ],
)
def test_impossible_storage_options_are_refused(arguments, message):
    """Options that S3 would refuse are a ValueError before anything is written."""
    with pytest.raises(ValueError, match=message):
        StorageOptions(**arguments)


def test_a_local_store_imports_nothing_heavy(tmp_path):
    """Importing job.store and using a directory leaves boto3, botocore and numpy alone."""
    script = (
        "import sys; from job.store import open_store\n"
        f"open_store({str(tmp_path)!r}).put('key', b'data')\n"
        "print(sorted({'boto3', 'botocore', 's3transfer', 'numpy', 'urllib3'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert finished.stdout == "[]\n"
