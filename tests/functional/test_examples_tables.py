"""The examples of tables, reduced, and what they publish in the hands of somebody without our code."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ("--set", "search.max_epochs=9", "--set", "space.units=[16]", "--set", "space.learning_rate=[0.01, 0.003]")

# Three rows as they stand in the file: what a caller without our code has.
SERVE = """
import csv, json, sys, keras, tensorflow as tf
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
with open(sys.argv[2], newline="") as file:
    rows = list(csv.DictReader(file))
kinds = {given.name: given.dtype for given in model.inputs}
columns = json.loads(sys.argv[3])
def column(name, values):
    strings = kinds[name] == "string"
    return tf.constant([[value if strings else float(value or "nan")] for value in values])
answers = model.predict({columns.get(name, name): column(columns.get(name, name), [row[name] for row in rows])
                         for name in rows[0] if columns.get(name, name) in kinds}, verbose=0)
assert "job" not in sys.modules
print(json.dumps(answers.tolist()))
"""


@pytest.fixture
def at_root(tmp_path):
    """The example's files beneath the folder that the command runs in, as in the repository."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def run(job, folder, name, *more):
    done = job("run", "--spec", f"examples/{name}/job.yaml", "--run-id", "r1", *QUICK, *more)
    assert done.code == 0, done.stdout + done.stderr
    published = folder / "runs" / name / "runs" / "r1"
    return done, published, json.loads((published / "manifest.json").read_text())


def served(published, table, environment, columns=None):
    arguments = [published / "model/model.keras", table, json.dumps(columns or {})]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_classification(job, at_root, clean_environment):
    """Wines are told apart; the log and metrics.json profile the table; the model takes the table's own rows."""
    done, published, manifest = run(job, at_root, "tabular-classification")
    assert manifest["scores"]["test"]["accuracy"] > 0.8
    ready = done.event("data ready")
    assert (ready["task"], ready["classes"], ready["duplicates_dropped"]) == ("classification", 3, 0)
    metrics = json.loads((published / "metrics.json").read_text())
    assert metrics["data"]["columns"]["alcohol"]["type"] == "number"
    assert {given["name"] for given in manifest["signature"]["inputs"]} >= {"alcohol", "od280_od315_of_diluted_wines"}
    table = at_root / "examples/tabular-classification/wine.csv"
    renamed = {"od280/od315_of_diluted_wines": "od280_od315_of_diluted_wines"}
    answers = served(published, table, clean_environment, renamed)
    labels = [line.rsplit(",", 1)[1] for line in table.read_text().splitlines()[1:]]
    names = manifest["signature"]["class_names"]
    right = [names[row.index(max(row))] == label for row, label in zip(answers, labels, strict=True)]
    assert sum(right) > 0.9 * len(right)


def test_a_regression_with_strings_and_missing_values_from_s3(job, at_root, clean_environment, bucket, s3_admin,
                                                             s3_environment):  # fmt: skip
    """Parts under a prefix, some values left out: a regression in the target's own unit, served from raw rows."""
    table = at_root / "examples/tabular-regression/diabetes.csv"
    header, *lines = table.read_text().splitlines()
    holes = [line if number % 9 else "," + line.split(",", 1)[1] for number, line in enumerate(lines)]
    for part, chosen in (("a", holes[:200]), ("b", holes[200:])):
        body = "\n".join([header, *chosen]).encode()
        s3_admin.put_object(Bucket=bucket, Key=f"tables/{part}.csv", Body=body)
    source = ("--set", f"data.source=s3://{bucket}/tables/", "--set", "data.format=csv")
    done = job("run", "--spec", "examples/tabular-regression/job.yaml", "--run-id", "r1", *QUICK, *source,
               environment=s3_environment)  # fmt: skip
    assert done.code == 0, done.stdout + done.stderr
    published = at_root / "runs/tabular-regression/runs/r1"
    manifest = json.loads((published / "manifest.json").read_text())
    assert done.event("data ready")["missing_values"] == len(holes) - sum(bool(number % 9) for number in range(442))
    assert manifest["scores"]["test"]["rmse"] < 90
    kinds = {given["name"]: given["dtype"] for given in manifest["signature"]["inputs"]}
    assert (kinds["sex"], kinds["age"]) == ("string", "float32")
    inputs = json.loads((published / "inputs.json").read_text())
    assert set(inputs["objects"]) == {"source/a.csv", "source/b.csv"}
    (at_root / "rows.csv").write_text("\n".join([header, *holes[:5], "59,unheard of,,,,,,,,,0"]))
    answers = served(published, at_root / "rows.csv", clean_environment)
    assert all(0 < answer < 400 for (answer,) in answers)


def test_examples_hold_what_their_script_writes(tmp_path):
    """The committed tables are scikit-learn's."""
    subprocess.run([sys.executable, ROOT / "examples/make_tables.py", tmp_path], check=True)
    for name, folder in (("wine", "tabular-classification"), ("diabetes", "tabular-regression")):
        assert (tmp_path / f"{name}.csv").read_bytes() == (ROOT / "examples" / folder / f"{name}.csv").read_bytes()


def test_a_target_that_is_missing_ends_the_job_before_anything_is_trained(job, tmp_path):
    """Exit code 12, and a message with the rows."""
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{n},{'' if n == 7 else n % 2}\n" for n in range(50)))
    done = job("run", "--run-id", "r1", "--set", "data.source=t.csv", "--set", "data.target=y")
    assert done.code == 12
    assert "t.csv: column 'y' (data.target) is missing in 1 rows: t.csv, rows 8" in done.stderr
    assert "Traceback" not in done.stderr
