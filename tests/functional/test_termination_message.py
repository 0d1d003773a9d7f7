"""The termination message of the real command, for each way in which a run ends."""

import json
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.run_process import RunProcess

QUICK = (
    *("--set", "search.max_epochs=3"),
    *("--set", "space.units=[16, 32]"),
    *("--set", "resources.executor=inline"),
)


@dataclass(frozen=True)
class Message:
    """The file that the job is given for its message."""

    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"JOB_TERMINATION_LOG": str(self.file)}

    def read(self) -> dict:
        """What was left, which is then taken away."""
        found = json.loads(self.file.read_text())
        self.file.unlink()
        return found


@pytest.fixture
def message(tmp_path) -> Message:
    return Message(tmp_path / "termination-log")


@contextmanager
def under_way(output, message, clean_environment):
    """A run that trains."""
    environment = clean_environment | message.environment | {"JOB_OUTPUT": str(output), "JOB_RUN_ID": "one"}
    # Long enough to be met while it trains, whatever the machine.
    with RunProcess(environment, *QUICK, "--set", "search.max_epochs=81") as run:
        assert run.wait_for(lambda event: event["event"] == "epoch finished"), run.story()
        yield run


def test_a_published_run_and_one_that_is_published_already(job, message, tmp_path):
    """Both messages lead to the manifest and repeat its scores; the second says that nothing was trained."""
    arguments = (*QUICK, "--run-id", "one", "--output", str(tmp_path / "out"))
    assert job(*("run", *arguments), environment=message.environment).code == 0
    first = message.read()
    run = tmp_path / "out" / "quickstart" / "runs" / "one"
    manifest = json.loads((run / "manifest.json").read_text())
    assert first | {"seconds": None} == {
        "exit_code": 0,
        "status": "published",
        "reason": None,
        "advice": None,
        "run_id": "one",
        "run_uri": str(run),
        "manifest": str(run / "manifest.json"),
        "objective": manifest["search"]["objective"],
        "best_score": manifest["scores"]["validation"][manifest["search"]["objective"]],
        "test": manifest["scores"]["test"],
        "skipped": False,
        "seconds": None,
    }
    assert first["seconds"] >= manifest["seconds"]["total"]
    assert job(*("run", *arguments), environment=message.environment).code == 0
    second = message.read()
    assert second | {"seconds": None} == first | {"status": "unchanged", "skipped": True, "seconds": None}
    # The same id from another spec: it is known which run is meant, and not what is in it.
    assert job(*("run", *arguments, "--set", "seed=7"), environment=message.environment).code == 14
    third = message.read()
    assert (third["exit_code"], third["status"], third["run_id"]) == (14, "failed", "one")
    assert third["manifest"] is None
    assert third["advice"]


def test_a_held_run_and_one_that_is_stopped(job, message, tmp_path, clean_environment):
    """Who comes second is told that the run is locked; who is stopped says that it was interrupted."""
    with under_way(tmp_path / "out", message, clean_environment) as run:
        arguments = (*QUICK, "--set", "search.max_epochs=81", "--run-id", "one", "--output", str(tmp_path / "out"))
        assert job(*("run", *arguments), environment=message.environment).code == 75
        locked = message.read()
        assert (locked["exit_code"], locked["status"], locked["run_id"]) == (75, "locked", "one")
        run.signal(signal.SIGTERM)
        assert run.finish() == 143
    stopped = message.read()
    assert (stopped["exit_code"], stopped["status"], stopped["run_id"]) == (143, "interrupted", "one")
    assert stopped["run_uri"].endswith("/quickstart/runs/one")
    assert stopped["reason"] == "stopped by SIGTERM"
    assert "goes on" in stopped["advice"]


def test_broken_data_is_told(job, message, tmp_path):
    """The reason names the file."""
    (tmp_path / "broken.npz").write_bytes(b"not an archive")
    done = job("run", *QUICK, "--set", "data.source=broken.npz", environment=message.environment)
    assert done.code == 12
    told = message.read()
    assert (told["exit_code"], told["status"]) == (12, "failed")
    assert "broken.npz" in told["reason"]
    assert told["run_id"]


def test_a_store_that_does_not_answer_is_told(job, message, s3_environment):
    """A transient failure is one, too; no secret is in the message."""
    environment = s3_environment | message.environment
    environment |= {"AWS_ENDPOINT_URL_S3": "http://user:s3cr3t@127.0.0.1:9", "JOB_RUN_ID": "one"}
    done = job("run", *QUICK, "--output", "s3://models/tuning", environment=environment)
    assert done.code == 20, done.stderr
    told = message.read()
    assert (told["exit_code"], told["status"], told["run_id"]) == (20, "failed", "one")
    assert told["run_uri"] == "s3://models/tuning/quickstart/runs/one"
    assert "s3cr3t" not in json.dumps(told)


def test_nobody_asks_and_nothing_is_written(job, message, tmp_path):
    """Without the variable and without Kubernetes there is no message."""
    before = set(tmp_path.rglob("*"))
    assert job("run", "--set", "seed=none").code == 10
    assert set(tmp_path.rglob("*")) == before
    assert not message.file.exists()
