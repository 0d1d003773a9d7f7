"""Several processes and one run, through the real command: who works, who is told to wait, who goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

# In one process: TensorFlow is imported once per start, and most of these starts are killed.
QUICK = (
    *("--set", "search.max_epochs=3"),
    *("--set", "space.units=[16, 32]"),
    *("--set", "resources.executor=inline"),
)


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture
def started(tmp_path, clean_environment):
    """Start the command, and read its events until one of a name has come so often; ended with the block."""

    @contextmanager
    def start(*arguments, until="run started", times=1, environment=None):
        process = subprocess.Popen(
            [sys.executable, "-m", "job", "run", *arguments],
            cwd=tmp_path,
            env=clean_environment | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            seen = 0
            for line in process.stdout:
                seen += json.loads(line)["event"] == until
                if seen == times:
                    break
            assert seen == times, process.stderr.read()
            yield process
        finally:
            with process:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    return start


def kill(process):
    """As a node that goes: the whole group, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_run_has_one_holder(started, job, tmp_path):
    """Of two processes with one run id one publishes; the other ends at once with 75 and names it, later with 0."""
    with started(*QUICK, "--run-id", "r1") as first:
        second = job("run", *QUICK, "--run-id", "r1")
        assert second.code == 75
        assert f"run r1 is held by {os.uname().nodename} pid {first.pid} since " in second.stderr
        assert "Traceback" not in second.stdout + second.stderr
        assert [event["event"] for event in second.events] == ["job failed"]
        first.communicate()
        assert first.returncode == 0
    folder = tmp_path / "runs/quickstart/runs/r1"
    assert len(list((folder / "logs").glob("job-*-00000.jsonl"))) == 1
    assert not (folder / "failure.json").exists()
    assert read_json(folder / "lease.json")["state"] == "released"
    assert not list((folder / "attempts").iterdir())
    third = job("run", *QUICK, "--run-id", "r1")
    assert (third.code, third.events[-1]["event"]) == (0, "already published")


def test_after_a_kill_the_next_start_takes_over_at_once(started, job, tmp_path):
    """A holder that was killed is seen to be dead at once; its records stay, new ones have the next token."""
    with started(*QUICK, "--run-id", "r1", until="trial completed", times=2) as first:
        kill(first)
    folder = tmp_path / "runs/quickstart/runs/r1"
    assert read_json(folder / "lease.json")["state"] == "held"
    # Those that wait in the scratch folder are this holder's, too.
    records = {path.name: path.read_bytes() for path in (folder / "trials").glob("h*.json")}
    assert records
    done = job("run", *QUICK, "--run-id", "r1")
    assert done.code == 0, done.stdout + done.stderr
    assert done.event("run taken over")["reason"] == "its process is gone"
    assert done.event("run started")["token"] == 2
    lease = read_json(folder / "lease.json")
    assert [death["token"] for death in lease["deaths"]] == [1]
    tokens = {path.name: read_json(path)["token"] for path in (folder / "trials").glob("h*.json")}
    assert {name for name, token in tokens.items() if token == 1} >= set(records)
    assert 2 in tokens.values()
    assert {name: (folder / "trials" / name).read_bytes() for name in records} == records
    assert not list((folder / "attempts").iterdir())


