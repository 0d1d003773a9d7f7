"""Streams that are closed or full, and scratch folders that cannot be: in words, or without harm."""

import os
import shutil
import subprocess
import sys

import pytest

SHORT = ("--set", "search.algorithm=random", "--set", "search.max_trials=1", "--set", "search.max_epochs=1")


def shell(folder, environment, command):
    """Run the command line with its redirections, as a shell does."""
    return subprocess.run(
        ["/bin/bash", "-c", f"{sys.executable} -m job {command}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_change_nothing(tmp_path, clean_environment, streams):
    """A command ends as it would have, and says nothing of its own troubles."""
    done = shell(tmp_path, clean_environment, f"plan {streams}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_run_without_streams_is_published(tmp_path, clean_environment):
    """Its workers and their files do not get the streams' numbers."""
    done = shell(tmp_path, clean_environment, f"run {' '.join(SHORT)} >&- 2>&- <&-")
    assert done.returncode == 0
    assert len(list(tmp_path.glob("runs/quickstart/runs/*/manifest.json"))) == 1


def test_a_full_standard_output_is_said(tmp_path, clean_environment):
    """What a command is for cannot be done then; a run goes on without its lines."""
    done = shell(tmp_path, clean_environment, "plan >/dev/full")
    assert done.returncode == 20
    assert "standard output cannot be written: No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("scratch", ["x" * 300, "file/below"], ids=["too long", "below a file"])
def test_a_scratch_folder_that_cannot_be_is_named(tmp_path, clean_environment, scratch):
    """Exit code 15, the folder and the variable, before anything is written."""
    (tmp_path / "file").touch()
    done = shell(tmp_path, clean_environment | {"JOB_SCRATCH": str(tmp_path / scratch)}, "run")
    assert done.returncode == 15, done.stderr
    assert "cannot be used" in done.stderr
    assert "JOB_SCRATCH" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_scratch_without_inodes_is_a_full_disk(tmp_path, clean_environment):
    """Room for bytes, and none for names: exit code 20, and the folder."""
    small = tmp_path / "small"
    small.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "nr_inodes=12,size=200m", "tmpfs", str(small)]
    if shutil.which("mount") is None or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        done = shell(tmp_path, clean_environment | {"JOB_SCRATCH": str(small)}, f"run {' '.join(SHORT)}")
    finally:
        subprocess.run([shutil.which("umount") or "umount", str(small)], check=True)
    assert done.returncode == 20, done.stderr
    assert "no space is left on its disk" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
