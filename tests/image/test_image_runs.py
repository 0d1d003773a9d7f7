"""Real runs in hardened containers against a real S3 server: published, stopped and gone on with, short of memory."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from image.containers import SPEC, Container, ProcessWatch

LIMIT = 2 * 2**30
LIMIT_SCRIPT = """
from job.resources import memory_limit
print(memory_limit())
"""


@pytest.fixture(scope="session")
def published(start) -> tuple[Container, ProcessWatch]:
    """An uninterrupted run, and what its processes were."""
    with start("uninterrupted") as container:
        container.wait_for("run started")
        with ProcessWatch(container.host_pid()) as watch:
            container.finish()
    return container, watch


def manifest_that_holds(stored: dict[str, bytes]) -> dict:
    """The manifest, once everything that it names is found to be there with the size and hash that it states."""
    manifest = json.loads(stored["manifest.json"])
    for relative, stated in manifest["artifacts"].items():
        content = stored[relative]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (stated["size"], stated["sha256"]), relative
    return manifest


def answer(stored: dict[str, bytes]) -> dict:
    """What a run found, without times and places."""
    manifest = manifest_that_holds(stored)
    trials = [json.loads(line) for line in stored["trials.jsonl"].splitlines()]
    return {
        "best": manifest["best_hyperparameters"],
        "scores": manifest["scores"],
        "trials": [
            {name: trial[name] for name in ("trial_id", "hyperparameters", "score", "best_epoch", "executions")}
            for trial in trials
        ],
    }


def test_a_hardened_container_publishes(published, stored_run, figures):
    """Read-only, without capabilities, as user 10001: complete in the bucket, with its message, and no noise."""
    container, _ = published
    assert container.code == 0, container.stderr
    # TensorFlow, CUDA and oneDNN write there, too, and none of it is ours.
    assert container.stderr == ""
    assert container.events[-1]["event"] == "run published"
    manifest = manifest_that_holds(stored_run("uninterrupted"))
    message = container.message
    assert (message["exit_code"], message["status"], message["run_id"]) == (0, "published", "uninterrupted")
    assert message["test"] == manifest["scores"]["test"]
    assert message["manifest"].endswith("/uninterrupted/manifest.json")
    assert container.termination_log.stat().st_size <= 4096
    figures["from `podman run` to the first line of the job"] = f"{container.seconds_until('run started'):.1f} s"
    figures["from `podman run` to the first trial"] = f"{container.seconds_until('trial started'):.1f} s"
    figures["from `podman run` to the published run (30 trials, 120 epochs)"] = (
        f"{container.seconds_until('run published'):.1f} s"
    )


def test_the_manifest_names_the_commit(published, stored_run, podman, image):
    """Whoever finds a model finds the code that made it."""
    assert published[0].code == 0
    labels = json.loads(podman.output("image", "inspect", image))[0]["Config"]["Labels"]
    manifest = json.loads(stored_run("uninterrupted")["manifest.json"])
    assert manifest["lineage"]["git_commit"] == labels["org.opencontainers.image.revision"]


def test_process_one_is_the_job_and_collects_no_zombies(published):
    """No shell stands between, and of the workers that end none stays as a zombie for long."""
    container, watch = published
    assert container.code == 0
    assert not [command for command in watch.commands if command and command[0].rsplit("/", 1)[-1] in {"sh", "bash"}]
    # One per worker, the fork server and the resource tracker, at the moment in which all of them end.
    assert len(watch.zombies) <= 4


def test_what_was_left_out_changes_nothing(published, stored_run, shared_bucket, tmp_path):
    """With the packages as they come, outside of the image, the same run has the same answer to the last bit."""
    assert published[0].code == 0
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    done = subprocess.run(
        [sys.executable, "-m", "job", "run", "--spec", spec, "--output", f"s3://{shared_bucket.name}/tuning"],
        env=os.environ
        | shared_bucket.environment
        | {"JOB_RUN_ID": "outside", "JOB_SCRATCH": str(tmp_path / "scratch")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert answer(stored_run("outside")) == answer(stored_run("uninterrupted"))


def test_a_second_start_does_nothing(start, published):
    """The retry of a pod whose run is published says so, quickly."""
    assert published[0].code == 0
    with start("uninterrupted") as container:
        assert container.finish() == 0
    assert (container.message["status"], container.message["skipped"]) == ("unchanged", True)
    assert not [event for event in container.events if event["event"] == "trial started"]


def test_a_stopped_container_is_gone_on_with_by_another_one(start, published, stored_run, podman, figures):
    """SIGTERM in mid-search: 143. Another container with an empty scratch volume: the same answer, nothing repeated."""
    assert published[0].code == 0
    with start("stopped") as container:
        container.wait_for("trial completed", times=5)
        podman.run("stop", "--time", "60", container.name)
        assert container.finish() == 143
    assert (container.message["exit_code"], container.message["status"]) == (143, "interrupted")
    assert container.stderr.startswith("tuning-job: stopped by SIGTERM")
    finished = {key: content for key, content in stored_run("stopped").items() if key.startswith("trials/")}
    assert 5 <= len(finished) < 30
    assert "manifest.json" not in stored_run("stopped")
    with start("stopped") as container:
        assert container.finish() == 0, container.stderr
    assert container.message["status"] == "published"
    stored = stored_run("stopped")
    assert {key: stored[key] for key in finished} == finished
    assert answer(stored) == answer(stored_run("uninterrupted"))
    figures["trials stored when the search was stopped, of 30"] = str(len(finished))


def test_a_wrong_spec_is_told_in_the_message(start):
    """What Kubernetes shows of a pod that cannot succeed."""
    with start("wrong", "--set", "search.max_epochs=none") as container:
        assert container.finish() == 10
    assert (container.message["exit_code"], container.message["status"]) == (10, "failed")
    assert container.message["reason"].startswith("search.max_epochs: ")


def test_a_memory_limit_is_honoured(start, published, stored_run, podman, image, figures):
    """With 2 GiB there is one worker, however many cores; nothing is killed, and the answer is the same."""
    assert published[0].code == 0
    limit = ("--memory", str(LIMIT), "--memory-swap", str(LIMIT))
    seen = podman.run("run", "--rm", *limit, "--entrypoint", "python", image, "-c", LIMIT_SCRIPT, check=False)
    if seen.returncode != 0 or int(seen.stdout) != LIMIT:
        pytest.skip(f"this machine's control groups do not limit memory: {seen.stderr.strip() or seen.stdout.strip()}")
    with start("limited", options=limit) as container:
        container.wait_for("workers started")
        assert container.finish() == 0, container.stderr
        killed = podman.output("inspect", "--format", "{{.State.OOMKilled}}", container.name)
    assert killed == "false"
    (workers,) = [event for event in container.events if event["event"] == "workers started"]
    assert workers["workers"] == 1
    assert not [event for event in container.events if event["event"] == "trial failed"]
    assert answer(stored_run("limited")) == answer(stored_run("uninterrupted"))
    figures["with 2 GiB of memory, to the published run"] = f"{container.seconds_until('run published'):.1f} s"
