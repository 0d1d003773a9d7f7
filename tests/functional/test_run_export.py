"""A job that exports, through its command; and the lines that load what it leaves, as they are documented."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from job.data import load_dataset
from job.spec import DataSpec

QUICK = ("--set", "search.max_epochs=3", "--set", "space.units=[16]", "--set", "space.learning_rate=0.01")
PAGE = Path(__file__).parents[2] / "docs/export.md"
FORMATS = ["Keras", "SavedModel", "ONNX", "TFLite"]

RUN_SNIPPET = """
import sys, numpy
names = {"rows": numpy.load(sys.argv[1])}
exec(sys.argv[2], names)
assert "job" not in sys.modules
numpy.save(sys.argv[3], names["logits"])
"""


def documented_lines():
    """What the page shows for each format."""
    found = re.findall(r"^(\w+)[^\n]*:\n\n```python\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [name for name, _ in found] == FORMATS
    return dict(found)


def test_the_documented_lines_load_every_format(job, tmp_path, clean_environment):
    """A run with `export` leaves each format; three lines of each runtime predict what Keras does from raw rows."""
    done = job("run", "--run-id", "r1", "--set", "export=[saved_model, onnx, tflite]", *QUICK)
    assert done.code == 0, done.stdout + done.stderr
    assert not done.stderr
    folder = tmp_path / "runs/quickstart/runs/r1"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [one["format"] for one in manifest["exports"]] == ["saved_model", "onnx", "tflite"]
    for export in manifest["exports"]:
        assert export["difference"] <= 1e-5
        assert [name for name in manifest["artifacts"] if name.startswith(export["path"])]
    # Before the search, and of what is published.
    agreed = [event["stage"] for event in done.events if event["event"] == "export agrees with Keras"]
    assert agreed == ["search"] * 3 + ["export"] * 3

    test = load_dataset(DataSpec(), seed=0, scratch=tmp_path / "scratch").test
    np.save(tmp_path / "rows.npy", test.x)
    logits = {}
    for name, lines in documented_lines().items():
        command = [sys.executable, "-c", RUN_SNIPPET, tmp_path / "rows.npy", lines, tmp_path / f"{name}.npy"]
        bare = subprocess.run(command, cwd=folder, env=clean_environment, capture_output=True, text=True, check=False)
        assert bare.returncode == 0, bare.stderr
        logits[name] = np.load(tmp_path / f"{name}.npy")
    accuracy = float((logits["Keras"].argmax(axis=1) == test.y).mean())
    assert accuracy == pytest.approx(manifest["scores"]["test"]["accuracy"])
    for name in FORMATS:
        assert np.allclose(logits[name], logits["Keras"], atol=1e-5, rtol=1e-5), name


def test_what_a_format_cannot_hold_is_found_before_the_search(job, tmp_path):
    """An operation that TFLite lacks ends the job with 10 at the format's place in the spec, before any trial."""
    rows = np.arange(240, dtype=np.uint64).reshape(60, 4)
    np.savez(tmp_path / "counts.npz", x=rows, y=np.arange(60) % 3)
    done = job(
        "run", "--run-id", "r1", "--set", "data.source=counts.npz", "--set", "export=[saved_model, tflite]", *QUICK
    )
    assert done.code == 10
    assert "export[1]: TFLite lacks operation Cast(tensor<?x4xui64>)" in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch finished" not in {event["event"] for event in done.events}
    failure = json.loads((tmp_path / "runs/quickstart/runs/r1/failure.json").read_text())
    assert (failure["exit_code"], failure["error"]) == (10, "SpecError")
