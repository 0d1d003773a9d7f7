"""The commands, their output and exit codes, and what they import."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import structlog

from job.cli import main
from job.errors import DataError
from job.spec import JobSpec
from job.spec.schema import spec_schema
from job.spec.validation import validate_document
from job.spec.yaml12 import load_yaml
from job.version import VERSION

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "keras_tuner", "boto3", "botocore", "numpy", "pyarrow", "sklearn")


@pytest.fixture(autouse=True)
def own_logging():
    """`run` configures the process's logging; what was there before comes back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def run_cli(capsys):
    """Run a command line; returns its exit code, standard output and standard error."""

    def run(*args, **environ):
        code = main(args, environ)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_validate_prints_a_spec_that_resolves_to_itself(run_cli):
    """The printed YAML and JSON are whole specs, equal to what was resolved."""
    arguments = (
        "--set",
        "space.units.max_value=128",
        "--set",
        "space.learning_rate=1e-3",
        "--set",
        "limits.timeout=2h",
    )
    code, text, _ = run_cli("validate", *arguments)
    assert code == 0
    spec = validate_document(load_yaml(text))
    assert (spec.space["units"].max_value, spec.space["learning_rate"].value) == (128, 0.001)
    assert spec.limits.timeout.total_seconds() == 7200
    code, text, _ = run_cli("validate", *arguments, "--format", "json")
    assert code == 0
    assert validate_document(json.loads(text)) == spec


def test_validate_reads_the_environment(run_cli):
    """JOB_ variables are part of what is validated."""
    _, text, _ = run_cli("validate", "--format", "json", JOB_SPEC="seed: 7", JOB_NAME="nightly")
    document = json.loads(text)
    assert (document["seed"], document["name"]) == (7, "nightly")


def test_variables_that_are_not_ours_are_warned_of_on_standard_error(run_cli):
    """A warning does not disturb standard output or the exit code."""
    code, text, error = run_cli("validate", JOB_OUTPT="x")
    assert code == 0
    assert load_yaml(text) == JobSpec().document()
    assert "warning: the variable JOB_OUTPT" in error
    assert "did you mean JOB_OUTPUT?" in error


def test_validate_can_check_access(run_cli, tmp_path):
    """--check-access tries the output; without it nothing is written."""
    output = tmp_path / "runs"
    assert run_cli("validate", "--set", f"output={output}")[0] == 0
    assert not output.exists()
    assert run_cli("validate", "--check-access", "--set", f"output={output}")[0] == 0
    (tmp_path / "file").touch()
    code, _, error = run_cli("validate", "--check-access", "--set", f"output={tmp_path}/file")
    assert code in {15, 20}
    assert "output: " in error
    assert "Traceback" not in error


def test_plan_prints_text_or_json(run_cli):
    """Off a terminal a plan is plain text; --format json is for programs."""
    code, text, _ = run_cli("plan", "--run-id", "night-1")
    assert code == 0
    assert "./runs/quickstart/runs/night-1/manifest.json" in text
    assert "\x1b" not in text
    _, text, _ = run_cli("plan", "--format", "json", "--set", "search.max_epochs=81", JOB_RUN_ID="night-2")
    document = json.loads(text)
    assert (document["search"]["trials"], document["search"]["epochs"]) == (211, 1767)
    assert document["run_id"] == "night-2"


def test_plan_draws_tables_on_a_terminal():
    """A person at a terminal sees the same rows in drawn tables; names in brackets are no markup."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "job", "plan", "--set", 'space.activation=["relu", "tanh"]']
    with subprocess.Popen(command, stdout=terminal, env=clean_environment(), cwd=ROOT) as process:
        os.close(terminal)
        shown = b"".join(iter(lambda: read_terminal(controller), b"")).decode()
    os.close(controller)
    assert process.returncode == 0
    without_style = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert shown != without_style
    assert "┃ bracket ┃ rung ┃ trials ┃" in without_style
    assert "relu, tanh" in without_style


def read_terminal(controller):
    """What a terminal shows next; nothing once its last program has gone."""
    try:
        return os.read(controller, 65536)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_plan_warns_on_standard_error(run_cli):
    """What the user may not have meant is said beside the plan."""
    code, _, error = run_cli("plan", "--set", "space.units=64")
    assert code == 0
    assert error.startswith("warning: the space has 3 points")


def test_plan_needs_no_data(run_cli):
    """A plan may be made where the data is not; validate wants to see it."""
    assert run_cli("plan", "--set", "data.source=/missing/x.npz")[0] == 0
    assert run_cli("validate", "--set", "data.source=/missing/x.npz")[0] == 10


def test_schema_prints_the_json_schema(run_cli):
    """The schema on standard output is the one of the code."""
    code, text, _ = run_cli("schema")
    assert code == 0
    assert json.loads(text) == spec_schema()


def test_version(run_cli):
    """The version is the package's, as an option and as a command, which adds those of its foundations."""
    assert run_cli("--version")[:2] == (0, f"tuning-job {VERSION}\n")
    code, text, _ = run_cli("version")
    assert code == 0
    assert f"tuning-job {VERSION}\n" in text
    assert f"keras-tuner {metadata.version('keras-tuner')}\n" in text


@pytest.mark.parametrize(
    "command", ["", "run", "validate", "plan", "schema", "version", "results", "runs", "verify", "prune"]
)
def test_every_command_has_help(run_cli, command):
    """--help describes the command and ends with 0."""
    code, text, _ = run_cli(*command.split(), "--help")
    assert code == 0
    assert f"Usage: tuning-job {command}".strip() in text


@pytest.mark.parametrize(
    "args",
    [
        ("bogus",),
        ("validate", "--bogus"),
        ("--bogus",),
        ("validate", "--set", "search.max_epochs"),
        ("plan", "--format", "xml"),
        ("results",),
        ("results", "gs://bucket/x"),
        ("results", "x", "--limit", "0"),
        ("validate", "--spec"),
    ],
)
def test_a_misused_command_line_ends_with_2(run_cli, args):
    """Usage errors are told apart from wrong specs, and have no traceback."""
    code, text, error = run_cli(*args)
    assert (code, text) == (2, "")
    assert "Error" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "args", [(), ("--set", "search.max_epochs=1"), ("--spec", "search: {max_epochs: 1}"), ("run",)]
)
def test_no_command_means_run(run_cli, args):
    """A bare start, or one with options alone, runs the job: here its spec is wrong, and the log says so."""
    code, text, error = run_cli(*args, JOB_SEARCH__MAX_EPOCHS="1")
    assert code == 10
    assert "search.max_epochs: expected at least search.factor" in error
    event = json.loads(text)
    assert (event["event"], event["error"], event["exit_code"]) == ("job failed", "SpecError", 10)


def test_a_wrong_run_id_is_refused(run_cli):
    """A run id must be one segment of an object's key."""
    code, _, error = run_cli("plan", "--run-id", "a/b")
    assert code == 10
    assert "--run-id: expected 1 to 128" in error


def test_output_is_a_shorthand_and_wins(run_cli):
    """`run --output` overrides the document's output, and is named as the origin."""
    code, _, error = run_cli("run", "--spec", "output: ./runs", "--set", "output=./b", "--output", "gs://bucket")
    assert code == 10
    assert "output: gs:// is not supported" in error
    assert "[from --output]" in error


def test_results_of_nothing_is_a_data_error(run_cli, tmp_path):
    """A place without a run ends with the data error's code and one message."""
    code, _, error = run_cli("results", str(tmp_path))
    assert code == DataError.exit_code
    assert "holds no run" in error
    assert "Traceback" not in error


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "NO_COLOR"))}


def run_process(*args, **environ):
    return subprocess.run(
        [sys.executable, *args],
        env=clean_environment() | environ,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


IN_S3 = ["--set", "data.source=s3://bucket/x.npz", "--set", "output=s3://bucket/runs"]


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["run", "--help"],
        ["validate"],
        ["validate", *IN_S3],
        ["validate", "--spec", "examples/tabular-classification/job.yaml"],
        ["validate", "--set", "seed=x"],
        ["plan", *IN_S3],
        ["schema"],
        ["version"],
    ],
)
def test_light_commands_import_nothing_heavy(args):
    """TensorFlow, KerasTuner, boto3, NumPy, pyarrow and scikit-learn stay out of commands that answer at once."""
    code = (
        "import sys; from job.cli import main; main(sys.argv[1:], {}); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    finished = run_process("-c", code, *args)
    assert finished.stderr.splitlines()[-1] == "[]"


def test_the_module_is_the_command():
    """`python -m job` passes its arguments, environment and exit code on."""
    finished = run_process("-m", "job", "validate", JOB_SEED="x")
    assert finished.returncode == 10
    assert "seed: expected a whole number" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_unforeseen_error_ends_with_1_and_its_traceback(monkeypatch, run_cli):
    """What nobody foresaw is not swallowed: the traceback is on standard error."""

    def broken():
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("job.spec.schema.spec_schema", broken)
    code, _, error = run_cli("schema")
    assert code == 1
    assert "RuntimeError: nobody foresaw this" in error
    assert "Traceback" in error


def test_the_generated_pages_are_up_to_date():
    """`docs/generate.py --check` finds no difference."""
    finished = run_process("docs/generate.py", "--check")
    assert (finished.returncode, finished.stdout) == (0, "")
