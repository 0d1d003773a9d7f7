"""Data in object stores: fetched into scratch space, and read as a file is."""

import numpy as np
import pytest

from job.data import load_dataset
from job.errors import AccessError, DataError
from job.spec import DataSpec

ROWS = 60


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    x = np.random.default_rng(0).integers(0, 256, size=(ROWS, 4, 4), dtype=np.uint8)
    np.savez_compressed(path, x=x, y=np.arange(ROWS) % 3)
    return path


@pytest.fixture
def url(bucket, s3_admin, rows):
    s3_admin.upload_file(str(rows), bucket, "sets/rows.npz")
    return f"s3://{bucket}/sets/rows.npz"


def test_rows_in_s3_are_those_of_the_file(tmp_path, url, rows):
    """An s3:// source gives the same data set as the file that was uploaded, and leaves no copy behind."""
    remote = load_dataset(DataSpec(source=url), seed=0, scratch=tmp_path / "remote")
    local = load_dataset(DataSpec(source=str(rows)), seed=0, scratch=tmp_path / "local")
    assert remote.source == url
    assert remote.fingerprint == local.fingerprint
    assert np.array_equal(remote.prepared, local.prepared)
    assert np.array_equal(remote.test.x, local.test.x)
    assert not list((tmp_path / "remote").rglob("*.npz"))


def test_an_object_that_is_missing_is_a_data_error(tmp_path, bucket):
    """Trying again does not help where there is no such object: the error is permanent and names the URL."""
    url = f"s3://{bucket}/sets/rows.npy"
    with pytest.raises(DataError) as caught:
        load_dataset(DataSpec(source=url), seed=0, scratch=tmp_path)
    assert caught.value.message == f"{url}: there is no such object"


def test_a_bucket_that_is_missing_is_an_access_error(tmp_path, bucket):
    """A missing bucket stays what the store says it is."""
    with pytest.raises(AccessError, match=f"{bucket}-2"):
        load_dataset(DataSpec(source=f"s3://{bucket}-2/rows.npz"), seed=0, scratch=tmp_path)


def test_a_file_url_is_a_source(tmp_path, rows):
    """file:// URLs are read like paths."""
    dataset = load_dataset(DataSpec(source=rows.as_uri()), seed=0, scratch=tmp_path)
    assert dataset.rows == ROWS
    with pytest.raises(DataError, match=r"missing\.npz: there is no such object"):
        load_dataset(DataSpec(source=(tmp_path / "missing.npz").as_uri()), seed=0, scratch=tmp_path)
