"""What a run pins and records, and what an earlier start of it left."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import LockedError, StateConflictError
from job.layout import INPUT_OBJECTS, INPUTS, LEASE, SPEC, RunLayout, trial_record
from job.lease import RunLease
from job.logs import configure
from job.publish import Publication
from job.records import (
    DataSummary,
    EngineChoices,
    Execution,
    Inputs,
    SourceObject,
    SplitSummary,
    TrialRecord,
    artifact_of,
)
from job.run_state import RunState
from job.sealing import BrokenRecordError, seal, unseal
from job.spec import JobSpec
from job.store import LocalStore

VERSIONS = {"keras": "3.15.1", "scikit-learn": "1.7.0"}


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


def inputs_of(data=None, versions=None, objects=None, **engine):
    choices = {"device": "cpu", "cpu": "Xeon", "threads_per_trial": 1, "compile": "auto", "precision": "float32"}
    return Inputs(
        data=data or data_of(),
        versions=versions or VERSIONS,
        objects=objects or {},
        engine=EngineChoices.model_validate(choices | engine),
    )


def warnings_of(capsys):
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [event for event in events if event["level"] == "warning"]


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


GARBAGE = [b"", b"not json", b"[]", b"null", b"{}", b"\xff", b'{"spec_hash": "f00', b"[" * 100_000]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_damaged_pin_is_written_anew(start, garbage, capsys):
    """A `spec.json` or `inputs.json` that cannot be read tells no conflict: it is replaced, counted, and warned of."""
    configure("info")
    state = start()
    for relative in (SPEC, INPUTS):
        state.publication.store.put(state.publication.layout.key(relative), garbage)
    state.pin_spec(spec_of())
    state.pin_inputs(inputs_of())
    assert stored(state, SPEC)["spec_hash"] == spec_of().hash()
    assert stored(state, INPUTS)["versions"] == VERSIONS
    assert set(state.publication.artifacts) == {SPEC, INPUTS}
    keys = [warning["key"] for warning in warnings_of(capsys)]
    assert [key.rpartition("/")[2] for key in keys] == [SPEC, INPUTS]


def test_other_data_is_a_conflict(start):
    """A run that started from other rows is not gone on with; the message says what differs, and in which object."""
    objects = {"source": SourceObject(location="s3://b/x.npz", size=10, etag="one")}
    start().pin_inputs(inputs_of(objects=objects))
    start().pin_inputs(inputs_of(objects=objects))
    other = {"source": SourceObject(location="s3://b/x.npz", size=10, etag="two")}
    with pytest.raises(StateConflictError) as raised:
        start().pin_inputs(inputs_of(data_of(fingerprint="beef"), objects=other))
    assert "another inputs.json: data.fingerprint, objects.source.etag differ" in raised.value.message


def test_an_object_that_was_written_again_with_the_same_rows_is_none(start):
    """What decides is the data's fingerprint: the same rows under another etag go on."""
    start().pin_inputs(inputs_of(objects={"source": SourceObject(location="s3://b/x.npz", size=10, etag="one")}))
    start().pin_inputs(inputs_of(objects={"source": SourceObject(location="s3://b/x.npz", size=10, etag="two")}))


def test_the_inputs_of_the_first_start_are_kept(start):
    """`inputs.json` is written once, and later starts read it: another scikit-learn changes no number."""
    first = inputs_of(objects={"source": SourceObject(location="s3://b/x.npz", size=10, version="v1")})
    assert start().pinned_inputs() is None
    start().pin_inputs(first)
    again = start()
    again.pin_inputs(inputs_of(versions=VERSIONS | {"scikit-learn": "1.8.0"}))
    assert again.pinned_inputs() == first


def test_a_version_that_decides_the_numbers_is_a_conflict(start):
    """Another Keras than at the start would give other bits: the message has both versions."""
    start().pin_inputs(inputs_of())
    with pytest.raises(StateConflictError, match=r"versions\.keras \(3\.15\.1 then, 3\.16\.0 now\) differ"):
        start().pin_inputs(inputs_of(versions=VERSIONS | {"keras": "3.16.0"}))


