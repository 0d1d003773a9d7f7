"""A regression through the command: numbers to predict in, a model that answers in their unit out."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

SPEC = {
    "name": "diabetes",
    "data": {"source": "diabetes.npz", "rescale": "standardize"},
    "model": {"builder": "linear"},
    "space": {"learning_rate": [0.1, 0.03], "optimizer": ["adam", "sgd"], "learning_rate_schedule": "cosine"},
    "search": {"max_epochs": 20, "min_epochs": 5},
}
PREDICT = """
import sys, keras, numpy
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
assert "job" not in sys.modules
print(float(model.predict(numpy.load(sys.argv[2])["x"], verbose=0).mean()))
"""


@pytest.fixture
def published(job, tmp_path):
    """The folder of a published run."""
    rows = load_diabetes()
    np.savez(tmp_path / "diabetes.npz", x=rows.data, y=rows.target)
    done = job("run", "--run-id", "r1", "--spec", json.dumps(SPEC))
    assert done.code == 0, done.stdout + done.stderr
    return tmp_path / "runs/diabetes/runs/r1"


def test_numbers_are_predicted_in_their_own_unit(job, published, tmp_path, clean_environment):
    """The manifest, the summary, `results` and the model in bare Keras say the same, and better than a guess."""
    manifest = json.loads((published / "manifest.json").read_text())
    scores = manifest["scores"]["test"]
    assert scores["r2"] > 0.3
    assert scores["rmse"] < 70
    assert (manifest["search"]["objective"], manifest["search"]["direction"]) == ("val_rmse", "min")
    assert manifest["signature"]["output_kind"] == "values"
    metrics = json.loads((published / "metrics.json").read_text())
    assert metrics["data"]["task"] == "regression"
    assert metrics["data"]["targets"]["maximum"] == 346
    assert abs(metrics["test"]["residuals"]["quantiles"]["0.5"]) < 60
    for line in ((published / "summary.md").read_text(), job("results", str(published)).stdout):
        assert f"rmse={scores['rmse']:.6g}" in line or f"rmse {scores['rmse']:.4f}" in line
    bare = subprocess.run(
        [sys.executable, "-c", PREDICT, published / "model/model.keras", tmp_path / "diabetes.npz"],
        cwd=tmp_path,
        env=clean_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 0, bare.stderr
    assert float(bare.stdout) == pytest.approx(152, abs=15)
