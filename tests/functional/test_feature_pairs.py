"""Every pair of documented features in a job: data, models, folds, executions, weights, stopping, exports."""

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pairs.combinations import combinations, contradiction, name_of, possible_pairs
from pairs.jobs import run_job
from pairs.own_models import write_model
from pairs.sources import SOURCES, WORDS, Source

from job.cli import main

COMBINATIONS = combinations()


def test_every_pair_that_goes_together_is_tried():
    """The covering array leaves out no pair but those that the documentation excludes."""
    tried = {frozenset(pair) for row in COMBINATIONS for pair in itertools.combinations(row.items(), 2)}
    assert tried >= possible_pairs()
    assert all(contradiction(row) is None for row in COMBINATIONS)


def pytest_generate_tests(metafunc):
    """A few rows by default, spread over all of them; `make test-pairs` runs every one."""
    if "row" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--pairs")
        step = 1 if asked == 0 else max(1, len(COMBINATIONS) // asked)
        metafunc.parametrize("row", COMBINATIONS[::step], ids=name_of)


def test_features_go_together(row, tmp_path, monkeypatch, capfd):
    """The job publishes a model that answers raw rows as its reported scores say."""
    monkeypatch.chdir(tmp_path)
    source = SOURCES[row["source"]](tmp_path)
    done = run_job(tmp_path, spec_of(row, source, tmp_path), capfd)
    assert done.code == 0, done.said
    assert main(["verify", str(done.run)], {}) == 0
    assert set(done.manifest["best_hyperparameters"]) == {"units", "learning_rate"}
    assert {len(record["executions"]) for record in done.records} == {row["executions"] * (row["folds"] or 1)}
    assert {record["status"] for record in done.records} == {"completed"}
    assert all(np.isfinite(value) for value in done.manifest["scores"]["test"].values())
    answers_as_reported(done.run, done.manifest, source)


def spec_of(row: dict[str, Any], source: Source, folder: Path) -> dict[str, Any]:
    """The job spec of a row."""
    own = row["model"] != "built_in"
    model = (
        write_model(folder, row["model"], source.inputs, source.outputs, WORDS)
        if own
        else {"builder": "cnn" if source.inputs == "image" else "mlp"}
    )
    return {
        "name": "pairs",
        "data": source.data | ({} if row["folds"] is None else {"folds": row["folds"]}),
        "model": model,
        "space": {"units": [4, 8], "learning_rate": learning_rate_of(row)},
        "search": {
            "algorithm": row["algorithm"],
            "max_epochs": 2,
            "executions_per_trial": row["executions"],
            **({"max_trials": 2} if row["algorithm"] in {"random", "bayesian"} else {}),
            **({"factor": 2} if row["algorithm"] == "hyperband" else {}),
        },
        "training": {"class_weight": row["class_weight"]},
        "early_stopping": {"patience": row["patience"]},
        "retrain": {"on": row["retrain_on"]},
        "export": [] if row["export"] is None else [row["export"]],
    }


def learning_rate_of(row: dict[str, Any]) -> Any:
    """A range; for a grid, which must have an end, one value."""
    ranged = {"type": "float", "min_value": 1e-3, "max_value": 1e-1, "sampling": "log"}
    return 0.01 if row["algorithm"] == "grid" else ranged


def answers_as_reported(run: Path, manifest: dict[str, Any], source: Source) -> None:
    """What is published, loaded as a reader loads it, scores on the test rows what the manifest says."""
    if source.x_test is None:
        return
    answers = predicted(run, manifest, source)
    scores = manifest["scores"]["test"]
    if source.outputs in {"classes", "one_hot"}:
        right = source.y_test if source.outputs == "classes" else source.y_test.argmax(-1)
        assert np.mean(answers[0].argmax(-1) == right) == pytest.approx(scores["accuracy"], abs=1e-6)
    elif source.outputs == "number":
        assert np.mean(np.abs(answers[0] - source.y_test)) == pytest.approx(scores["mae"], rel=1e-4)
    else:
        loss = sum(np.mean((one - other) ** 2) for one, other in zip(answers, source.y_test, strict=True))
        assert loss == pytest.approx(scores["loss"], rel=1e-4)


def predicted(run: Path, manifest: dict[str, Any], source: Source) -> list[np.ndarray]:
    """The published model's answers to the raw test rows, one array for each output."""
    import keras  # noqa: PLC0415 - TensorFlow, which the job has set up by now
    import tensorflow as tf  # noqa: PLC0415

    saved_model = run / "model" / "saved_model"
    rows = source.x_test
    if manifest["needs_code"]:
        (export,) = (one for one in manifest["exports"] if one["format"] == "saved_model")
        served = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
        given = rows if isinstance(rows, dict) else {one["name"]: rows for one in export["inputs"]}
        answers = served(**{one["name"]: _as_input(given[one["name"]], one) for one in export["inputs"]})
        return [answers[one["name"]].numpy() for one in export["outputs"]]
    assert "model" not in sys.modules
    model = keras.saving.load_model(run / "model" / "model.keras", safe_mode=True)
    as_tensors = keras.tree.map_structure(lambda leaf: tf.constant(leaf) if leaf.dtype.kind in "US" else leaf, rows)
    return [np.asarray(one) for one in keras.tree.flatten(model.predict(as_tensors, verbose=0))]


def _as_input(values: np.ndarray, signature: dict[str, Any]) -> Any:
    """A tensor for one input of a SavedModel."""
    import tensorflow as tf  # noqa: PLC0415 - see `predicted`

    shaped = values.reshape(len(values), *signature["shape"][1:])
    return tf.constant(shaped if signature["dtype"] == "string" else shaped.astype(signature["dtype"]))