@pytest.mark.parametrize(
    ("field", "other"),
    [("device", "gpu"), ("threads_per_trial", 2), ("compile", "never"), ("precision", "mixed_float16")],
)
def test_another_choice_of_the_engine_is_a_conflict(start, field, other):
    """What decides the last bits must stay as it was when the run first started."""
    start().pin_inputs(inputs_of())
    with pytest.raises(StateConflictError, match=f"engine.{field} "):
        start().pin_inputs(inputs_of(**{field: other}))


def test_another_processor_is_warned_of(start, capsys):
    """The processor's name does not tell its instruction set: the run goes on, and says so."""
    configure("info")
    start().pin_inputs(inputs_of())
    start().pin_inputs(inputs_of(cpu="EPYC"))
    (warning,) = warnings_of(capsys)
    assert (warning["was"], warning["now"]) == ("Xeon", "EPYC")


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
    assert again.publication.artifacts == {trial_record(diverged.trial_id): artifact_of(seal(record))}


def test_a_record_carries_its_holders_token(start):
    """The fourth holder's records say so."""
    for _ in range(3):
        state = start()
        lease = RunLease(state.publication.store, state.publication.layout, memory=lambda: 0)
        lease.acquire()
        state.publication.hold(lease)
        lease.release()
    lease = RunLease(state.publication.store, state.publication.layout, memory=lambda: 0)
    lease.acquire()
    state.publication.hold(lease)
    state.store_record(state.as_own(record_of()))
    lease.release()
    (record,) = start().trial_records().values()
    assert record.token == 4


def test_another_answer_after_a_takeover_says_who_has_the_run(start):
    """A holder that was taken over without knowing is told so, not of a conflict, and its record is not kept."""
    state = start()
    with RunLease(state.publication.store, state.publication.layout, memory=lambda: 0) as lease:
        lease.acquire()
        state.publication.hold(lease)
        start().store_record(record_of(score=0.1))
        other = lease.current.model_copy(update={"token": lease.token + 1, "holder": "other"})
        state.publication.unfenced.put(state.publication.layout.key(LEASE), other.to_json())
        with pytest.raises(LockedError):
            state.store_record(record_of(score=0.2))


