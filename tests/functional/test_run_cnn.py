"""The job with the builder `cnn`, through its command: images become a published model, a table is refused."""

import json
import subprocess
import sys

import numpy as np

from job.data import load_dataset
from job.spec import DataSpec

QUICK = ("--set", "search.max_epochs=3", "--set", "space.units=[16, 32]", "--set", "space.learning_rate=0.01")

EVALUATE = """
import sys, keras, numpy
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
rows = numpy.load(sys.argv[2])
scores = model.evaluate(rows["x"], rows["y"], verbose=0, return_dict=True)
assert "job" not in sys.modules
print([type(layer).__name__ for layer in model.layers[-1].layers])
print(scores["accuracy"])
"""


def test_digits_are_tuned_and_the_model_scores_the_same_in_bare_keras(job, tmp_path, clean_environment):
    """`model.builder=cnn` publishes a convolutional net whose test accuracy is the manifest's, without our code."""
    done = job("run", "--run-id", "r1", "--set", "model.builder=cnn", *QUICK)
    assert done.code == 0, done.stdout + done.stderr
    folder = tmp_path / "runs/quickstart/runs/r1"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["scores"]["test"]["accuracy"] > 0.9
    test = load_dataset(DataSpec(), seed=0, scratch=tmp_path / "scratch").test
    np.savez(tmp_path / "test.npz", x=test.x, y=test.y)
    bare = subprocess.run(
        [sys.executable, "-c", EVALUATE, folder / "model/model.keras", tmp_path / "test.npz"],
        cwd=tmp_path,
        env=clean_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 0, bare.stderr
    layers, accuracy = bare.stdout.splitlines()
    assert "'Conv2D', 'MaxPooling2D'" in layers
    assert float(accuracy) == manifest["scores"]["test"]["accuracy"]


def test_a_table_is_refused_before_the_search(job, tmp_path):
    """Rows of one axis end the job with 12 and a message; no trial is started and TensorFlow is not needed."""
    np.savez(tmp_path / "table.npz", x=np.arange(300, dtype=np.float32).reshape(60, 5), y=np.arange(60) % 3)
    done = job("run", "--run-id", "r1", "--set", "model.builder=cnn", "--set", "data.source=table.npz")
    assert done.code == 12
    assert "table.npz has rows of shape (5,), but model.builder cnn takes images" in done.stderr
    assert "Traceback" not in done.stderr
    assert not {event["event"] for event in done.events} & {"workers started", "epoch finished"}
    failure = json.loads((tmp_path / "runs/quickstart/runs/r1/failure.json").read_text())
    assert (failure["exit_code"], failure["error"]) == (12, "DataError")
