"""Versions of objects: which one is read, and what a run pins."""

import numpy as np
import pytest

from job.data import ObjectPins, load_dataset
from job.errors import ObjectNotFoundError
from job.spec import DataSpec
from job.store import open_store


@pytest.fixture
def versioned_bucket(bucket, s3_admin):
    s3_admin.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def upload(tmp_path, bucket, seed):
    """Rows of random pixels as `rows.npz`."""
    chance = np.random.default_rng(seed)
    np.savez(tmp_path / "rows.npz", x=chance.integers(0, 255, (60, 4), np.uint8), y=np.arange(60) % 3)
    open_store(f"s3://{bucket}").put_file("rows.npz", tmp_path / "rows.npz")


def load(tmp_path, bucket, pins):
    folder = tmp_path / "scratch"
    folder.mkdir(exist_ok=True)
    return load_dataset(DataSpec(source=f"s3://{bucket}/rows.npz"), seed=0, scratch=folder, pins=pins).fingerprint


def test_a_version_is_read_whatever_was_written_since(versioned_bucket, tmp_path):
    """`stat` names the version; `get_file` reads it after the object was replaced and deleted, and knows no other."""
    store = open_store(f"s3://{versioned_bucket}")
    store.put("key", b"first")
    known = store.stat("key")
    assert known.version is not None
    store.put("key", b"second")
    store.delete("key")
    store.get_file("key", tmp_path / "copy", version=known.version)
    assert (tmp_path / "copy").read_bytes() == b"first"
    with pytest.raises(ObjectNotFoundError):
        store.get_file("key", tmp_path / "copy")


def test_a_bucket_without_versions_names_none(bucket):
    """Where the bucket keeps no versions there is nothing to pin."""
    store = open_store(f"s3://{bucket}")
    store.put("key", b"first")
    assert store.stat("key").version is None


def test_a_resumed_run_reads_the_version_that_it_started_with(versioned_bucket, tmp_path):
    """Rows that are replaced during a run do not change what its next start trains on."""
    upload(tmp_path, versioned_bucket, seed=1)
    first = ObjectPins()
    fingerprint = load(tmp_path, versioned_bucket, first)
    upload(tmp_path, versioned_bucket, seed=2)
    again = ObjectPins(first.read)
    assert load(tmp_path, versioned_bucket, again) == fingerprint
    assert again.read == first.read
    fresh = ObjectPins()
    assert load(tmp_path, versioned_bucket, fresh) != fingerprint
    assert fresh.read["source"].version != first.read["source"].version


def test_a_version_that_is_gone_is_replaced_by_the_newest(versioned_bucket, s3_admin, tmp_path):
    """The newest is read then, and noted: whether its rows are the same, its fingerprint tells."""
    upload(tmp_path, versioned_bucket, seed=1)
    first = ObjectPins()
    load(tmp_path, versioned_bucket, first)
    upload(tmp_path, versioned_bucket, seed=2)
    s3_admin.delete_object(Bucket=versioned_bucket, Key="rows.npz", VersionId=first.read["source"].version)
    again = ObjectPins(first.read)
    load(tmp_path, versioned_bucket, again)
    assert again.read["source"].version not in {None, first.read["source"].version}


def test_without_versions_the_newest_is_read_and_noted(bucket, tmp_path):
    """Size and etag say afterwards which object it was that changed."""
    upload(tmp_path, bucket, seed=1)
    first, again = ObjectPins(), ObjectPins()
    load(tmp_path, bucket, first)
    upload(tmp_path, bucket, seed=2)
    load(tmp_path, bucket, again)
    assert first.read["source"].size == again.read["source"].size
    assert first.read["source"].etag != again.read["source"].etag
