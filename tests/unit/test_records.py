"""Records: what is written stays readable, and is read back as it was."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from job.records import Execution, TrialRecord, artifact_of, best_first, hyperparameters_of

NAMES = st.text(min_size=1, max_size=10)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), FINITE, st.text(max_size=10))
METRICS = st.dictionaries(NAMES, st.floats(allow_nan=False), max_size=3)


def record(index=0, score=0.5, **fields):
    values = {
        "trial_id": f"h0-b2-i{index:03d}-r0",
        "hyperparameters": {},
        "iteration": 0,
        "bracket": 2,
        "index": index,
        "rung": 0,
        "parent": None,
        "from_epoch": 0,
        "to_epoch": 2,
        "status": "failed" if score is None else "completed",
        "score": score,
        "best_epoch": None,
        "executions": (Execution(epochs=()),),
        "seconds": 1.0,
        "worker": "w",
    }
    return TrialRecord(**values | fields)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.lists(METRICS, max_size=3), st.floats(allow_nan=False))
def test_a_record_comes_back_as_it_was(hyperparameters, epochs, score):
    """Values, their types and every bit of a float survive JSON, infinite metrics included."""
    original = record(hyperparameters=hyperparameters, executions=(Execution(epochs=tuple(epochs)),), score=score)
    for written in (original.to_json(), original.to_json_line()):
        again = TrialRecord.model_validate_json(written)
        assert again == original
        assert {name: type(value) for name, value in again.hyperparameters.items()} == {
            name: type(value) for name, value in hyperparameters.items()
        }
        assert written.endswith(b"\n")


def test_what_json_lacks_is_a_string():
    """NaN and infinities are written as strings, so that every JSON parser reads a record."""
    epochs = ({"a": math.nan, "b": math.inf, "c": -math.inf},)
    written = record(executions=(Execution(epochs=epochs),)).to_json()
    document = json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["executions"][0]["epochs"] == [{"a": "NaN", "b": "Infinity", "c": "-Infinity"}]
    (logs,) = TrialRecord.model_validate_json(written).executions[0].epochs
    assert math.isnan(logs["a"])
    assert (logs["b"], logs["c"]) == (math.inf, -math.inf)


def test_a_line_is_one_line():
    """A record in a table of lines holds no line break but its last character."""
    line = record(error="first\nsecond", score=None).to_json_line()
    assert line.count(b"\n") == 1
    assert json.loads(line)["error"] == "first\nsecond"


def test_fields_of_later_versions_are_ignored():
    """A reader accepts a field that it does not know, and misses none that it needs."""
    document = json.loads(record().to_json())
    assert TrialRecord.model_validate(document | {"energy": 1}) == record()
    del document["score"]
    with pytest.raises(ValidationError, match="score"):
        TrialRecord.model_validate(document)


def test_records_of_another_schema_are_refused():
    """A schema version that is not known is an error, not a guess."""
    with pytest.raises(ValidationError, match="schema_version"):
        TrialRecord.model_validate(json.loads(record().to_json()) | {"schema_version": 2})


def test_records_are_frozen():
    """A record cannot be changed."""
    with pytest.raises(ValidationError, match="frozen"):
        record().score = 1.0


@given(st.lists(st.one_of(st.none(), st.sampled_from([0.1, 0.5, 0.9])), max_size=8), st.sampled_from(["min", "max"]))
def test_best_first_orders_completed_trials(scores, direction):
    """Scores run from best to worst, failed trials are left out, and ties keep their order."""
    trials = [record(index, score) for index, score in enumerate(scores)]
    ordered = best_first(trials, direction)
    assert len(ordered) == sum(score is not None for score in scores)
    keys = [(-trial.score if direction == "max" else trial.score, trial.index) for trial in ordered]
    assert keys == sorted(keys)


def test_the_users_hyperparameters_are_without_bookkeeping():
    """KerasTuner's `tuner/…` keys are removed, and a name that only resembles them stays."""
    values = {"units": 32, "tuner/epochs": 2, "tuner/trial_id": "h0", "tuner": 1, "my/tuner/x": 2}
    assert hyperparameters_of(values) == {"units": 32, "tuner": 1, "my/tuner/x": 2}


def test_an_artifact_has_size_and_hash():
    """Size in bytes and the hex SHA-256 that sha256sum prints."""
    artifact = artifact_of(b"abc")
    assert artifact.size == 3
    assert artifact.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
