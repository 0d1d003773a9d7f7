"""A run whose network fails or is cut off, and whose processes are stopped: it ends as promised and loses nothing."""

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from faults.proxy import FaultyNetwork, faulty_network
from faults.random_faults import RandomFaults
from faults.run_process import RunProcess
from faults.stored_run import StoredRun, assert_complete, assert_same_answer, stored_run
from faults.synthetic_job import SyntheticJob

# An epoch takes about a second: long enough to be interrupted in.
ROWS = 8_000
GRACE_SECONDS = 25.0
OUTAGE_SECONDS = 15.0


@dataclass(frozen=True)
class Setup:
    """A job and where its runs go; `environment` leads the job, and not the tests, through the network that fails."""

    environment: dict[str, str]
    network: FaultyNetwork
    s3: Any
    bucket: str
    reference: StoredRun

    def start(self, run_id: str) -> RunProcess:
        """Start or restart a run."""
        return RunProcess(self.environment, "--run-id", run_id)

    def stored(self, run_id: str) -> StoredRun:
        """What a run has left so far."""
        return stored_run(self.s3, self.bucket, SyntheticJob(ROWS).prefix(run_id))

    def assert_as_undisturbed(self, run_id: str) -> None:
        """A run is published, complete, and gives the same answer as one that nothing happened to."""
        run = self.stored(run_id)
        assert_complete(run)
        assert_same_answer(run, self.reference)


@pytest.fixture(scope="module")
def undisturbed(s3_server, s3_admin, clean_environment) -> tuple[dict[str, str], str, StoredRun]:
    """A job's environment and bucket, and what it leaves when nothing goes wrong."""
    job, bucket = SyntheticJob(ROWS), f"test-{secrets.token_hex(6)}"
    s3_admin.create_bucket(Bucket=bucket)
    environment = clean_environment | s3_server.environment | job.environment(s3_admin, bucket)
    with RunProcess(environment, "--run-id", "reference") as start:
        assert start.finish() == 0, start.story()
    return environment, bucket, stored_run(s3_admin, bucket, job.prefix("reference"))


@pytest.fixture
def setup(undisturbed, s3_server, s3_admin) -> Iterator[Setup]:
    """The same job, with its requests going through a network that can fail."""
    environment, bucket, reference = undisturbed
    with faulty_network(s3_server.endpoint) as network:
        yield Setup(environment | {"AWS_ENDPOINT_URL_S3": network.endpoint}, network, s3_admin, bucket, reference)


def is_event(name: str, stage: str | None = None) -> Callable[[dict], bool]:
    return lambda event: event["event"] == name and stage in {None, event.get("stage")}


def finish_later(setup: Setup, run_id: str) -> None:
    """On a machine without a memory, with a network that works, the same command goes on and ends as if undisturbed."""
    kept = setup.stored(run_id).records
    setup.network.outage = False
    with setup.start(run_id) as start:
        assert start.finish() == 0, start.story()
        trained = {event["trial_id"] for event in start.events if event["event"] == "trial started"}
    assert not trained & kept.keys()
    setup.assert_as_undisturbed(run_id)


def test_with_one_request_in_five_failing_the_answer_is_the_same(setup):
    """Latency, resets, 500, 503, cut bodies and lost answers at random: the run succeeds, to the last bit."""
    setup.network.random = RandomFaults(secrets.randbelow(2**31), 0.2)
    with setup.start("failing") as start:
        assert start.finish() == 0, f"{setup.network.random}\n{start.story()}"
    setup.assert_as_undisturbed("failing")
    # A run makes some thirty requests.
    assert setup.network.counts.total() > setup.network.counts["passed"], setup.network.random


def test_an_outage_in_mid_search_loses_no_trial(setup):
    """While the store is away trials go on; each is trained once, and the answer is the same."""
    with setup.start("outage") as start:
        assert start.wait_for(is_event("trial completed")), start.story()
        setup.network.outage = True
        time.sleep(OUTAGE_SECONDS)
        setup.network.outage = False
        assert start.finish() == 0, start.story()
        started = [event["trial_id"] for event in start.events if event["event"] == "trial started"]
    assert len(started) == len(set(started)) == 7
    assert setup.network.counts["outage"] >= 1
    setup.assert_as_undisturbed("outage")


def test_an_outage_without_end_is_a_transient_failure(setup):
    """The job gives up with exit code 20 and without a traceback; a later start finishes what it began."""
    setup.environment["JOB_STORAGE__OUTAGE_PATIENCE"] = "5s"
    setup.environment["AWS_MAX_ATTEMPTS"] = "3"
    with setup.start("cut-off") as start:
        assert start.wait_for(is_event("trial completed")), start.story()
        setup.network.outage = True
        assert start.finish() == 20, start.story()
        assert "Traceback" not in start.story()
        assert start.survivors() == []
    assert "manifest.json" not in setup.stored("cut-off").objects
    finish_later(setup, "cut-off")


@pytest.mark.parametrize(
    "moment",
    [is_event("run started"), is_event("epoch finished", "search"), is_event("epoch finished", "retrain")],
    ids=["start-up", "search", "retrain"],
)
def test_sigterm_ends_with_143_and_loses_nothing(setup, moment):
    """Whatever the stage, the job ends within the grace period, without a worker left, and goes on later."""
    run_id = f"stopped-{secrets.token_hex(3)}"
    with setup.start(run_id) as start:
        assert start.wait_for(moment), start.story()
        start.signal(signal.SIGTERM)
        assert start.finish(timeout=GRACE_SECONDS) == 143, start.story()
        assert start.survivors() == []
    finish_later(setup, run_id)


def test_a_killed_driver_leaves_no_worker(setup):
    """Workers that train end by themselves within seconds of the driver's SIGKILL."""
    with setup.start("orphaned") as start:
        assert start.wait_for(is_event("epoch finished", "search")), start.story()
        assert len(start.processes()) > 1
        start.signal(signal.SIGKILL)
        assert start.survivors(within=5.0) == []
