"""What a run pins and records, and what an earlier start of it left."""

import json
import math

import pytest

from job.errors import LockedError, StateConflictError
from job.layout import INPUTS, LEASE, SPEC, RunLayout, trial_record
from job.lease import RunLease
from job.publish import Publication
from job.records import DataSummary, Execution, SplitSummary, TrialRecord, artifact_of
from job.run_state import RunState
from job.spec import JobSpec
from job.store import LocalStore

VERSIONS = {"keras": "3.15.1"}


@pytest.fixture
def start(tmp_path):
    """Another start of the same run."""

    def state():
        return RunState(Publication(LocalStore(tmp_path), RunLayout("nightly", "one")))

    return state


def spec_of(**sections):
    return JobSpec.model_validate({"name": "nightly"} | sections)


def data_of(fingerprint="f00d", rows=10):
    return DataSummary(source="digits", fingerprint=fingerprint, rows=rows, splits={"test": SplitSummary(rows=rows)})


def record_of(index=0, **fields):
    values = {
        "trial_id": f"h0-b2-i{index:03d}-r0",
        "hyperparameters": {"units": 32, "learning_rate": 1e-4},
        "iteration": 0,
        "bracket": 2,
        "index": index,
        "rung": 0,
        "parent": None,
        "from_epoch": 0,
        "to_epoch": 2,
        "status": "completed",
        "score": 0.1 + 0.2,
        "best_epoch": 2,
        "executions": (Execution(epochs=({"val_accuracy": 0.1}, {"val_accuracy": 0.1 + 0.2})),),
        "seconds": 1.5,
        "worker": "host:1",
    }
    return TrialRecord(**values | fields)


def stored(state, relative):
    return json.loads(state.publication.store.get(state.publication.layout.key(relative)).data)


def test_the_spec_is_pinned_with_its_hash(start):
    """`spec.json` holds the resolved spec and its hash, and reads back to an equal spec."""
    state = start()
    spec = spec_of(search={"max_epochs": 27})
    state.pin_spec(spec)
    document = stored(state, SPEC)
    assert document.pop("spec_hash") == spec.hash()
    assert JobSpec.model_validate_json(json.dumps(document)) == spec


def test_the_same_spec_goes_on(start):
    """A second start with an equal spec finds its own, and counts it for the manifest."""
    start().pin_spec(spec_of())
    again = start()
    again.pin_spec(spec_of())
    data = again.publication.store.get(again.publication.layout.key(SPEC)).data
    assert again.publication.artifacts == {SPEC: artifact_of(data)}


def test_another_spec_is_a_conflict_that_names_the_fields(start):
    """A run id with another spec is refused, and the message has the paths of all fields that differ, and no others."""
    start().pin_spec(spec_of(seed=1, space={"units": [8, 16]}))
    with pytest.raises(StateConflictError) as raised:
        start().pin_spec(spec_of(seed=2, search={"max_epochs": 27}, space={"units": [8, 32]}))
    message = raised.value.message
    assert "run one exists already" in message
    assert "search.max_epochs, seed, space.units.values differ" in message
    assert raised.value.advice


def test_where_the_output_goes_and_how_it_is_logged_may_change(start):
    """Another log level or output does not make it another search: the run goes on."""
    start().pin_spec(spec_of(output="./runs", logs={"level": "info"}))
    start().pin_spec(spec_of(output="./elsewhere", logs={"level": "debug"}))


@pytest.mark.parametrize("garbage", [b"", b"not json", b"[]", b"null", b"{}", b"\xff"])
def test_a_pinned_spec_that_cannot_be_read_is_a_conflict(start, garbage):
    """A `spec.json` that is not ours is never taken for this run's."""
    state = start()
    state.publication.store.put(state.publication.layout.key(SPEC), garbage)
    with pytest.raises(StateConflictError, match=r"another spec\.json"):
        state.pin_spec(spec_of())


def test_other_data_is_a_conflict(start):
    """A run that started from other rows is not gone on with; the message says what differs."""
    start().pin_inputs(data_of(), VERSIONS)
    start().pin_inputs(data_of(), VERSIONS)
    with pytest.raises(StateConflictError, match=r"another inputs\.json: data\.fingerprint differ"):
        start().pin_inputs(data_of(fingerprint="beef"), VERSIONS)


def test_the_versions_of_the_first_start_are_kept(start):
    """`inputs.json` is written once: a start with newer packages goes on, and the first one's versions stay."""
    start().pin_inputs(data_of(), VERSIONS)
    again = start()
    again.pin_inputs(data_of(), {"keras": "3.16.0"})
    assert stored(again, INPUTS)["versions"] == VERSIONS


