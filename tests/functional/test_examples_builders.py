"""The examples of built-in data sets and builders, reduced: fewer epochs, fewer rows, the same fields."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

EXAMPLES = Path(__file__).parents[2] / "examples"
EPOCHS = ("--set", "search.max_epochs=3")


def run(job, tmp_path, name, *changes):
    """Run an example; its manifest and its trials."""
    done = job("run", "--spec", str(EXAMPLES / name / "job.yaml"), "--run-id", "r1", *EPOCHS, *changes)
    assert done.code == 0, done.stdout + done.stderr
    folder = tmp_path / "runs" / name / "runs" / "r1"
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    return json.loads((folder / "manifest.json").read_text()), trials


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion-mnist", "grid"])
def test_an_example_is_a_spec(job, name):
    """As it stands in the folder, with nothing changed."""
    done = job("plan", "--spec", str(EXAMPLES / name / "job.yaml"))
    assert done.code == 0, done.stderr


def test_digits(job, tmp_path):
    """The quickstart's classifier is better than chance after 3 epochs."""
    manifest, trials = run(job, tmp_path, "digits")
    assert len(trials) == 6
    assert manifest["scores"]["test"]["accuracy"] > 0.8


def test_mnist(job, tmp_path):
    """MNIST itself is a download: digits enlarged to 28 x 28 bytes, in a file like MNIST's, take its place."""
    digits = load_digits()
    images = np.kron(digits.images * 15.9, np.ones((1, 3, 3)))[:, :28, :28]
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    assert images.shape[1:] == (28, 28)
    np.savez(tmp_path / "mnist.npz", x_train=images[:1500], y_train=digits.target[:1500],
             x_test=images[1500:], y_test=digits.target[1500:])  # fmt: skip
    manifest, _ = run(job, tmp_path, "mnist", "--set", "data.source=mnist.npz")
    assert manifest["data"]["splits"]["test"]["rows"] == 297
    assert manifest["scores"]["test"]["accuracy"] > 0.7


def test_fashion_mnist(job, tmp_path, fashion_mnist):
    """Two random convolutional nets and one that is proposed, on 2,000 rows of Debian's copy of the data."""
    with np.load(fashion_mnist) as rows:
        np.savez(tmp_path / "rows.npz", **{name: rows[name][:2000] for name in rows.files})
    changes = ("data.source=rows.npz", "search.max_trials=3", "search.num_initial_points=2", "search.lag=0")
    manifest, trials = run(job, tmp_path, "fashion-mnist", *(part for one in changes for part in ("--set", one)))
    assert [len(trial["executions"][0]["epochs"]) for trial in trials] == [3, 3, 3]
    for trial in trials:
        values = trial["hyperparameters"]
        assert ("momentum" in values) == (values["optimizer"] == "sgd")
        assert ("filters_2" in values) == (values["conv_layers"] == 2)
    assert manifest["scores"]["test"]["accuracy"] > 0.3


def test_grid(job, tmp_path):
    """Every point of the space is tried once, momenta with sgd alone."""
    manifest, trials = run(job, tmp_path, "grid", "--set", "space.units=[16]")
    points = {tuple(sorted(trial["hyperparameters"].items())) for trial in trials}
    assert len(trials) == len(points) == 6
    assert manifest["search"]["planned_trials"] == 6
