"""The scripts of tune.yml, taken out of it and run: with the real job on the runner, and with a cluster's answers."""

import json

import pytest
from recipes.runner import Runner, open_runner, started_step

SPEC = """\
name: digits
space: {units: [16, 32]}
search: {max_epochs: 3}
"""


@pytest.fixture
def runner(tmp_path) -> Runner:
    """A fresh one."""
    return open_runner(tmp_path)


def started(runner: Runner) -> list[list[str]]:
    lines = (runner.folder / "docker-calls.jsonl").read_text().splitlines()
    return [call for call in map(json.loads, lines) if call[0] == "run"]


def test_a_spec_of_the_repository_is_handed_over_as_it_is(runner):
    """A file's content, an S3 URL itself; a file that is not there ends with the exit code of a wrong spec."""
    (runner.folder / "spec.yaml").write_text(SPEC)

    assert runner.step("Find the spec").returncode == 0
    assert (runner.folder / "temp/job-spec").read_text() == SPEC
    assert runner.step("Find the spec", SPEC="s3://specs/digits.yaml").returncode == 0
    assert (runner.folder / "temp/job-spec").read_text() == "s3://specs/digits.yaml"
    missing = runner.step("Find the spec", SPEC="specs/none.yaml")
    assert (missing.returncode, "specs/none.yaml is not a file" in missing.stderr) == (10, True)


def test_a_run_is_published_and_told_and_then_skipped(runner, bucket, s3_environment):
    """The real job on the runner: outputs, and the run's report; started again, it says that it was skipped."""
    runner.environment |= {name: value for name, value in s3_environment.items() if name.startswith("AWS_")}
    runner.environment |= {"OVERRIDES": f"output=s3://{bucket}/tuning\n seed=3", "AWS_SESSION_TOKEN": ""}
    (runner.folder / "spec.yaml").write_text(SPEC)
    for skipped in ("false", "true"):
        assert runner.step("Find the spec").returncode == 0
        done = runner.step("Run the job on this runner")
        assert done.returncode == 0, done.stdout + done.stderr
        told = runner.tell()
        assert told.returncode == 0, told.stdout + told.stderr
        assert runner.outputs["run_uri"].rstrip("/") == f"s3://{bucket}/tuning/digits/runs/gh-1"
        assert 0 < float(runner.outputs["best_score"]) <= 1
        assert (runner.outputs["skipped"], runner.outputs["run_id"]) == (skipped, "gh-1")
        assert "## Best hyperparameters" in runner.summary
    hardened = " ".join(started(runner)[0])
    assert "--read-only --cap-drop ALL --security-opt no-new-privileges --user 10001:10001" in hardened
    assert s3_environment["AWS_SECRET_ACCESS_KEY"] not in hardened


@pytest.mark.parametrize(
    ("codes", "told", "starts"),
    [
        ("0", 0, 1),
        ("20 75 137 0", 0, 4),
        ("75 75 75 75 75", 75, 5),
        ("10", 10, 1),
        ("20 15", 15, 2),
        ("143", 143, 1),
        ("1", 1, 1),
    ],
)
def test_exit_codes_are_carried_through(runner, codes, told, starts):
    """What trying again may help is tried again, a few times; what it cannot help, and what was stopped, is not."""
    runner.leave(spec="{}")
    (runner.folder / "temp/job-spec").write_text(SPEC)

    done = runner.step("Run the job on this runner", STAND_IN_CODES=codes)

    assert done.returncode == 0, done.stderr
    assert len(started(runner)) == starts
    slept = runner.folder / "slept"
    assert (slept.read_text().split() if slept.exists() else []) == ["30", "60", "120", "240"][: starts - 1]
    assert runner.tell().returncode == told


def test_no_spec_is_no_run(runner):
    """Without a spec the job would publish into its container."""
    (runner.folder / "temp/job-spec").write_text("")

    done = runner.step("Run the job on this runner", SPEC="")

    assert (done.returncode, "no spec" in done.stderr) == (10, True)
    assert not (runner.folder / "docker-calls.jsonl").exists()


MESSAGE = {
    "exit_code": 0,
    "status": "published",
    "reason": None,
    "advice": None,
    "run_id": "gh-1",
    "run_uri": "s3://models/tuning/digits/runs/gh-1",
    "objective": "val_accuracy",
    "best_score": 0.97,
    "test": {"accuracy": 0.96},
    "skipped": False,
    "seconds": 12.5,
}


def test_the_termination_message_becomes_outputs(runner):
    """A false is told as `false`, not as nothing; and a report that cannot be read is no failure."""
    runner.leave(message=MESSAGE, code="0")

    told = runner.tell(AWS_ENDPOINT_URL_S3="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")

    assert told.returncode == 0, told.stderr
    assert runner.outputs == {
        "run_uri": "s3://models/tuning/digits/runs/gh-1",
        "best_score": "0.97",
        "skipped": "false",
        "run_id": "gh-1",
    }
    assert '| test | `{"accuracy":0.96}` |' in runner.summary
    assert "cannot be read from here" in told.stdout


def test_a_message_cannot_write_outputs_of_its_own(runner):
    """A line break in a value stays a part of that value."""
    runner.leave(message=MESSAGE | {"run_id": "x\nskipped=true", "reason": "a\n::set-env name=x::y"}, code="12")

    told = runner.tell()

    assert runner.outputs["run_id"] == "x skipped=true"
    assert runner.outputs["skipped"] == "false"
    assert not [line for line in told.stdout.splitlines() if line.startswith("::set-env")]


