"""Which run a job without a run id goes on with."""

import json
from datetime import UTC, datetime

import pytest

from job.errors import DataError, LockedError, StateConflictError
from job.layout import ATTEMPTS_FOLDER, CHECKPOINTS_FOLDER, FAILURE, LEASE, MANIFEST, SPEC, RunLayout
from job.lease import RunLease
from job.publish import Publication
from job.records import Failure, Lease
from job.run_choice import already_published, new_run_id, open_run, unfinished_runs
from job.run_state import RunState
from job.spec import JobSpec
from job.store import LocalStore

SPEC_OF = JobSpec.model_validate({"name": "nightly"})
OLD, MIDDLE, NEW = (f"202601{day}T030000Z-00aa" for day in (10, 20, 30))


class Counting(LocalStore):
    """A local store that counts what it is asked for."""

    def __init__(self, root):
        super().__init__(root)
        self.asked = 0

    def get(self, key):
        self.asked += 1
        return super().get(key)

    def stat(self, key):
        self.asked += 1
        return super().stat(key)

    def list(self, prefix=""):
        assert prefix.endswith((f"/{CHECKPOINTS_FOLDER}", f"/{ATTEMPTS_FOLDER}")), f"{prefix} was listed whole"
        return super().list(prefix)


@pytest.fixture
def store(tmp_path):
    return Counting(tmp_path)


def begin(store, run_id, spec=SPEC_OF):
    """A run that was started with this spec."""
    RunState(Publication(store, RunLayout(spec.name, run_id))).pin_spec(spec)


def leave_failure(store, run_id, *, permanent):
    failure = Failure(
        name="nightly",
        run_id=run_id,
        exit_code=12 if permanent else 1,
        error="DataError",
        reason="broken",
        advice=None,
        permanent=permanent,
        failed_at=datetime.now(UTC),
    )
    store.put(RunLayout("nightly", run_id).key(FAILURE), failure.to_json())


def test_the_newest_unfinished_run_comes_first(store):
    """Of several unfinished runs the newest is the first to go on with."""
    for run_id in (MIDDLE, NEW, OLD):
        begin(store, run_id)
    assert list(unfinished_runs(store, SPEC_OF)) == [NEW, MIDDLE, OLD]


def test_a_made_id_is_found_again(store):
    """What a job without a run id makes is what the next one looks for."""
    run_id = new_run_id()
    begin(store, run_id)
    assert list(unfinished_runs(store, SPEC_OF)) == [run_id]


def test_a_run_with_an_id_of_somebodys_own_is_left_to_them(store):
    """A run whose id was given goes on under that id alone."""
    begin(store, "nightly-1")
    assert list(unfinished_runs(store, SPEC_OF)) == []


def test_published_and_failed_runs_are_finished(store):
    """Runs with a manifest, or with a failure that would come again, are over; one that failed by chance is not."""
    for run_id in (OLD, MIDDLE, NEW):
        begin(store, run_id)
    store.put(RunLayout("nightly", NEW).key(MANIFEST), b"{}")
    leave_failure(store, MIDDLE, permanent=True)
    leave_failure(store, OLD, permanent=False)
    assert list(unfinished_runs(store, SPEC_OF)) == [OLD]


@pytest.mark.parametrize("garbage", [b"", b"[]", b"{}", b"\xff"])
def test_runs_of_another_spec_are_left_alone(store, garbage):
    """Another spec's run, one without a spec and one with a broken one are none to go on with."""
    begin(store, OLD, SPEC_OF.model_copy(update={"seed": 9}))
    store.put(RunLayout("nightly", MIDDLE).key(SPEC), garbage)
    store.put(RunLayout("nightly", NEW).key("summary.md"), b"")
    assert list(unfinished_runs(store, SPEC_OF)) == []


def test_looking_is_cheap_however_many_runs_there_are(store):
    """Nothing is listed whole, and of a hundred runs the newest ten are looked at."""
    for number in range(100):
        begin(store, f"20260101T{number:06d}Z-0000")
    store.asked = 0
    assert len(list(unfinished_runs(store, SPEC_OF))) == 10
    assert store.asked <= 30


def test_opening_a_new_run_makes_it(store):
    """A run that is opened has its spec pinned and its lease held, before anything else is written."""
    publication = open_run(SPEC_OF, store, "one")
    with publication.lease as lease:
        assert lease.token == 1
        assert set(publication.artifacts) == {SPEC}
        with pytest.raises(LockedError):
            open_run(SPEC_OF, store, "one")


