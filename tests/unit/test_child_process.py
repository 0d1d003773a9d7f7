"""Processes of one module: they end when their parent does, however that dies."""

import os
import signal
import subprocess
import sys
import time

import psutil

from job.child_process import last_words, reading_patience, run_module

SLEEPER = """
import os, pathlib, sys, time
from job.child_process import end_with_parent
end_with_parent()
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(600)
"""
PARENT = """
import pathlib, sys
from job.child_process import run_module
run_module("sleeper", pathlib.Path(sys.argv[1]), output=pathlib.Path(sys.argv[2]))
"""
PATIENCE_SECONDS = 60


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_ends_with_its_parent(tmp_path):
    """SIGKILL of the parent, which can tell nobody, ends the child too."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    place = tmp_path / "pid"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", PARENT, place, tmp_path / "output.txt"]
    with subprocess.Popen(command, env=environment) as parent:
        wait_for(lambda: place.exists() and place.read_text())
        child = psutil.Process(int(place.read_text()))
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_an_end_in_words(tmp_path, monkeypatch):
    """The exit code, or that time is up; and the last thing that was printed."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "failing.py").write_text("print('one')\nraise SystemExit('it is broken')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    output = tmp_path / "output.txt"
    assert run_module("failing", tmp_path, output=output) == 1
    assert last_words(output) == "it is broken"
    assert run_module("sleeper", tmp_path / "pid", output=output, timeout=0.1) == "no answer in time"
    assert last_words(output) == "it said nothing"


def test_who_reads_files_is_given_time_for_their_bytes(tmp_path):
    """Ten minutes, and a second for each MiB."""
    (tmp_path / "file").write_bytes(bytes(3 * 2**20))
    assert reading_patience([]) == 600.0
    assert reading_patience([tmp_path / "file"] * 2 + [tmp_path / "gone"]) == 606.0
