"""The whole job through its command, on a local directory: what it publishes and what it says."""

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

QUICK = ("--set", "search.max_epochs=3", "--set", "space.units=[16, 32]")


def run_folder(output: Path, name: str = "quickstart", run_id: str = "r1") -> Path:
    return output / name / "runs" / run_id


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def assert_manifest_holds(folder: Path) -> dict:
    """Every artifact that the manifest names exists with the size and SHA-256 it states."""
    manifest = read_json(folder / "manifest.json")
    assert "model/model.keras" in manifest["artifacts"]
    for relative, stated in manifest["artifacts"].items():
        content = (folder / relative).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (stated["size"], stated["sha256"]), relative
    return manifest


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory, clean_environment):
    """The embedded default, run once."""
    folder = tmp_path_factory.mktemp("quickstart")
    done = subprocess.run(
        [sys.executable, "-m", "job"],
        cwd=folder,
        env=clean_environment | {"JOB_RUN_ID": "r1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs", done


def test_with_nothing_given_the_job_publishes_the_quickstart(quickstart):
    """`python -m job` tunes digits into ./runs and reaches 0.93 on the test split."""
    output, _ = quickstart
    manifest = assert_manifest_holds(run_folder(output))
    assert manifest["scores"]["test"]["accuracy"] >= 0.93
    assert set(manifest["best_hyperparameters"]) == {"units", "learning_rate"}
    assert (manifest["search"]["trials"], manifest["search"]["epochs"]) == (30, 120)
    assert manifest["search"]["shortfalls"] == []
    assert {"data", "search", "retrain", "evaluate", "publish", "total"} == set(manifest["seconds"])
    assert read_json(output / "quickstart" / "latest.json")["run_id"] == "r1"


def test_standard_output_is_one_json_event_per_line_and_standard_error_is_empty(quickstart):
    """Without a terminal every line is an event with the run id, and TensorFlow's noise reaches neither stream."""
    _, done = quickstart
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["run_id"] for event in events} == {"r1"}
    assert all({"timestamp", "level", "event"} <= set(event) for event in events)
    assert done.stderr == ""
    epochs = [event for event in events if event["event"] == "epoch finished" and event["stage"] == "search"]
    assert len(epochs) == 120
    assert all({"trial_id", "bracket", "rung", "epoch"} <= set(event) for event in epochs)


def test_log_segments_hold_every_event_of_standard_output(quickstart):
    """The stored log is what was printed."""
    output, done = quickstart
    segments = sorted((run_folder(output) / "logs").glob("*.jsonl"))
    stored = [json.loads(line) for segment in segments for line in segment.read_text().splitlines()]
    assert stored == [json.loads(line) for line in done.stdout.splitlines()]


def test_the_published_model_loads_in_bare_keras_and_takes_raw_rows(quickstart, tmp_path, clean_environment):
    """Three lines of Keras, no code of ours, safe mode on, no warning: raw pixels in, the manifest's accuracy out."""
    output, _ = quickstart
    folder = run_folder(output)
    from sklearn.datasets import load_digits  # noqa: PLC0415

    digits = load_digits()
    np.savez(tmp_path / "digits.npz", x=digits.images, y=digits.target)
    program = (
        "import sys, keras, numpy\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "data = numpy.load(sys.argv[2])\n"
        "logits = model.predict(data['x'], verbose=0)\n"
        "assert 'job' not in sys.modules\n"
        "print(float((logits.argmax(-1) == data['y']).mean()))\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::UserWarning",
            "-c",
            program,
            folder / "model/model.keras",
            tmp_path / "digits.npz",
        ],
        cwd=tmp_path,
        env=clean_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Most of these rows were trained on.
    assert float(done.stdout) > 0.95


def test_a_published_run_is_not_run_again(quickstart, clean_environment):
    """The same run id and spec ends at once with 0, changes nothing, and never imports TensorFlow."""
    output, _ = quickstart
    folder = run_folder(output)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    program = (
        "import sys\n"
        "from job.cli import main\n"
        "code = main(['run', '--run-id', 'r1'], {})\n"
        "assert 'tensorflow' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=output.parent,
        env=clean_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "already published" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_run_id_of_another_spec_is_refused(quickstart, job):
    """A published run id used with another spec ends with 14 and leaves the run as it was."""
    output, _ = quickstart
    manifest = (run_folder(output) / "manifest.json").read_bytes()
    done = job("run", "--output", str(output), "--run-id", "r1", "--set", "seed=1")
    assert done.code == 14
    assert "r1" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (run_folder(output) / "manifest.json").read_bytes() == manifest


def test_same_seed_same_answer(job, tmp_path):
    """Two runs of one spec give the same trials, scores and best hyperparameters; another seed does not."""
    records = []
    for number, seed in enumerate((5, 5, 6)):
        done = job("run", *QUICK, "--set", f"seed={seed}", "--output", str(tmp_path / str(number)), "--run-id", "r1")
        assert done.code == 0, done.stderr
        lines = (run_folder(tmp_path / str(number)) / "trials.jsonl").read_text().splitlines()
        records.append(
            [{k: v for k, v in json.loads(line).items() if k not in {"seconds", "worker"}} for line in lines]
        )
    assert records[0] == records[1]
    assert records[0] != records[2]


def test_results_shows_the_best_trials(quickstart, job):
    """`results` reads a run, or the newest run of a name, from the store."""
    output, _ = quickstart
    manifest = read_json(run_folder(output) / "manifest.json")
    for url in (output / "quickstart", run_folder(output)):
        done = job("results", str(url))
        assert done.code == 0, done.stderr
        assert f"units={manifest['best_hyperparameters']['units']}" in done.stdout
        assert "h0-b" in done.stdout


def test_a_terminal_shows_readable_lines_and_no_json(tmp_path, clean_environment):
    """On a terminal there is a live display and readable lines, never JSON."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "job", "run", *QUICK, "--run-id", "r1"],
        cwd=tmp_path,
        env=clean_environment | {"TERM": "xterm", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = bytearray()

    def drain() -> None:
        while True:
            try:
                piece = os.read(controller, 65536)
            except OSError:
                return
            if not piece:
                return
            shown.extend(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    code = process.wait(timeout=300)
    reader.join()
    os.close(controller)
    text = shown.decode()
    assert code == 0, text
    assert '{"' not in text
    assert "best hyperparameters  units " in text
    assert "runs/quickstart/runs/r1/model/model.keras" in text
    assert "trials" in text
    # The log in the store is JSON all the same.
    (first, *_) = sorted((run_folder(tmp_path / "runs") / "logs").glob("*.jsonl"))
    assert json.loads(first.read_text().splitlines()[0])["event"] == "run started"


def test_broken_data_leaves_its_reason_where_the_manifest_would_be(job, tmp_path):
    """A data error ends with 12 before training, one message, failure.json and the log in the store."""
    np.savez(tmp_path / "broken.npz", x=np.full((50, 4), np.nan), y=np.arange(50) % 2)
    done = job("run", "--set", "data.source=broken.npz", "--run-id", "r1")
    assert done.code == 12
    assert "broken.npz" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    folder = run_folder(tmp_path / "runs")
    failure = read_json(folder / "failure.json")
    assert failure["exit_code"] == 12
    assert "broken.npz" in failure["reason"]
    assert not (folder / "manifest.json").exists()
    assert not (folder / "trials").exists()
    stored = "".join(path.read_text() for path in sorted((folder / "logs").glob("*.jsonl")))
    assert json.loads(stored.splitlines()[-1])["event"] == "job failed"


def test_when_every_trial_fails_the_records_stay_and_nothing_is_published(job, tmp_path):
    """A search without a usable trial ends with 13; the records say why each trial failed."""
    done = job("run", *QUICK, "--set", "space.learning_rate=1e30", "--run-id", "r1")
    assert done.code == 13
    folder = run_folder(tmp_path / "runs")
    assert not (folder / "manifest.json").exists()
    records = [read_json(path) for path in (folder / "trials").glob("*.json")]
    assert {record["failure"] for record in records} == {"diverged"}
    # What is not a number is written in a way that every JSON reader takes.
    for text in (done.stdout, *(path.read_text() for path in (folder / "trials").glob("*.json"))):
        for line in text.splitlines() if text is done.stdout else [text]:
            json.loads(line, parse_constant=pytest.fail)
    assert read_json(folder / "failure.json")["exit_code"] == 13


def test_sigterm_ends_with_143_and_the_next_start_goes_on(tmp_path, clean_environment):
    """After SIGTERM in the search the same command reuses the finished trials and publishes."""
    command = [sys.executable, "-m", "job", "run", "--set", "search.max_epochs=9", "--run-id", "r1"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=clean_environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = 0
    for line in process.stdout:
        seen += json.loads(line)["event"] == "trial completed"
        if seen == 5:
            process.send_signal(signal.SIGTERM)
            break
    process.communicate(timeout=60)
    assert process.returncode == 143
    folder = run_folder(tmp_path / "runs")
    finished = {path.name: path.read_bytes() for path in (folder / "trials").glob("*.json")}
    assert len(finished) >= 5
    assert not (folder / "manifest.json").exists()
    done = subprocess.run(command, cwd=tmp_path, env=clean_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_manifest_holds(folder)
    assert {name: (folder / "trials" / name).read_bytes() for name in finished} == finished


def test_retraining_on_train_alone_says_which_model_it_published(job, tmp_path):
    """With `retrain.on: train` the best of the fresh models and the search's own is published, and named."""
    done = job("run", *QUICK, "--set", "retrain.on=train", "--set", "retrain.seeds=2", "--run-id", "r1")
    assert done.code == 0, done.stderr
    model = assert_manifest_holds(run_folder(tmp_path / "runs"))["model"]
    assert model["trained_on"] == "train"
    candidates = [event for event in done.events if event["event"] == "candidate"]
    assert len(candidates) == 3
    best = max(candidates, key=lambda event: event["score"])
    assert model["validation_score"] == best["score"]


def test_tensorboard_logs_are_stored_per_trial(job, tmp_path):
    """`logs.tensorboard: true` leaves one event file per trial under logs/tensorboard."""
    done = job("run", *QUICK, "--set", "logs.tensorboard=true", "--run-id", "r1")
    assert done.code == 0, done.stderr
    folder = run_folder(tmp_path / "runs")
    manifest = assert_manifest_holds(folder)
    trials = {path.stem for path in (folder / "trials").glob("*.json")}
    assert {path.name for path in (folder / "logs/tensorboard").iterdir()} == trials
    assert any(name.startswith("logs/tensorboard/") for name in manifest["artifacts"])