@pytest.mark.parametrize("message", ["", "Killed\n", "[1]", None], ids=["empty", "a log's last line", "a list", "none"])
def test_a_job_that_could_not_say_a_last_word(runner, message):
    """Killed for its memory, or with the log in its place: the exit code is what is known."""
    runner.leave(code="137\n", **({} if message is None else {"message": message}))

    told = runner.tell()

    assert told.returncode == 137
    assert runner.outputs == {"run_uri": "", "best_score": "", "skipped": "", "run_id": "gh-1"}
    assert "Trying again may help" in runner.summary


def test_a_workflow_that_never_came_to_the_job_fails(runner):
    """Without an exit code there is no success."""
    assert runner.tell().returncode == 1


@pytest.mark.parametrize(("code", "words"), [("143", "the run goes on"), ("12", "Mend the data"), ("75", "may help")])
def test_advice_suits_the_exit_code(runner, code, words):
    """A job that was stopped goes on; a failure's own advice is passed on."""
    runner.leave(message=MESSAGE | {"status": "failed", "reason": "why", "advice": "Mend the data."}, code=code)

    assert runner.tell().returncode == int(code)
    assert words in runner.summary


MOUNTED_SPEC = {"name": "JOB_SPEC", "value": "/etc/tuning-job/spec.yaml"}
TEMPLATE = {
    "metadata": {"name": "gh-1"},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {"name": "sidecar", "image": "other:1"},
                    {
                        "name": "tuning-job",
                        "image": "tuning-job:0.1.0",
                        "env": [
                            {"name": "JOB_SPEC", "value": "/etc/tuning-job/spec.yaml"},
                            {"name": "X", "value": "y"},
                        ],
                    },
                ]
            }
        }
    },
}


def pod(code: int, finished: str, message: str) -> dict:
    terminated = {"exitCode": code, "finishedAt": finished, "message": message}
    return {"status": {"containerStatuses": [{"name": "tuning-job", "state": {"terminated": terminated}}]}}


def conditions(*types: str) -> dict:
    return {"status": {"conditions": [{"type": kind, "status": "True"} for kind in types]}}


def test_a_job_in_kubernetes_takes_the_inputs_and_tells_its_last_pods_word(runner):
    """Spec, image and overrides go into the CronJob's Job; of several pods the last one's message counts."""
    runner.leave(
        template=TEMPLATE,
        finished=conditions("SuccessCriteriaMet", "Complete"),
        pods={
            "items": [
                pod(0, "2026-11-23T02:00:00Z", json.dumps(MESSAGE)),
                pod(143, "2026-11-23T01:00:00Z", '{"status": "interrupted"}'),
                {"status": {"phase": "Pending"}},
            ]
        },
    )
    (runner.folder / "temp/job-spec").write_text(SPEC)

    done = runner.step("Run the job in Kubernetes", IMAGE="other:2", OVERRIDES="search.max_epochs=27  seed=1")

    assert done.returncode == 0, done.stderr
    sidecar, container = json.loads((runner.folder / "created.json").read_text())["spec"]["template"]["spec"][
        "containers"
    ]
    assert sidecar == TEMPLATE["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "other:2"
    assert container["env"] == [{"name": "X", "value": "y"}, {"name": "JOB_SPEC", "value": SPEC}]
    assert container["args"] == ["run", "--set", "search.max_epochs=27", "--set", "seed=1"]
    assert runner.tell().returncode == 0
    assert runner.outputs["best_score"] == "0.97"


def test_without_inputs_the_cron_jobs_own_job_runs(runner):
    """Nothing is changed; and a Job that failed without a pod left is a failure."""
    runner.leave(template=TEMPLATE, finished=conditions("FailureTarget", "Failed"), pods={"items": []})
    (runner.folder / "temp/job-spec").write_text("")

    done = runner.step("Run the job in Kubernetes", SPEC="")

    assert done.returncode == 0, done.stderr
    assert json.loads((runner.folder / "created.json").read_text()) == TEMPLATE
    assert runner.tell().returncode == 1


def test_a_job_that_is_there_already_goes_on(runner):
    """`Re-run failed jobs` takes up the Job that it has suspended when it was cancelled."""
    runner.leave(job=conditions("Complete"), pods={"items": [pod(0, "2026-11-23T02:00:00Z", json.dumps(MESSAGE))]})
    (runner.folder / "temp/job-spec").write_text("")

    assert runner.step("Suspend the job in Kubernetes").returncode == 0
    done = runner.step("Run the job in Kubernetes")

    assert done.returncode == 0, done.stderr
    assert not (runner.folder / "created.json").exists()
    calls = [line for line in (runner.folder / "kubectl-calls").read_text().splitlines() if line.startswith("patch")]
    assert ['"suspend": true' in calls[0], '"suspend": false' in calls[1]] == [True, True]


def test_what_is_cancelled_is_stopped_in_peace(runner, bucket, s3_environment):
    """The container gets SIGTERM and says that it was interrupted; the workflow ends with its exit code."""
    runner.environment |= {name: value for name, value in s3_environment.items() if name.startswith("AWS_")}
    (runner.folder / "temp/job-spec").write_text(f"output: s3://{bucket}/tuning\n{SPEC}")
    with started_step(runner, "Run the job on this runner") as step:
        output = runner.folder / "container-output"
        while not output.exists() or "trial started" not in output.read_text():
            assert step.poll() is None, output.read_text()
        # What is left of a step that is cancelled: its container.
        step.kill()
        stopped = runner.step("Stop the job on this runner")

    assert stopped.returncode == 0, stopped.stderr
    assert runner.tell().returncode == 143
    assert runner.outputs["run_uri"].rstrip("/") == f"s3://{bucket}/tuning/digits/runs/gh-1"
    assert "interrupted (exit code 143)" in runner.summary
    assert "the run goes on" in runner.summary