def test_records_come_back_equal(start):
    """What was stored of each trial is what a later start knows, to the last bit, failed trials and NaN included."""
    records = [
        record_of(0),
        record_of(1, status="failed", score=None, best_epoch=None, failure="diverged", error="loss is nan", attempts=2),
    ]
    first = start()
    for record in records:
        first.store_record(record)
    again = start()
    assert again.trial_records() == {record.trial_id: record for record in records}
    names = {trial_record(record.trial_id) for record in records}
    assert set(first.publication.artifacts) == set(again.publication.artifacts) == names


def test_not_a_number_survives(start):
    """A diverged epoch's NaN and infinity are still that when the record is read again."""
    epochs = ({"loss": float("inf"), "val_loss": float("nan")},)
    start().store_record(record_of(status="failed", score=None, executions=(Execution(epochs=epochs),)))
    (record,) = start().trial_records().values()
    logs = record.executions[0].epochs[0]
    assert logs["loss"] == float("inf")
    assert math.isnan(logs["val_loss"])


def test_a_new_run_knows_no_trials(start):
    """Without records there is nothing to replay."""
    assert start().trial_records() == {}


def test_records_of_other_runs_are_not_known(start, tmp_path):
    """Only the run's own records count, also where another run's id begins with this one's."""
    other = RunState(Publication(LocalStore(tmp_path), RunLayout("nightly", "one-more")))
    other.store_record(record_of(5))
    assert start().trial_records() == {}


def test_a_trial_is_recorded_once(start):
    """Another answer for a trial that has one means that another process works on the run; the first record stays."""
    start().store_record(record_of(score=0.1))
    with pytest.raises(StateConflictError, match="another process works on this run"):
        start().store_record(record_of(score=0.2))
    (record,) = start().trial_records().values()
    assert record.score == 0.1


@pytest.mark.parametrize("garbage", [b"", b"{}"])
def test_what_is_in_a_records_place_and_is_none_is_a_conflict(start, garbage):
    """An object that is no record is not taken for an equal one."""
    state = start()
    state.publication.store.put(state.publication.layout.key(trial_record("h0-b2-i000-r0")), garbage)
    with pytest.raises(StateConflictError):
        state.store_record(record_of())


def test_the_same_answer_twice_is_no_conflict(start):
    """A record that differs in time, place, attempts and token alone, NaN and all, stands for both."""
    epochs = ({"loss": float("inf"), "val_loss": float("nan")},)
    diverged = record_of(status="failed", score=None, executions=(Execution(epochs=epochs),))
    start().store_record(diverged)
    again = start()
    again.store_record(diverged.model_copy(update={"seconds": 9.0, "worker": "b:2", "attempts": 2, "token": 3}))
    (record,) = start().trial_records().values()
    assert (record.seconds, record.token) == (1.5, 0)
    assert set(again.publication.artifacts) == {trial_record(diverged.trial_id)}
    assert again.publication.artifacts == {trial_record(diverged.trial_id): artifact_of(record.to_json())}


def test_a_record_carries_its_holders_token(start):
    """The third holder's records say so."""
    for _ in range(3):
        state = start()
        lease = state.publication.lease = RunLease(state.publication.store, state.publication.layout, memory=lambda: 0)
        lease.acquire()
        lease.release()
    state.store_record(record_of())
    (record,) = start().trial_records().values()
    assert record.token == 3


def test_another_answer_after_a_takeover_says_who_has_the_run(start):
    """A holder that was taken over without knowing is told so, not of a conflict, and its record is not kept."""
    state = start()
    with RunLease(state.publication.store, state.publication.layout, memory=lambda: 0) as lease:
        lease.acquire()
        state.publication.lease = lease
        start().store_record(record_of(score=0.1))
        state.publication.store.delete(state.publication.layout.key(LEASE))
        with pytest.raises(LockedError):
            state.store_record(record_of(score=0.2))


@pytest.mark.parametrize("garbage", [b"", b"not json", b"[]", b"{}", b"\xff", b'{"trial_id": "h0-b2-i000-r0"}'])
def test_garbage_among_the_records_is_a_conflict(start, garbage):
    """An object under `trials/` that is no record is named, with what to do about it."""
    state = start()
    state.store_record(record_of(1))
    state.publication.store.put(state.publication.layout.key(trial_record("h0-b2-i000-r0")), garbage)
    with pytest.raises(StateConflictError, match=r"trials/h0-b2-i000-r0\.json of run one is no trial record") as raised:
        start().trial_records()
    assert "delete it" in raised.value.advice


def test_a_field_of_a_later_version_is_no_garbage(start):
    """A record with fields that this version does not know is read."""
    state = start()
    document = json.loads(record_of().to_json()) | {"energy": 3.5}
    key = state.publication.layout.key(trial_record("h0-b2-i000-r0"))
    state.publication.store.put(key, json.dumps(document).encode())
    assert state.trial_records() == {"h0-b2-i000-r0": record_of()}
