"""What an earlier version has left in a store: this one goes on from it, as `tests/golden` keeps it of every release.

`tests/golden/VERSION` holds a spec, its data, a run that was stopped in its search, and one that was published.
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.iterdir())


@pytest.fixture(params=VERSIONS)
def left(request, tmp_path):
    """A copy of what a version has left; its numbers depend on packages that are as they are here."""
    shutil.copytree(GOLDEN / request.param, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("golden/runs/begun/inputs.json"):
        inputs = json.loads(path.read_text())
        for package in ("keras", "keras-tuner", "numpy", "tensorflow"):
            installed = "tensorflow-cpu" if package == "tensorflow" else package
            inputs["versions"][package] = version(installed)
        path.write_text(json.dumps(inputs))
    return tmp_path / "golden/runs"


def test_a_run_that_was_begun_goes_on(left, job, tmp_path):
    """Its records stand as they are, only what they lack is trained, and what is published is whole."""
    before = {path: path.read_bytes() for path in (left / "begun/trials").iterdir()}
    done = job("run", "--spec", "spec.yaml", "--run-id", "begun", "--output", str(tmp_path))
    assert done.code == 0, done.stderr
    assert {path: path.read_bytes() for path in before} == before
    warnings = [event["event"] for event in done.events if event["level"] == "warning"]
    assert "trial record not used, its trial runs again" not in warnings
    assert not {"damaged object replaced", "checkpoint not used"} & set(warnings)
    trained = {event["trial_id"] for event in done.events if event["event"] == "trial started"}
    assert not trained & {path.stem for path in before}
    assert {path.name for path in (left / "begun/trials").iterdir()} == {
        path.name for path in (left / "published/trials").iterdir()
    }
    assert job("verify", str(left / "begun")).code == 0


def test_a_run_that_was_published_stays_published(left, job, tmp_path):
    """The same spec and run id find nothing to do; another spec is refused; commands read it."""
    before = {path: path.stat().st_mtime_ns for path in (left / "published").rglob("*")}
    done = job("run", "--spec", "spec.yaml", "--run-id", "published", "--output", str(tmp_path))
    assert done.code == 0, done.stderr
    assert done.events[-1]["event"] == "already published"
    other = job(
        "run", "--spec", "spec.yaml", "--run-id", "published", "--output", str(tmp_path), "--set", "search.factor=3"
    )
    assert other.code == 14
    assert {path: path.stat().st_mtime_ns for path in (left / "published").rglob("*")} == before
    for command in ("verify", "results"):
        assert job(command, str(left / "published")).code == 0