def damaged_records():
    """What a store may hold in place of a record, and what is said of it."""
    good = seal(record_of())
    document = json.loads(good)
    return [
        (b"", "no JSON"),
        (good[: len(good) // 2], "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "no trial record with a checksum"),
        (record_of().to_json(), "no trial record with a checksum"),
        (json.dumps(document | {"score": 0.99}).encode(), "checksum is not that of its content"),
        (json.dumps(document | {"checksum": "f00d"}).encode(), "checksum is not that of its content"),
        (seal(record_of(1)), "record of trial h0-b2-i001-r0"),
    ]


@pytest.mark.parametrize(("data", "reason"), damaged_records())
def test_a_damaged_record_is_reported_and_replaced(start, data, reason, capsys):
    """What is torn, tampered with or foreign is not known, not counted, warned of once, and replaced by the new one."""
    configure("info")
    state = start()
    relative = trial_record("h0-b2-i000-r0")
    state.publication.store.put(state.publication.layout.key(relative), data)
    state.store_record(record_of(2))
    again = start()
    assert again.trial_records() == {"h0-b2-i002-r0": record_of(2)}
    assert relative not in again.publication.artifacts
    (warning,) = warnings_of(capsys)
    assert reason in warning["reason"]
    assert warning["key"].endswith(relative)
    again.store_record(record_of())
    assert start().trial_records() == {"h0-b2-i000-r0": record_of(), "h0-b2-i002-r0": record_of(2)}
    assert again.publication.artifacts[relative] == artifact_of(seal(record_of()))


@given(st.data())
def test_no_damage_goes_unseen(data):
    """Whatever byte of a stored record is changed, the record is refused or says the same as before."""
    good = bytearray(seal(record_of()))
    position = data.draw(st.integers(0, len(good) - 1))
    good[position] = data.draw(st.integers(0, 255))
    with suppress(BrokenRecordError):
        assert unseal(bytes(good), "h0-b2-i000-r0") == record_of()


def test_a_record_that_was_written_although_the_answer_was_lost_is_ours(start):
    """Storing the same record again is no conflict: a failed request may have been carried out."""
    start().store_record(record_of())
    again = start()
    again.store_record(record_of())
    assert again.publication.artifacts == {trial_record("h0-b2-i000-r0"): artifact_of(seal(record_of()))}


def test_a_later_holder_of_the_lease_wins(start):
    """A record with a higher token means that this process was fenced off; one with a lower is replaced."""
    start().store_record(record_of(token=2, score=0.1))
    with pytest.raises(LockedError, match="taken run one over"):
        start().store_record(record_of(token=1, score=0.2))
    start().store_record(record_of(token=3, score=0.3))
    (record,) = start().trial_records().values()
    assert (record.token, record.score) == (3, 0.3)


def test_a_field_of_a_later_version_is_no_garbage(start):
    """A record with fields that this version does not know is read; its checksum covers them, too."""

    class LaterRecord(TrialRecord):
        energy: float = 3.5

    state = start()
    data = seal(LaterRecord.model_validate(record_of().model_dump()))
    assert json.loads(data)["energy"] == 3.5
    key = state.publication.layout.key(trial_record("h0-b2-i000-r0"))
    state.publication.store.put(key, data)
    assert state.trial_records() == {"h0-b2-i000-r0": record_of()}
    state.publication.store.put(key, data.replace(b"3.5", b"3.6"))
    assert state.trial_records() == {}


def test_variations_of_the_best_have_a_folder_of_their_own(start):
    """They are known to a resumed run like trials, and stand in the manifest, but not among the trials."""
    first = start()
    first.store_record(record_of())
    first.store_record(record_of(trial_id="s-units-0"))
    again = start()
    assert set(again.trial_records()) == {"h0-b2-i000-r0", "s-units-0"}
    assert {"trials/h0-b2-i000-r0.json", "sensitivity/s-units-0.json"} <= again.publication.artifacts.keys()


def test_inputs_of_many_objects_stay_small(start):
    """The data's objects are listed apart from 1,001 on, and known to the next start; the user's code is not."""
    objects = {f"source/{n:05d}.png": SourceObject(location=f"s3://b/{n}", size=n, etag="e") for n in range(1001)}
    code = {"model.source": SourceObject(location="model.py", size=1, sha256="c0de")}
    first = start()
    first.pin_inputs(inputs_of(objects=objects | code))
    assert stored(first, INPUTS)["objects"].keys() == code.keys()
    assert len(first.publication.store.get(first.publication.layout.key(INPUTS)).data) < 4000
    assert INPUT_OBJECTS in first.publication.artifacts
    again = start()
    assert again.pinned_inputs().objects == objects | code
    again.pin_inputs(inputs_of(objects=objects | code))
    assert again.publication.artifacts == first.publication.artifacts


@pytest.mark.parametrize("damage", [None, b"", b"{}", b'{"source/a": 1}'], ids=["gone", "empty", "other", "broken"])
def test_a_list_of_objects_that_is_damaged_pins_none(start, capsys, damage):
    """The data's fingerprint still tells whether they are the same: it is warned of, and goes on."""
    objects = {f"source/{n:05d}.png": SourceObject(location=f"s3://b/{n}", size=n) for n in range(1001)}
    state = start()
    state.pin_inputs(inputs_of(objects=objects))
    key = state.publication.layout.key(INPUT_OBJECTS)
    if damage is None:
        state.publication.store.delete(key)
    else:
        state.publication.store.put(key, damage)
    configure("info")
    assert start().pinned_inputs().objects == {}
    assert [event["event"] for event in warnings_of(capsys)] == [
        "list of the data's objects gone or damaged; all that are there now are read"
    ]
    start().pin_inputs(inputs_of(objects=objects))
