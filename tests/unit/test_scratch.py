"""The run's folder on this machine: who holds it, what stays in it, and what goes."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from job.disk import require_space, size_in_words
from job.errors import AccessError, LockedError, StoreError
from job.scratch import STALE_SECONDS, claim_scratch, scratch_root

URL = "s3://bucket/tuning/nightly/runs/one/"


def held_by_another_process(root):
    """A process that holds the run's scratch folder until it is killed."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from job.scratch import claim_scratch\n"
        "with claim_scratch(Path(sys.argv[1]), sys.argv[2]) as scratch:\n"
        "    (scratch.folder / 'checkpoints').mkdir()\n"
        "    (scratch.folder / 'tmp' / 'left').touch()\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, root, URL], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_what_a_later_start_wants_is_kept(tmp_path):
    """The same run finds its folder again with all but what each start makes anew; another run has another."""
    with claim_scratch(tmp_path, URL) as first:
        for name in ("checkpoints", "outbox", "data"):
            (first.folder / name).mkdir()
    assert not (first.folder / "data").exists()
    with claim_scratch(tmp_path, URL) as again, claim_scratch(tmp_path, URL + "x") as other:
        assert again.folder == first.folder != other.folder
        assert {path.name for path in again.folder.iterdir()} == {"checkpoints", "outbox", "tmp", "lock"}
        assert again.checkpoints.is_dir()
        assert again.outbox.is_dir()


def test_what_nobody_wants_any_more_is_removed(tmp_path):
    """A run that asks for it leaves nothing behind."""
    with claim_scratch(tmp_path, URL) as scratch:
        scratch.remove_at_end()
    assert list(tmp_path.iterdir()) == []


def test_no_two_processes_share_a_folder_and_a_killed_one_lets_go(tmp_path):
    """While another process holds the run's folder it is refused; once that is killed it is taken over, tidied."""
    process = held_by_another_process(tmp_path)
    with pytest.raises(LockedError, match="another process of this machine"), claim_scratch(tmp_path, URL, patience=0):
        pytest.fail("entered")
    process.send_signal(signal.SIGKILL)
    with claim_scratch(tmp_path, URL) as scratch:
        assert scratch.checkpoints.is_dir()
        assert list((scratch.folder / "tmp").iterdir()) == []
    process.wait()
    process.stdout.close()


def test_folders_that_nobody_came_back_to_are_removed(tmp_path):
    """An old folder goes, one of yesterday stays, and so does an old one that is in use, and what is not ours."""
    paths = {}
    for name, age in (("old", STALE_SECONDS + 60), ("young", STALE_SECONDS - 3600), ("mine", 0)):
        with claim_scratch(tmp_path, name) as scratch:
            paths[name] = scratch.folder
        moment = time.time() - age
        os.utime(paths[name] / "lock", (moment, moment))
    process = held_by_another_process(tmp_path)
    (used,) = [path for path in tmp_path.iterdir() if path not in paths.values()]
    os.utime(used / "lock", (0, 0))
    (tmp_path / "somebody else's").mkdir()
    with claim_scratch(tmp_path, "mine"):
        assert {path for path in tmp_path.iterdir() if path != tmp_path / "somebody else's"} == {
            paths["young"],
            paths["mine"],
            used,
        }
    process.kill()
    process.wait()
    process.stdout.close()


def test_temporary_files_are_in_it(tmp_path):
    """This process and its children make temporary files in the folder; afterwards they are as before."""
    before = tempfile.gettempdir(), os.environ.get("TMPDIR")
    with claim_scratch(tmp_path, URL) as scratch:
        assert tempfile.gettempdir() == str(scratch.folder / "tmp")
        child = subprocess.run(
            [sys.executable, "-c", "import tempfile; print(tempfile.mkstemp()[1])"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(child.stdout.strip()).parent == scratch.folder / "tmp"
    assert (tempfile.gettempdir(), os.environ.get("TMPDIR")) == before
    assert not (scratch.folder / "tmp").exists()


def test_a_gap_in_the_tokens_means_that_another_machine_was_here(tmp_path):
    """What is here follows from the last start where nobody has held the lease in between."""
    with claim_scratch(tmp_path, URL) as scratch:
        assert [scratch.follows(token) for token in (1, 2, 2, 4, 5)] == [False, True, True, False, True]


def test_the_root_is_where_the_user_wants_it(monkeypatch, tmp_path):
    """`JOB_SCRATCH` is taken at its word, with `~`; without it the system's temporary folder has one for all runs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert scratch_root("~/scratch") == tmp_path / "scratch"
    assert scratch_root(None) == Path(tempfile.gettempdir()) / "tuning-job"


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    """A root that is a file is named, with what to do."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(AccessError, match=r"scratch folder .*file.* cannot be used") as raised,
        claim_scratch(tmp_path / "file", URL),
    ):
        pytest.fail("entered")
    assert "JOB_SCRATCH" in raised.value.advice


def test_too_little_room_is_refused_with_the_figures(tmp_path):
    """The message has the folder, what is free, what is needed and what can be done."""
    require_space(tmp_path, 1)
    with pytest.raises(StoreError) as raised:
        require_space(tmp_path, 2**60)
    assert str(tmp_path) in raised.value.message
    assert "free disk space" in raised.value.message
    assert "needs about 1.05e+06 TiB" in raised.value.message
    assert "JOB_SCRATCH" in raised.value.advice
    assert [size_in_words(size) for size in (17, 1536, 3 * 2**30)] == ["17 bytes", "1.5 KiB", "3 GiB"]
