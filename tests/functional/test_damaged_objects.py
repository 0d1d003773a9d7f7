"""Whatever happens to an object of a stopped or a published run, the next start gives the right answer or refuses.

`make test-damage` tries every damage of every object; the suite some of them.
"""

import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from faults.run_process import RunProcess
from faults.stored_run import StoredRun, assert_complete, assert_same_answer

from job.cli import main

REFUSALS = {10, 12, 13, 14}
# What a stopped run has, and what a published one has; each named by the first file that fits.
OF_STOPPED = (
    "spec.json",
    "inputs.json",
    "lease.json",
    "trials/*.json",
    "checkpoints/*.best.npz",
    "checkpoints/*.last.npz",
    "logs/*.jsonl",
)
OF_PUBLISHED = (
    "manifest.json",
    "spec.json",
    "inputs.json",
    "trials/*.json",
    "trials.jsonl",
    "model/model.keras",
    "../../latest.json",
)
DAMAGES = (
    "missing",
    "truncated",
    "empty",
    "flipped",
    "another type",
    "nested",
    "a folder",
    "another trial's",
    "another run's",
    "other data's",
)


def cases():
    for state, kinds in (("stopped", OF_STOPPED), ("published", OF_PUBLISHED)):
        for kind in kinds:
            for damage in DAMAGES:
                if damage != "another trial's" or "*" in kind:
                    yield state, kind, damage


def pytest_generate_tests(metafunc):
    if "damage" in metafunc.fixturenames:
        every, asked = list(cases()), metafunc.config.getoption("--damages")
        step = 1 if asked == 0 else max(1, len(every) // asked)
        chosen = every[::step]
        metafunc.parametrize(("state", "kind", "damage"), chosen, ids=[" ".join(case) for case in chosen])


def write_data(path, seed):
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 3, 240)
    np.savez(path, x=draw.normal(size=(240, 6)).astype("float32") + 2 * np.eye(3, 6)[y], y=y)


@dataclass(frozen=True)
class Made:
    """Runs that were made in one folder, under one id; `trees` has each as it was left, by name."""

    folder: Path
    trees: dict[str, Path]
    environment: dict[str, str]

    @property
    def run(self):
        return run_of(self.folder / "runs")

    def spec(self, seed=0):
        return json.dumps(
            {
                "name": "damaged",
                "seed": seed,
                "data": {"source": str(self.folder / "data.npz")},
                "space": {"units": [8, 16], "learning_rate": [0.01, 0.001]},
                "search": {"max_epochs": 4, "factor": 2},
                "limits": {"max_total_trials": 7},
                "resources": {"executor": "inline"},
                "output": str(self.folder / "runs"),
            }
        )

    def lay(self, name):
        """Have the runs be as they were left then."""
        shutil.rmtree(self.folder / "runs", ignore_errors=True)
        if name is not None:
            shutil.copytree(self.trees[name], self.folder / "runs")

    def make(self, name, *, on=None, until=None, seed=0, data=0):
        """Run the command, to its end or until so many trials have completed, and keep what it leaves."""
        self.lay(on)
        write_data(self.folder / "data.npz", data)
        with RunProcess(self.environment | {"JOB_SPEC": self.spec(seed), "JOB_RUN_ID": "one"}) as process:
            seen = 0
            for _ in range(600):
                seen = sum(event["event"] == "trial completed" for event in process.events)
                if until is None or seen >= until:
                    break
                time.sleep(0.1)
            if until:
                process.signal(signal.SIGTERM)
            assert process.finish() == (143 if until else 0), process.story()
        shutil.copytree(self.folder / "runs", self.trees[name])


def run_of(runs):
    return runs / "damaged/runs/one"


def stored(runs):
    files = (path for path in run_of(runs).rglob("*") if path.is_file() and not path.name.startswith(".tuning"))
    return StoredRun({path.relative_to(run_of(runs)).as_posix(): path.read_bytes() for path in files})


@pytest.fixture(scope="module")
def made(tmp_path_factory, clean_environment):
    """A run that was stopped, the same published, one of another seed, and one of other data."""
    names = ("stopped", "published", "seed", "data")
    kept = tmp_path_factory.mktemp("kept")
    runs = Made(tmp_path_factory.mktemp("work"), {name: kept / name for name in names}, clean_environment)
    runs.make("seed", until=3, seed=5)
    runs.make("data", until=3, data=7)
    runs.make("stopped", until=3)
    runs.make("published", on="stopped")
    return runs


def damage_object(made, kind, damage):
    """Do it; False where there is nothing to do it with."""
    (target, *others) = sorted(made.run.glob(kind)) if "*" in kind else [made.run / kind]
    content = target.read_bytes()
    if damage in {"another run's", "other data's"}:
        other = run_of(made.trees["seed" if damage == "another run's" else "data"])
        found = sorted(other.glob(kind), key=lambda path: (path.name != target.name, path.name))
        if not found:
            return False
        content = found[0].read_bytes()
    elif damage == "another trial's":
        if not others:
            return False
        content = others[-1].read_bytes()
    elif damage == "flipped":
        at = len(content) // 2
        content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    else:
        content = {
            "truncated": content[: len(content) // 2],
            "empty": b"",
            "another type": b'["x", 1]',
            "nested": b"[" * 100_000,
        }.get(damage, content)
    target.unlink()
    if damage == "a folder":
        target.mkdir()
        (target / "x").touch()
    elif damage != "missing":
        target.write_bytes(content)
    return True


def test_the_next_start_gives_the_right_answer_or_refuses(made, state, kind, damage, tmp_path, capfd):
    """Never exit code 1, never another's result, never a wait for what does not come."""
    made.lay(state)
    if not damage_object(made, kind, damage):
        pytest.skip("no other object of this kind")
    code = main(
        ["run"],
        {"JOB_SPEC": made.spec(), "JOB_RUN_ID": "one", "JOB_SCRATCH": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    said = capfd.readouterr()
    # A folder where an object should be cannot be written, and trying again does not help.
    assert code in REFUSALS | {0} | ({15} if damage == "a folder" else set()), said.out[-3000:] + said.err
    assert "Traceback" not in said.out + said.err
    if code != 0:
        return
    if main(["verify", str(made.run)], {}) != 0:
        # What was published is not made anew, and `verify` says what has become of it.
        assert state == "published"
        return
    run = stored(made.folder / "runs")
    assert_complete(run)
    assert_same_answer(run, stored(made.trees["published"]))
