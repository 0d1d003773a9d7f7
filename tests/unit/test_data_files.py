"""Files that cannot be found, read or trusted, and scratch space that cannot be written, are DataErrors."""

import resource
import signal
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

from job.data import load_dataset
from job.errors import DataError, StoreError
from job.spec import DataSpec

ROWS = 60
X = np.arange(ROWS * 6, dtype=np.float64).reshape(ROWS, 3, 2) / 8
Y = np.arange(ROWS) % 3
FEW, FEW_LABELS = X[:10], Y[:10]


def refusal(folder, *, spec=None, **arrays):
    """The error that loading these arrays ends with; the file is called rows.npz."""
    np.savez(folder / "rows.npz", **arrays)
    return refusal_of(folder, source=str(folder / "rows.npz"), **(spec or {}))


def refusal_of(folder, **spec):
    with pytest.raises(DataError) as caught:
        load_dataset(DataSpec(**spec), seed=0, scratch=folder / "scratch")
    return caught.value


@pytest.mark.parametrize("field", ["validation_source", "test_source"])
def test_other_files_are_named_by_their_own_name(tmp_path, field):
    """What is wrong with a file that the spec names beside the source is said of that file."""
    other = tmp_path / "other.npz"
    np.savez(other, x=FEW, y=FEW_LABELS + 7)
    error = refusal(tmp_path, x=X, y=Y, spec={field: str(other)})
    assert error.message.startswith(f"{other}: array 'y': label '7'")
    np.savez(other, a=FEW, b=FEW_LABELS)
    error = refusal(tmp_path, x=X, y=Y, spec={field: str(other)})
    assert error.message.startswith(f"{other}: x_")
    assert error.message.endswith("or x and y are expected, found a, b")


def test_a_name_that_is_no_file_leads_to_the_built_in_ones(tmp_path, monkeypatch):
    """A misspelt data set is answered with the name that was probably meant, and with all there are."""
    monkeypatch.chdir(tmp_path)
    error = refusal_of(tmp_path, source="fashion-mnist")
    assert error.message == "fashion-mnist: there is no such file"
    assert (
        "Did you mean 'fashion_mnist'? Built-in data sets: boston_housing, california_housing, cifar10" in error.advice
    )


@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_data_sets_of_other_tasks_are_refused_before_they_are_downloaded(tmp_path, name):
    """Keras's other data sets are known, and the message says why they cannot be used."""
    assert f"data set '{name}' cannot be used: it is a " in refusal_of(tmp_path, source=name).message


@pytest.mark.parametrize(
    "source", ["gs://bucket/rows.npz", "https://user:secret@host/rows.npz", "s3://bucket", "file:///"]
)
def test_urls_that_lead_nowhere_are_refused(tmp_path, source):
    """Only object URLs of S3 and file URLs are sources; what is secret in a URL is not repeated."""
    message = refusal_of(tmp_path, source=source).message
    assert source.partition("//")[0] in message
    assert "secret" not in message


def test_a_folder_is_no_source(tmp_path):
    """A path that cannot be read as a file is a DataError with the reason."""
    assert refusal_of(tmp_path, source=str(tmp_path)).message == f"{tmp_path}: cannot be read: Is a directory"


def test_an_unknown_home_folder_is_a_data_error(tmp_path):
    """`~nobody-of-this-name` leads nowhere."""
    source = "~nobody-of-this-name/rows.npz"
    assert refusal_of(tmp_path, source=source).message.startswith(f"{source}: ")


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n" * 100, b"PK\x03\x04 and no more"], ids=["empty", "csv", "zip"])
def test_a_file_of_another_format_is_refused(tmp_path, content):
    """A file that is no zip is named, with how to write one that is."""
    (tmp_path / "rows.npz").write_bytes(content)
    error = refusal_of(tmp_path, source=str(tmp_path / "rows.npz"))
    assert error.message.startswith(f"{tmp_path / 'rows.npz'}: is no .npz file, or is cut short")
    assert "savez" in error.advice


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("damage", ["cut short", "one byte"])
def test_a_damaged_file_is_refused(tmp_path, save, damage):
    """A file that lost its end, or in which a byte changed, is never trained on."""
    path = tmp_path / "rows.npz"
    x = np.random.default_rng(0).normal(size=(ROWS, 50))
    save(path, x=x, y=Y)
    content = bytearray(path.read_bytes())
    if damage == "cut short":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    error = refusal_of(tmp_path, source=str(path))
    assert error.message.startswith(f"{path}: is no .npz" if damage == "cut short" else f"{path}: array 'x' is damaged")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"not an array", id="no header"),
        pytest.param(b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'}", id="half a header"),
        pytest.param(b"\x93NUMPY\x03\x00\x76\x00\x00\x00", id="format version 3"),
        pytest.param(
            b"\x93NUMPY\x01\x00\x76\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (60, 6), }".ljust(117)
            + b"\n1234",
            id="fewer values than its shape says",
        ),
    ],
)
def test_a_member_that_is_no_array_is_refused(tmp_path, content):
    """A zip whose member is no whole .npy array is named with the array."""
    path = tmp_path / "rows.npz"
    np.savez(path, y=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", content)
    assert refusal_of(tmp_path, source=str(path)).message.startswith(f"{path}: array 'x' is damaged: ")


def test_pickles_are_never_read(tmp_path):
    """An array of objects whose unpickling would run code is refused, and nothing runs."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    error = refusal(tmp_path, x=np.array([[Trap()]] * ROWS), y=Y)
    assert "never read (allow_pickle)" in error.message
    assert not (tmp_path / "sprung").exists()


def test_scratch_space_that_cannot_be_written_is_a_data_error(tmp_path):
    """A scratch folder that is a file is named, with the reason."""
    np.savez(tmp_path / "rows.npz", x=X, y=Y)
    (tmp_path / "scratch").write_bytes(b"")
    message = refusal_of(tmp_path, source=str(tmp_path / "rows.npz")).message
    assert message.startswith(f"{tmp_path / 'scratch' / 'data'}: the data cannot be written to scratch space")


def test_a_full_disk_is_no_data_error(tmp_path):
    """Where no more can be written, trying again may help: the message names the folder; the process is not killed."""
    np.savez_compressed(tmp_path / "rows.npz", x=np.zeros((ROWS, 20_000)), y=Y)
    with limited_file_size(1_000_000), pytest.raises(StoreError) as caught:
        load_dataset(DataSpec(source=str(tmp_path / "rows.npz")), seed=0, scratch=tmp_path / "scratch")
    folder = tmp_path / "scratch" / "data"
    assert caught.value.message == f"cannot write {folder}: no space is left on its disk (File too large)"
    assert "JOB_SCRATCH" in caught.value.advice


@contextmanager
def limited_file_size(limit):
    """Let the kernel refuse longer files, as it refuses to write to a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
