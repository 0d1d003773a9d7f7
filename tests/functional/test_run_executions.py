"""Seeds, folds, a weighted sum and sensitivity through the real command, killed on its way."""

import json
import time

import pytest
from faults.run_process import RunProcess

SPEC = {
    "space": {"units": [8, 16]},
    "data": {"folds": 2},
    "search": {
        "max_epochs": 3,
        "factor": 3,
        "executions_per_trial": 2,
        "sensitivity": True,
        "objective": [
            {"name": "val_loss", "direction": "min", "weight": 0.5},
            {"name": "val_accuracy", "direction": "max"},
        ],
    },
    "limits": {"max_concurrent_trials": 2, "checkpoint_interval": "100ms"},
}
# The executor is part of the spec, and the spec of the provenance.
CIRCUMSTANCES = ("seconds", "worker", "attempts", "token", "checksum", "provenance")


def environment_of(clean_environment, output, **spec):
    return clean_environment | {"JOB_SPEC": json.dumps(SPEC | {"output": str(output)} | spec), "JOB_RUN_ID": "r1"}


def finish(environment):
    with RunProcess(environment) as process:
        assert process.finish() == 0, process.story()
        return process.events


def folder_of(output):
    return output / "quickstart" / "runs" / "r1"


def answers_of(output):
    """Every record by its key, without what a clock or a machine says."""
    found = {}
    for path in (*folder_of(output).glob("trials/*.json"), *folder_of(output).glob("sensitivity/*.json")):
        document = json.loads(path.read_text())
        found[f"{path.parent.name}/{path.name}"] = {k: v for k, v in document.items() if k not in CIRCUMSTANCES}
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory, clean_environment):
    """The run as one process does it, inline and undisturbed."""
    output = tmp_path_factory.mktemp("reference")
    finish(environment_of(clean_environment, output, resources={"executor": "inline"}))
    return output


def wait_for_file(folder, process):
    """Until the first record is there."""
    end = time.monotonic() + 30
    while not list(folder.glob("s-*.json")):
        assert time.monotonic() < end, process.story()
        time.sleep(0.05)


def test_killed_within_its_trainings_the_answer_is_the_same(reference, tmp_path, clean_environment):
    """SIGKILL in a trial's second seed and among the variations, with workers, changes no record and no report."""
    environment = environment_of(clean_environment, tmp_path)

    def in_second_seed(event):
        return event["event"] == "epoch finished" and event.get("execution") == 1

    for moment in (in_second_seed, lambda event: event["event"] == "variation ended"):
        with RunProcess(environment) as process:
            assert process.wait_for(moment) is not None, process.story()
            if moment is not in_second_seed:
                # Records are uploaded in the background: what is under way at a kill is made again.
                wait_for_file(folder_of(tmp_path) / "sensitivity", process)
            process.kill_group()
    events = finish(environment)

    assert answers_of(tmp_path) == answers_of(reference)
    known = {event["trial_id"] for event in events if event["event"] == "variation started"}
    assert len(known) < sum(key.startswith("sensitivity/") for key in answers_of(tmp_path))
    for name in ("sensitivity.json", "best_hyperparameters.json"):
        assert (folder_of(tmp_path) / name).read_bytes() == (folder_of(reference) / name).read_bytes()
    assert not list((folder_of(tmp_path) / "checkpoints").glob("*"))


def test_the_report_tells_mean_deviation_and_effects(reference):
    """Records, metrics, manifest and summary say the same."""
    folder = folder_of(reference)
    manifest, metrics = (json.loads((folder / name).read_text()) for name in ("manifest.json", "metrics.json"))
    sensitivity = json.loads((folder / "sensitivity.json").read_text())
    best = json.loads((folder / "trials" / f"{metrics['best_trial']}.json").read_text())
    assert manifest["scores"]["validation"]["objective"] == best["score"]
    assert manifest["scores"]["deviation"]["objective"] == best["deviation"] > 0
    assert set(metrics["validation_deviation"]) == {"val_loss", "val_accuracy", "objective"}
    assert metrics["sensitivity"] == {one["name"]: one["effect"] for one in sensitivity["hyperparameters"]}
    assert {"sensitivity.json", "sensitivity/s-units-0.json"} <= manifest["artifacts"].keys()
    assert manifest["data"]["splits"]["validation"]["rows"] == 0
    assert manifest["model"]["trained_on"] == "train_and_validation"
    summary = (folder / "summary.md").read_text()
    assert "the mean over its 4 trainings" in summary
    assert "## Sensitivity" in summary
