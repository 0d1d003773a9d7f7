"""The three commands against a real S3 server, on a terminal, and what they import."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "keras_tuner", "boto3", "botocore", "numpy", "sklearn")


def test_the_commands_work_in_a_bucket(s3_runs, s3_admin, bucket, run_cli):
    """Runs in S3 are listed, verified, found damaged, and pruned to the last object."""
    for night in range(1, 4):
        s3_runs.publish(f"n{night}", night * 10)
    s3_runs.fail(s3_runs.start("n0", 1), 2)
    code, text, _ = run_cli("runs", s3_runs.store.url, "--format", "json")
    shown = [(run["name"], run["run_id"], run["state"], run["newest"]) for run in json.loads(text)["runs"]]
    assert (code, shown) == (
        0,
        [
            ("nightly", "n3", "published", True),
            ("nightly", "n2", "published", False),
            ("nightly", "n1", "published", False),
            ("nightly", "n0", "failed", False),
        ],
    )
    assert run_cli("verify", s3_runs.url)[0] == 0
    s3_admin.put_object(Bucket=bucket, Key="tuning/nightly/runs/n2/model/model.keras", Body=b"n3" * 1000)
    code, _, error = run_cli("verify", f"{s3_runs.url}/runs/n2")
    assert code == 12
    assert "run n2 is damaged: model/model.keras: its content has changed" in error
    s3_runs.crown("n2")
    code, text, _ = run_cli("prune", s3_runs.url, "--keep", "1")
    assert (code, text.splitlines()[-1].partition(",")[0]) == (0, "deleted 2 runs")
    left = s3_admin.list_objects_v2(Bucket=bucket)["Contents"]
    assert {entry["Key"].split("/")[3] for entry in left if "/runs/" in entry["Key"]} == {"n2", "n3"}


def test_a_missing_bucket_is_refused_access(s3_environment, run_cli):
    """A bucket that is not there ends with 15 and one message."""
    assert s3_environment["AWS_REGION"]
    for command in (("runs",), ("verify",), ("prune", "--keep", "1")):
        code, _, error = run_cli(*command, "s3://no-such-bucket-here/nightly")
        assert code == 15
        assert "no-such-bucket-here" in error
        assert "Traceback" not in error


@pytest.fixture
def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "NO_COLOR"))}


@pytest.mark.parametrize("command", [("runs",), ("verify",), ("prune", "--keep", "1")])
def test_the_commands_import_nothing_heavy(runs, command, environment):
    """TensorFlow, NumPy and scikit-learn stay out, and boto3 where the runs are in a directory."""
    runs.publish("one", 1)
    runs.publish("two", 2)
    code = (
        "import sys; from job.cli import main; code = main(sys.argv[1:], {}); "
        f"print(code, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, *command, runs.url],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert finished.stderr.splitlines()[-1] == "0 []"


def on_terminal(columns, environment, *args):
    """What a command shows on a terminal of so many columns, without styles."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "job", *args]
    wide = environment | {"COLUMNS": str(columns)}
    with subprocess.Popen(command, stdout=terminal, env=wide, cwd=ROOT) as process:
        os.close(terminal)
        shown = b"".join(iter(lambda: read_terminal(controller), b"")).decode()
    os.close(controller)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_runs_are_a_drawn_table_on_a_wide_terminal(runs, environment):
    """A person at a terminal sees a table; brackets in a run id are no markup."""
    runs.publish("[red]one", 1)
    shown = on_terminal(200, environment, "runs", runs.url)
    assert "┃ name" in shown
    assert "[red]one" in shown


def test_run_ids_are_whole_on_a_narrow_terminal(runs, environment):
    """Where a table does not fit it is aligned text: ids are not folded."""
    runs.publish("20260131T040000Z-4f2a", 1)
    shown = on_terminal(60, environment, "runs", runs.url)
    assert "┃" not in shown
    assert "20260131T040000Z-4f2a" in shown


def read_terminal(controller):
    """What a terminal shows next; nothing once its last program has gone."""
    try:
        return os.read(controller, 65536)
    except OSError:  # Linux's way to say that the other end is closed
        return b""
