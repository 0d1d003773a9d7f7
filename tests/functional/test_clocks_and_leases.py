"""Clocks that are an hour apart, and a network that holds up the lease alone: one publication, and nothing lost."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from faults.proxy import faulty_network
from faults.run_process import RunProcess
from faults.stored_run import assert_complete, stored_run

from job.cli import main

PREFIX = "tuning/apart/runs/one/"
# Long enough that the lease's trust ends while trials are under way.
SPEC = {
    "name": "apart",
    "data": {"source": "digits"},
    "space": {"units": [16, 32], "batch_size": 1},
    "search": {"algorithm": "random", "max_trials": 2, "max_epochs": 12},
    "limits": {"checkpoint_interval": "1s"},
    "resources": {"executor": "inline"},
}
# Debian's package faketime; `.ci/run` installs it.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def environment(bucket, s3_environment, clean_environment):
    spec = json.dumps(SPEC | {"output": f"s3://{bucket}/tuning"})
    return clean_environment | s3_environment | {"JOB_SPEC": spec, "JOB_RUN_ID": "one"}


class HeldLease:
    """Holds up every request for the lease, from `begin` until `end`; then they reach the server after all."""

    def __init__(self):
        self.is_held = False
        self.ended = threading.Event()
        self.met = threading.Event()

    def before(self, method, path):
        """See FaultyNetwork."""
        del method
        if self.is_held and path.partition("?")[0].endswith("/lease.json"):
            self.met.set()
            self.ended.wait(300)

    def end(self):
        self.is_held = False
        self.ended.set()


def is_event(name):
    return lambda event: event["event"] == name


def assert_published_once(s3_admin, bucket):
    run = stored_run(s3_admin, bucket, PREFIX)
    assert_complete(run)
    assert not [key for key in run.objects if key.startswith(("checkpoints/", "attempts/"))]
    assert main(["verify", f"s3://{bucket}/tuning/apart/runs/one"], {}) == 0
    return run


@pytest.mark.parametrize("is_taken_over", [False, True], ids=["alone", "beside another start"])
def test_a_network_that_holds_up_the_lease_alone(is_taken_over, s3_admin, s3_server, bucket, environment):
    """What cannot be confirmed is not written: the holder waits for its lease, and loses it only to somebody else."""
    held = HeldLease()
    with faulty_network(s3_server.endpoint) as network:
        network.before = held.before
        with RunProcess(environment | {"AWS_ENDPOINT_URL_S3": network.endpoint}) as holder:
            assert holder.wait_for(is_event("trial started")), holder.story()
            held.is_held = True
            assert held.met.wait(60), holder.story()
            assert holder.wait_for(is_event("heartbeat failed")), holder.story()
            if is_taken_over:
                with RunProcess(environment) as successor:
                    assert successor.finish() == 0, successor.story()
                published = assert_published_once(s3_admin, bucket)
            held.end()
            assert holder.finish() == (75 if is_taken_over else 0), holder.story()
    after = assert_published_once(s3_admin, bucket)
    if is_taken_over:
        kept = {key: value for key, value in after.objects.items() if not key.startswith("logs/job-")}
        assert kept == {key: value for key, value in published.objects.items() if not key.startswith("logs/job-")}


def another_clock(by):
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


needs_faketime = pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")


@needs_faketime
def test_clocks_as_far_apart_as_a_server_bears(s3_admin, bucket, environment):
    """A killed holder's clock was fast: its heartbeats are watched, and the run goes on and is whole."""
    with RunProcess(environment | another_clock("+14m")) as holder:
        assert holder.wait_for(is_event("trial completed")), holder.story()
        with RunProcess(environment) as other:
            assert other.finish() == 75, other.story()
        os.killpg(holder.pid, signal.SIGKILL)
    with RunProcess(environment) as successor:
        assert successor.finish() == 0, successor.story()
    run = assert_published_once(s3_admin, bucket)
    trained = [json.loads(record)["token"] for key, record in run.objects.items() if key.startswith("trials/")]
    assert sorted(trained) == [1, 2]


@needs_faketime
def test_a_bucket_refuses_a_clock_an_hour_apart(environment):
    """S3 takes no request that was signed a quarter of an hour ago: the job says so, and what to do."""
    with RunProcess(environment | another_clock("-1h")) as start:
        assert start.finish() == 15, start.story()
        assert "clock differs too much" in start.story()


@needs_faketime
def test_a_run_of_the_future_is_older_than_the_next_one(tmp_path, clean_environment):
    """In a directory nothing refuses an hour: `latest.json` and `prune` go by the file system's clock."""
    quick = SPEC | {"search": {"algorithm": "random", "max_trials": 1, "max_epochs": 1}, "output": str(tmp_path)}
    environment = clean_environment | {"JOB_SPEC": json.dumps(quick | {"space": {"units": [16]}})}
    for run_id, clock in (("future", another_clock("+1h")), ("now", {})):
        with RunProcess(environment | clock | {"JOB_RUN_ID": run_id}) as start:
            assert start.finish() == 0, start.story()
    assert json.loads((tmp_path / "apart/latest.json").read_bytes())["run_id"] == "now"
    assert main(["prune", str(tmp_path / "apart"), "--keep", "1"], {}) == 0
    assert [path.name for path in (tmp_path / "apart/runs").iterdir()] == ["now"]
    assert main(["verify", str(tmp_path / "apart")], {}) == 0
