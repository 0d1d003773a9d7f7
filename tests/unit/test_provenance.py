"""Whose object it is: whole records of another run are not believed, and a pin that is gone is no licence."""

import json
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import StateConflictError
from job.layout import INPUTS, SPEC, RunLayout, trial_record
from job.publish import Publication
from job.records import DataSummary, EngineChoices, Inputs, TrialRecord
from job.run_state import RunState
from job.sealing import seal, unseal
from job.spec import JobSpec
from job.spec.stored import read_stored, to_store
from job.store import LocalStore

OURS, OTHERS = "a" * 64, "b" * 64
SEEDED = JobSpec.model_validate({"seed": 1})


def record_of(number, provenance):
    return TrialRecord(
        trial_id=f"h0-b0-i00{number}-r0", hyperparameters={"units": 8}, iteration=0, bracket=0, index=number, rung=0,
        parent=None, from_epoch=0, to_epoch=1, status="completed", score=0.5, best_epoch=1, executions=(), seconds=1.0,
        worker="w", provenance=provenance,
    )  # fmt: skip


def inputs_of(provenance):
    return Inputs(
        data=DataSummary(source="x.npz", fingerprint="f", rows=3, splits={}),
        versions={},
        engine=EngineChoices(device="cpu", cpu="c", threads_per_trial=1, compile="auto", precision="float32"),
        provenance=provenance,
    )


@pytest.fixture
def start(tmp_path):
    """A start of the same run, with its pins."""

    def begin(provenance=OURS, spec=SEEDED):
        state = RunState(Publication(LocalStore(tmp_path), RunLayout("nightly", "one")))
        state.pin_spec(spec)
        state.pin_inputs(inputs_of(provenance))
        return state

    return begin


def put(state, record):
    layout = state.publication.layout
    state.publication.store.put(layout.key(trial_record(record.trial_id)), seal(record))


def remove(state, *pins, damage=None):
    for pin in pins:
        key = state.publication.layout.key(pin)
        if damage is None:
            state.publication.store.delete(key)
        else:
            state.publication.store.put(key, damage)


@pytest.mark.parametrize("foreign", [OTHERS, None])
def test_a_record_of_another_run_is_not_believed_and_makes_room(start, foreign):
    """Its trial runs again, and the new record takes its place."""
    state = start()
    put(state, record_of(0, foreign))
    put(state, record_of(1, OURS))
    assert set(start().trial_records()) == {"h0-b0-i001-r0"}
    ours = start()
    ours.store_record(ours.as_own(record_of(0, None)))
    assert set(start().trial_records()) == {"h0-b0-i000-r0", "h0-b0-i001-r0"}


@pytest.mark.parametrize("damage", [None, b"", b"{", b'{"data": 1}'])
@pytest.mark.parametrize("pins", [(SPEC,), (INPUTS,), (SPEC, INPUTS)])
def test_a_pin_that_is_gone_is_written_anew_where_records_prove_it(start, pins, damage):
    """Records say what run they are of: with all of them ours, the run goes on."""
    put(start(), record_of(0, OURS))
    remove(start(), *pins, damage=damage)
    assert set(start().trial_records()) == {"h0-b0-i000-r0"}


@pytest.mark.parametrize("damage", [None, b"{"])
@pytest.mark.parametrize("pin", [SPEC, INPUTS])
@pytest.mark.parametrize("foreign", [OTHERS, None])
def test_a_pin_that_is_gone_is_a_conflict_where_records_do_not(start, tmp_path, pin, damage, foreign):
    """Exit code 14, at every start, and the records stay."""
    put(start(), record_of(0, foreign))
    remove(start(), pin, damage=damage)
    for _ in range(2):
        with pytest.raises(StateConflictError, match="gone or damaged"):
            start()
    state = RunState(Publication(LocalStore(tmp_path), RunLayout("nightly", "one")))
    key = state.publication.layout.key(trial_record("h0-b0-i000-r0"))
    assert unseal(state.publication.store.get(key).data, "h0-b0-i000-r0").provenance == foreign


def test_a_run_that_an_earlier_version_began_believes_its_own_kind_alone(start):
    """Neither side has a provenance there; with its spec gone nothing tells what it was."""
    put(start(provenance=None), record_of(0, None))
    assert set(start(provenance=None).trial_records()) == {"h0-b0-i000-r0"}
    put(start(provenance=None), record_of(1, OTHERS))
    assert set(start(provenance=None).trial_records()) == {"h0-b0-i000-r0"}
    remove(start(provenance=None), SPEC)
    with pytest.raises(StateConflictError, match="gone or damaged"):
        start(provenance=None)


@given(st.sampled_from(["seed", "name", "search", "space"]), st.integers(2, 99))
def test_a_stored_spec_that_was_edited_is_none(field, value):
    """The hash is of what it says: a changed field with the hash kept is damage."""
    document = to_store(SEEDED)
    document[field] = {
        "seed": value,
        "name": f"n{value}",
        "search": {"max_epochs": value + 10},
        "space": {"units": value},
    }[field]
    stored = read_stored(json.dumps(document).encode())
    assert stored is None
    kept = read_stored(json.dumps(to_store(SEEDED)).encode())
    assert kept is not None
    assert kept.is_of(SEEDED)
    assert not kept.is_of(JobSpec.model_validate({"seed": value}))


class LaterSpec(JobSpec):
    """The spec of a later version, with a field more."""

    __test__: ClassVar[bool] = False
    novelty: int = 7


def test_a_field_that_a_later_version_adds_changes_no_hash():
    """Unless it is used: a run that an earlier version has begun is still of the same spec."""
    assert LaterSpec.model_validate({"seed": 1}).hash() == SEEDED.hash()
    assert LaterSpec.model_validate({"seed": 1, "novelty": 8}).hash() != SEEDED.hash()
    assert JobSpec.model_validate({"seed": 1, "limits": {"max_concurrent_trials": 1}}).hash() == SEEDED.hash()