def test_a_run_of_another_spec_is_not_touched(store, tmp_path):
    """The wrong spec for a run ends before the lease: nothing of the run changes."""
    begin(store, "one")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "nightly").rglob("*")}
    with pytest.raises(StateConflictError):
        open_run(SPEC_OF.model_copy(update={"seed": 9}), store, "one")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "nightly").rglob("*") if path.is_file()}
    assert after == {path: before[path] for path in after}


def manifest_for(layout):
    """As much of a manifest as is looked at here."""
    document = {
        "name": layout.name,
        "run_id": layout.run_id,
        "spec": {},
        "spec_hash": SPEC_OF.hash(),
        "data": {"source": "digits", "fingerprint": "f", "rows": 1, "splits": {}},
        "model": {"origin": "search", "trained_on": "train", "seed": 0, "epochs": 1, "validation_score": None},
        "best_hyperparameters": {},
        "scores": {"validation": {}, "test": {}},
        "search": {
            "algorithm": "grid",
            "objective": "val_loss",
            "direction": "min",
            "planned_trials": 1,
            "planned_epochs": 1,
            "trials": 1,
            "failed_trials": 0,
            "epochs": 1,
        },
        "signature": {"inputs": [], "outputs": [], "class_names": None, "output_kind": "values"},
        "lineage": {
            "versions": {},
            "git_commit": None,
            "image_digest": None,
            "host": "h",
            "cpu": None,
            "device": "d",
            "seed": 0,
        },
        "started_at": "2026-01-31T03:00:00Z",
        "ended_at": "2026-01-31T03:10:00Z",
        "seconds": {},
        "artifacts": {},
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize("is_held", [False, True])
def test_a_run_published_meanwhile_is_not_opened(store, is_held):
    """A manifest that appeared before or while the lease was asked for: nothing to do, and the lease is free."""
    layout = RunLayout("nightly", "one")
    begin(store, "one")
    holder = RunLease(store, layout, memory=lambda: 0)
    if is_held:
        holder.acquire()
    store.put(layout.key(MANIFEST), manifest_for(layout))
    assert open_run(SPEC_OF, store, "one") is None
    holder.release()
    assert Lease.model_validate_json(store.get(layout.key(LEASE)).data).state == "released"


def test_what_a_kill_right_after_the_manifest_left_is_removed(store):
    """The next start of a published run deletes its checkpoints, and nothing else."""
    publication = Publication(store, RunLayout("nightly", "one"))
    for name in (f"{CHECKPOINTS_FOLDER}h0-b0-i000-r0.last.npz", f"{CHECKPOINTS_FOLDER}retrain-0.last.npz", SPEC):
        store.put(publication.layout.key(name), b"content")
    store.put(publication.layout.key(MANIFEST), manifest_for(publication.layout))
    assert already_published(SPEC_OF, publication)
    assert not list(store.list(publication.layout.key(CHECKPOINTS_FOLDER)))
    assert store.get(publication.layout.key(SPEC)).data == b"content"


def test_a_damaged_manifest_is_told_and_not_replaced(store):
    """Exit code 12: nothing tells what was published, and `verify` says the same."""
    publication = Publication(store, RunLayout("nightly", "one"))
    begin(store, "one")
    store.put(publication.layout.key(MANIFEST), b'{"torn')
    for _ in range(2):
        with pytest.raises(DataError, match="is no manifest"):
            open_run(SPEC_OF, store, "one")
    assert store.get(publication.layout.key(MANIFEST)).data == b'{"torn'


@pytest.mark.parametrize("there", [None, b"other"])
def test_what_has_lost_an_artifact_is_not_already_published(store, there):
    """Exit code 12 where what the manifest names is gone or of another size; but for logs, which may expire."""
    publication = Publication(store, RunLayout("nightly", "one"))
    begin(store, "one")
    document = json.loads(manifest_for(publication.layout))
    document["artifacts"] = {
        "model/model.keras": {"size": 4, "sha256": "0"},
        "logs/job-1.jsonl": {"size": 4, "sha256": "0"},
    }
    store.put(publication.layout.key(MANIFEST), json.dumps(document).encode())
    store.put(publication.layout.key("model/model.keras"), b"four")
    assert already_published(SPEC_OF, publication)
    if there is None:
        store.delete(publication.layout.key("model/model.keras"))
    else:
        store.put(publication.layout.key("model/model.keras"), there)
    with pytest.raises(DataError, match=r"of its 1 artifacts 1 are gone .* model/model\.keras"):
        already_published(SPEC_OF, publication)
