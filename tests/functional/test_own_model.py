"""The user's own model and data, by the real command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = """\
import keras

print("imported")


def build_model(hp):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(hp.Int("units", 4, 32), activation="relu")])
    model.add(keras.layers.Dense(10, activation="softmax"))
    if hp.values["units"] == 7:
        raise ValueError("seven is no good")
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
QUICK = ("--set", "search.algorithm=grid", "--set", "search.max_epochs=1", "--set", "model.source=model.py")
LOAD = """\
import sys
import keras, numpy as np
try:
    keras.saving.load_model(sys.argv[1])
except (TypeError, ValueError) as error:
    assert "Jitter" in str(error), error
else:
    raise AssertionError("loaded without its code")
sys.path.insert(0, sys.argv[2])
import model
published = keras.saving.load_model(sys.argv[1])
assert published.predict(np.zeros((2, 8, 8)), verbose=0).shape == (2, 10)
"""


def test_a_broken_model_ends_before_any_trial(job, tmp_path):
    """Exit code 11 and the user's own line, in the message, the log and `failure.json`; no trial is started."""
    (tmp_path / "model.py").write_text("import keras\n\n\ndef build_model(hp):\n    return keras.layers.Dance(3)\n")
    done = job("run", "--run-id", "r1", "--set", "model.source=model.py")
    assert done.code == 11
    said = "model.py, line 5, in build_model: AttributeError"
    assert done.stderr.startswith(f"tuning-job: {said}")
    assert "Traceback" not in done.stderr + done.stdout
    assert "trial started" not in done.stdout
    assert done.event("job failed")["reason"].startswith(said)
    run = tmp_path / "runs" / "quickstart" / "runs" / "r1"
    assert json.loads((run / "failure.json").read_text())["exit_code"] == 11
    assert not (run / "trials").exists()


@pytest.fixture
def published(job, tmp_path):
    """A grid over three values, one of which the code does not take."""
    (tmp_path / "model.py").write_text(MODEL)
    done = job("run", "--run-id", "r1", *QUICK, "--set", "space.units=[6, 7, 8]")
    assert done.code == 0, done.stderr
    return done, tmp_path / "runs" / "quickstart" / "runs" / "r1"


def test_a_model_of_ones_own_is_searched_and_published(published, job, tmp_path):
    """What the spec leaves of the code's space is tried; a trial that raises is recorded with the user's own line.

    What the code prints is an event, and a run that has started goes on with no other code.
    """
    done, run = published
    records = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    assert {record["hyperparameters"]["units"] for record in records} == {6, 7, 8}
    failed = [record for record in records if record["status"] == "failed"]
    assert [record["hyperparameters"]["units"] for record in failed] == [7]
    assert failed[0]["error"].startswith("model.py, line 10, in build_model: ValueError: seven is no good")
    assert "imported" in [event.get("text") for event in done.events]
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["signature"]["output_kind"] == "probabilities"
    inputs = json.loads((run / "inputs.json").read_text())
    assert inputs["objects"]["model.source"]["sha256"] == done.event("model checked")["sha256"]

    (run / "manifest.json").unlink()
    (tmp_path / "model.py").write_text(MODEL + "\n# changed\n")
    again = job("run", "--run-id", "r1", *QUICK, "--set", "space.units=[6, 7, 8]")
    assert again.code == 14
    assert "model.source (code with the SHA-256" in again.stderr


def test_broken_data_code_ends_with_its_own_line(job, tmp_path):
    """Exit code 12, the user's file and line, and what the code printed as an event."""
    (tmp_path / "data.py").write_text("def load_data():\n    print('reading')\n    return open('absent.csv')\n")
    done = job("run", "--set", "data.source=data.py")
    assert done.code == 12
    assert "data.py, line 3, in load_data: FileNotFoundError" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.event("printed")["text"] == "reading"


def test_a_wrong_digest_runs_nothing(job, tmp_path):
    """Code that is not what the spec's digest says is refused with exit code 11, before it is imported."""
    (tmp_path / "model.py").write_text("open('it-ran', 'w')\n")
    done = job("run", "--set", "model.source=model.py", "--set", f"model.sha256={'0' * 64}")
    assert done.code == 11
    assert "is not the code that model.sha256 means" in done.stderr
    assert not (tmp_path / "it-ran").exists()


def test_the_example_runs(job, tmp_path):
    """`examples/own-model`, reduced; its published model loads where its code is, and only there."""
    example = Path(__file__).parents[2] / "examples" / "own-model"
    done = job(
        "run",
        "--spec",
        str(example / "job.yaml"),
        *("--set", f"model.source={example / 'model.py'}", "--set", "search.max_epochs=3", "--run-id", "r1"),
    )
    assert done.code == 0, done.stderr
    checked = done.event("model checked")
    assert checked["needs_code"] is True
    assert checked["space"]["units"] == "64 to 128, step 32"
    assert checked["space"]["momentum"] == "0.5 to 0.95, step 0.05, with optimizer sgd"
    model = tmp_path / "runs" / "own-model" / "runs" / "r1" / "model" / "model.keras"
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, model, example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr
