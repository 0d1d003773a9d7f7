"""The termination message: what it says of each end, how long it gets, and that it never fails."""

import json
import math
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.cli import main
from job.errors import ERRORS_WITH_EXIT_CODES, DataError, LockedError, Preempted, Problem, SpecError, StoreError
from job.termination import LIMIT, Ending, termination_message, write_message

KEYS = {
    "exit_code",
    "status",
    "reason",
    "advice",
    "run_id",
    "run_uri",
    "manifest",
    "objective",
    "best_score",
    "test",
    "skipped",
    "seconds",
}


def ended(**known):
    return Ending(run_id="night-1", run_uri="s3://models/tuning/digits/runs/night-1", **known)


def told(ending, error=None):
    return json.loads(ending.message(error))


def make(error):
    return SpecError([Problem("seed", "expected an integer")]) if error is SpecError else error("a reason")


@pytest.mark.parametrize("error", ERRORS_WITH_EXIT_CODES)
def test_each_error_has_its_code_and_status(error):
    """A locked run and an interrupted one are told apart from what failed."""
    message = told(ended(), make(error))
    statuses = {"LockedError": "locked", "InterruptedByUser": "interrupted", "Preempted": "interrupted"}
    assert message["exit_code"] == error.exit_code
    assert message["status"] == statuses.get(error.__name__, "failed")
    assert message["reason"]
    assert set(message) == KEYS


def test_success_has_the_result_and_no_reason():
    """A published run's message has its scores; one that was published already says that nothing was trained."""
    result = {"objective": "val_accuracy", "best_score": 0.98, "test": {"accuracy": 0.97}, "manifest": "s3://m"}
    message = told(ended(is_new=True, **result))
    assert (message["exit_code"], message["status"], message["skipped"]) == (0, "published", False)
    assert message["reason"] is None
    assert {name: message[name] for name in result} == result
    assert message["seconds"] >= 0
    message = told(ended(skipped=True, **result))
    assert (message["exit_code"], message["status"], message["skipped"]) == (0, "unchanged", True)


def test_what_is_wrong_with_a_spec_is_one_line():
    """All problems are told, with nothing for a terminal in between."""
    error = SpecError([Problem("seed", "expected an integer"), Problem("name", "expected a name")], advice="mend it")
    message = told(ended(), error)
    assert message["reason"] == "seed: expected an integer; name: expected a name"
    assert message["advice"] == "mend it"


def test_an_unforeseen_error_names_its_class():
    """Nobody wrote a message for it: its class is half of what is known."""
    message = told(ended(), ZeroDivisionError("division by zero"))
    assert (message["exit_code"], message["status"]) == (1, "failed")
    assert message["reason"] == "ZeroDivisionError: division by zero"


def test_secrets_are_not_told():
    """Users in URLs and signatures are redacted before anything is cut."""
    secret = "s3cr3t" + "x" * 3000
    error = StoreError("y" * 3800 + f" https://user:{secret}@host/x?X-Amz-Signature={secret}")
    message = told(ended(manifest=f"https://user:{secret}@host/manifest.json"), error)
    assert "s3cr3t" not in json.dumps(message)
    assert message["manifest"] == "https://<redacted>@host/manifest.json"


def test_scores_that_are_no_numbers_stay_json():
    """NaN is a string, as in the records."""
    message = told(ended(is_new=True, test={"accuracy": math.nan}, best_score=math.inf))
    assert (message["test"], message["best_score"]) == ({"accuracy": "NaN"}, "Infinity")


@given(
    reason=st.text(max_size=6000),
    advice=st.none() | st.text(max_size=6000),
    url=st.text(max_size=3000),
    metrics=st.dictionaries(st.text(max_size=60), st.floats(), max_size=40),
    multiple=st.sampled_from([1, 7, 400]),
)
def test_a_message_is_json_and_fits(reason, advice, url, metrics, multiple):
    """Whatever there is to say, the message is whole JSON in UTF-8 within the limit, and keeps its code."""
    ending = Ending(run_id=url, run_uri=url * multiple, manifest=url, objective=reason, test=metrics)
    data = ending.message(DataError(reason * multiple, advice=advice))
    assert len(data) <= LIMIT
    message = json.loads(data.decode())
    assert set(message) == KEYS
    assert message["exit_code"] == DataError.exit_code


def test_the_reason_gives_way_first_and_says_so():
    """A long reason is cut, not the rest; what was cut ends in an ellipsis and uses all the room there is."""
    message = ended().message(DataError("ä" * 5000, advice="look at the file"))
    assert LIMIT - 2 < len(message) <= LIMIT
    assert json.loads(message)["reason"].endswith("ä…")
    assert json.loads(message)["advice"] == "look at the file"


def test_a_url_is_left_out_rather_than_cut():
    """Half a URL leads nowhere."""
    ending = Ending(run_id="night-1", run_uri="s3://b/" + "x" * 5000, manifest="s3://b/" + "y" * 100)
    message = told(ending)
    assert (message["run_uri"], message["run_id"]) == (None, "night-1")


def test_the_block_writes_how_it_ends(tmp_path):
    """The error goes on after it is written."""
    file = tmp_path / "message"
    with pytest.raises(LockedError), termination_message(str(file), ended()):
        raise LockedError("held by another process")
    assert json.loads(file.read_text())["status"] == "locked"
    with termination_message(str(file), ended(is_new=True)):
        pass
    assert json.loads(file.read_text())["status"] == "published"


def test_a_message_that_cannot_be_written_is_no_error(tmp_path):
    """Neither a missing folder nor a folder in the file's place matters."""
    for place in (tmp_path / "missing" / "message", tmp_path):
        write_message(str(place), ended(), None)
    assert list(tmp_path.iterdir()) == []


def test_a_message_replaces_a_longer_one(tmp_path):
    """The file is Kubernetes' and is written in place, with nothing left of what it held."""
    file = tmp_path / "message"
    file.write_text("x" * 4096)
    write_message(str(file), ended(), None)
    assert json.loads(file.read_text())["run_id"] == "night-1"


@pytest.mark.parametrize(
    "end",
    [
        "os.kill(os.getpid(), signal.SIGTERM)",
        "time.sleep(60)",
    ],
    ids=["a second signal", "the grace period"],
)
def test_an_abrupt_end_is_written_too(tmp_path, end):
    """The process is gone at once, and the message is there all the same."""
    file = tmp_path / "message"
    program = f"""
        import os, signal, time
        from job.errors import Preempted
        from job.signals import grace_period, signals_as_errors
        from job.termination import Ending, termination_message

        with termination_message({str(file)!r}, Ending(run_id="night-1")), grace_period(0.2), signals_as_errors():
            try:
                with signals_as_errors():
                    os.kill(os.getpid(), signal.SIGTERM)
            except Preempted:
                {end}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=50, check=False)
    message = json.loads(file.read_text())
    assert done.returncode == message["exit_code"] == Preempted.exit_code
    assert (message["status"], message["run_id"]) == ("interrupted", "night-1")


def test_a_wrong_command_line_is_told(tmp_path, capsys):
    """A pod with a mistyped argument says so in its status."""
    file = tmp_path / "message"
    assert main(["run", "--no-such-option"], {"JOB_TERMINATION_LOG": str(file)}) == 2
    assert "--no-such-option" in capsys.readouterr().err
    message = json.loads(file.read_text())
    assert (message["exit_code"], message["status"]) == (2, "failed")
    assert "command line" in message["reason"]


def test_a_wrong_spec_is_told(tmp_path, capsys):
    """What is wrong before any run is known is in the message."""
    file = tmp_path / "message"
    environ = {"JOB_TERMINATION_LOG": str(file), "JOB_SEARCH__MAX_EPOCHS": "none"}
    assert main(["run"], environ) == SpecError.exit_code
    capsys.readouterr()
    message = json.loads(file.read_text())
    assert message["exit_code"] == SpecError.exit_code
    assert message["reason"].startswith("search.max_epochs: ")
    assert message["run_id"] is None


def test_commands_that_only_look_leave_the_message_alone(tmp_path, capsys):
    """`validate` in the same container says nothing of a run."""
    file = tmp_path / "message"
    assert main(["validate"], {"JOB_TERMINATION_LOG": str(file)}) == 0
    capsys.readouterr()
    assert not file.exists()