def test_a_trial_that_was_under_way_at_three_deaths_for_memory_counts_as_failed(started, job, tmp_path):
    """The fourth start does not train it again: it has a record that says why, and the run is published without it."""
    with started(*QUICK, "--run-id", "r1", until="trial started", times=2) as first:
        kill(first)
    folder = tmp_path / "runs/quickstart/runs/r1"
    # This start is made the third of three that were killed with the memory full.
    (marker,) = (folder / "attempts").iterdir()
    for token in (2, 3):
        copied = json.dumps(read_json(marker) | {"token": token})
        marker.with_name(f"{marker.name.split('.')[0]}.{token}.json").write_text(copied)
    lease = read_json(folder / "lease.json")
    full = {"memory_bytes": lease["memory_limit"], "memory_limit": lease["memory_limit"], "elapsed_seconds": 1.0}
    lease |= {"token": 3, "memory_bytes": lease["memory_limit"], "deaths": [{"token": n} | full for n in (1, 2)]}
    (folder / "lease.json").write_text(json.dumps(lease))
    done = job("run", *QUICK, "--run-id", "r1")
    assert done.code == 0, done.stdout + done.stderr
    record = read_json(folder / "trials" / f"{marker.name.split('.')[0]}.json")
    assert (record["status"], record["failure"], record["attempts"], record["token"]) == ("failed", "error", 3, 4)
    assert "memory nearly full" in record["error"]
    assert record["trial_id"] not in {event["trial_id"] for event in done.events if event["event"] == "trial started"}
    assert read_json(folder / "manifest.json")["search"]["failed_trials"] == 1
    assert not list((folder / "attempts").iterdir())


def test_in_a_bucket_a_dead_holder_is_watched_and_taken_over(started, job, bucket, s3_environment):
    """Where no lock can tell, a start waits for a heartbeat that does not come, and then goes on."""
    output = f"s3://{bucket}/tuning"
    # Long enough that the holder is still at it while the other looks.
    slow = ("--set", "search.algorithm=random", "--set", "search.max_trials=3", "--set", "space.batch_size=1")
    arguments = (*QUICK, *slow, "--set", "search.max_epochs=12", "--run-id", "r1", "--output", output)
    with started(*arguments, environment=s3_environment, until="trial completed") as first:
        live = job("run", *arguments, environment=s3_environment)
        assert live.code == 75
        kill(first)
    began = time.monotonic()
    done = job("run", *arguments, environment=s3_environment)
    assert done.code == 0, done.stdout + done.stderr
    assert time.monotonic() - began >= 10
    assert done.event("run taken over")["reason"] == "no heartbeat for 10 s"
    assert done.event("run started")["token"] == 2


def test_without_a_run_id_the_newest_unfinished_run_goes_on(started, job, tmp_path):
    """A killed run without an id is found again and published; the start after that makes a new one."""
    with started(*QUICK, until="trial completed", times=2) as first:
        kill(first)
    runs = tmp_path / "runs/quickstart/runs"
    (killed,) = runs.iterdir()
    done = job("run", *QUICK)
    assert done.code == 0, done.stdout + done.stderr
    assert done.event("run published")["run_id"] == killed.name
    assert done.event("run started")["token"] == 2
    assert len(list(runs.iterdir())) == 1
    with started(*QUICK) as another:
        assert len(list(runs.iterdir())) == 2
        # Held by a live process, that one is nobody else's; its data being the same, a third run is made.
        with started(*QUICK):
            assert len(list(runs.iterdir())) == 3
        assert another.poll() is None


def test_an_unfinished_run_of_other_data_is_not_gone_on_with(started, job, tmp_path):
    """The rows have changed since a run without an id was killed: it is given up, and a new one is published."""
    generator = np.random.default_rng(0)

    def write_rows(count):
        y = np.arange(count) % 2
        np.savez(tmp_path / "rows.npz", x=generator.normal(y[:, None], 0.5, (count, 4)).astype("float32"), y=y)

    arguments = (*QUICK, "--set", "data.source=rows.npz")
    write_rows(200)
    with started(*arguments, until="trial completed") as first:
        kill(first)
    runs = tmp_path / "runs/quickstart/runs"
    (killed,) = runs.iterdir()
    write_rows(300)
    done = job("run", *arguments)
    assert done.code == 0, done.stdout + done.stderr
    published = done.event("run published")["run_id"]
    assert published != killed.name
    assert read_json(killed / "failure.json")["exit_code"] == 14
    assert read_json(runs / published / "manifest.json")["data"]["rows"] == 300
