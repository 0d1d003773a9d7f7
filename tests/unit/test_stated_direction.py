"""Which way is better in a run that is not published, by its stored spec and trial records."""

import json

import pytest

from job.records import Execution, TrialRecord
from job.report.results import stated_direction
from job.spec import JobSpec
from job.store import open_store


def record(**logs):
    """A trial that logged this in its only epoch."""
    return TrialRecord(
        trial_id="t-r0",
        hyperparameters={},
        iteration=0,
        bracket=0,
        index=0,
        rung=0,
        parent=None,
        from_epoch=0,
        to_epoch=1,
        status="completed",
        score=1.0,
        best_epoch=1,
        executions=(Execution(epochs=(logs,)),),
        failure=None,
        error=None,
        seconds=1.0,
        worker="w",
    )


@pytest.mark.parametrize(
    ("document", "logs", "direction"),
    [
        ({}, None, "max"),
        ({"search": {"objective": "val_loss"}}, None, "min"),
        ({"data": {"source": "rows.npz"}, "search": {"objective": "val_rmse"}}, None, "min"),
        ({"search": {"objective": "val_f1_score"}}, None, "max"),
        ({"search": {"objective": {"name": "val_loss", "direction": "min"}}}, None, "min"),
        ({"data": {"source": "boston_housing"}}, None, "min"),
        ({"data": {"source": "rows.npz", "task": "regression"}}, None, "min"),
        ({"data": {"source": "rows.npz"}}, {"val_accuracy": 0.5, "val_loss": 1.0}, "max"),
        ({"data": {"source": "rows.npz"}}, {"val_rmse": 3.0, "val_loss": 1.0}, "min"),
        ({"data": {"source": "rows.npz"}}, None, "max"),
    ],
)
def test_the_direction_follows_the_objective_or_the_task(tmp_path, document, logs, direction):
    """Where neither the spec nor the name of the data tells the task, what trials logged does."""
    store = open_store(str(tmp_path))
    store.put("spec.json", json.dumps(JobSpec.model_validate(document).document()).encode())
    if logs is not None:
        store.put("trials/t-r0.json", record(**logs).to_json_line())
    assert stated_direction(store, "") == direction


@pytest.mark.parametrize("spec", [b"{", b"[]", b'{"search": {}}', b'{"data": 3, "search": {"objective": "val_loss"}}'])
def test_what_is_no_spec_states_nothing(tmp_path, spec):
    """A torn or foreign object is another command's affair."""
    store = open_store(str(tmp_path))
    store.put("spec.json", spec)
    assert stated_direction(store, "") == "max"


def test_a_spec_of_another_version_still_states_it(tmp_path):
    """Fields that this version does not know are left alone."""
    store = open_store(str(tmp_path))
    store.put("spec.json", b'{"data": {"source": "x.npz", "other": 1}, "search": {"objective": "val_loss"}}')
    assert stated_direction(store, "") == "min"
