"""Publication: artifacts, then the manifest, then the pointer."""

import json
import math
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from job.errors import AccessError, LockedError, PreconditionFailedError, StateConflictError, StoreError
from job.layout import FAILURE, LEASE, MANIFEST, RunLayout, latest_key, log_segment, start_prefix
from job.lease import RunLease
from job.publish import Publication, open_publication, read_manifest, write_failure
from job.records import (
    DataSummary,
    Failure,
    Lease,
    Lineage,
    Manifest,
    Pointer,
    PublishedModel,
    Scores,
    SearchTotals,
    Signature,
    SplitSummary,
    artifact_of,
)
from job.store import LocalStore, LookFirstStore

START = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)


class Journal(LocalStore):
    """A local store that notes the keys that are written, in order."""

    def __init__(self, root):
        super().__init__(root)
        self.written = []

    def put(self, key, data):
        super().put(key, data)
        self.written.append(key)

    def put_file(self, key, path):
        stored = super().put_file(key, path)
        self.written.append(key)
        return stored

    def put_if_absent(self, key, data):
        super().put_if_absent(key, data)
        self.written.append(key)

    def replace_if_match(self, key, data, etag):
        super().replace_if_match(key, data, etag)
        self.written.append(key)


@pytest.fixture
def store(tmp_path):
    return Journal(tmp_path / "runs")


def publication_of(store, run_id="one"):
    return Publication(store, RunLayout("nightly", run_id))


def manifest_of(publication, *, minutes=0):
    """A manifest over what a publication wrote; `minutes` is when the run ended, after START."""
    return Manifest(
        name=publication.layout.name,
        run_id=publication.layout.run_id,
        spec={},
        spec_hash="0" * 64,
        data=DataSummary(source="digits", fingerprint="f", rows=10, splits={"test": SplitSummary(rows=1)}),
        model=PublishedModel(
            origin="retrain", trained_on="train_and_validation", seed=1, epochs=2, validation_score=None
        ),
        best_hyperparameters={"units": 32},
        scores=Scores(validation={"val_loss": 0.1}, test={"loss": 0.2}),
        search=SearchTotals(
            algorithm="hyperband",
            objective="val_loss",
            direction="min",
            planned_trials=1,
            planned_epochs=1,
            trials=1,
            failed_trials=0,
            epochs=1,
        ),
        signature=Signature(inputs=(), outputs=(), class_names=None, output_kind="logits"),
        lineage=Lineage(versions={}, git_commit=None, image_digest=None, host="h", cpu=None, device="cpu", seed=0),
        started_at=START,
        ended_at=START + timedelta(minutes=minutes),
        seconds={"total": 1.0},
        artifacts=dict(publication.artifacts),
    )


def pointer_in(store):
    return Pointer.model_validate_json(store.get(latest_key("nightly")).data)


def failure_of(publication):
    return Failure(
        name=publication.layout.name,
        run_id=publication.layout.run_id,
        exit_code=12,
        error="DataError",
        reason="broken",
        advice=None,
        permanent=True,
        failed_at=START,
    )


def test_the_manifest_is_written_after_every_artifact(store, tmp_path):
    """The manifest comes last but for the pointer, and each object has the size and SHA-256 that it states."""
    publication = publication_of(store)
    file = tmp_path / "model.keras"
    file.write_bytes(b"weights" * 1000)
    publication.write_file("model/model.keras", file)
    publication.write("summary.md", b"# done")
    publication.write_json("metrics.json", {"loss": 0.5, "name": "Zürich"})
    assert publication.write_once("spec.json", b"{}")
    publication.finish(manifest_of(publication))
    prefix = publication.layout.prefix
    artifacts = ["model/model.keras", "summary.md", "metrics.json", "spec.json"]
    assert store.written == [*(prefix + name for name in artifacts), prefix + MANIFEST, latest_key("nightly")]
    manifest = read_manifest(store, publication.layout)
    assert set(manifest.artifacts) == set(artifacts)
    for name, artifact in manifest.artifacts.items():
        assert artifact == artifact_of(store.get(publication.layout.key(name)).data)


def test_a_rewritten_artifact_counts_as_it_was_written_last(store):
    """A log segment that was uploaded again is named with its new size and hash."""
    publication = publication_of(store)
    publication.write("logs/job.jsonl", b"one\n")
    publication.write("logs/job.jsonl", b"one\ntwo\n")
    assert publication.artifacts == {"logs/job.jsonl": artifact_of(b"one\ntwo\n")}


def test_an_artifact_that_failed_is_not_named(tmp_path):
    """What the store did not take is not in the manifest."""
    (tmp_path / "runs").write_text("a file where the folder should be")
    publication = publication_of(LocalStore(tmp_path / "runs"))
    with pytest.raises(AccessError, match="is a file"):
        publication.write("summary.md", b"# done")
    assert publication.artifacts == {}


def test_json_lacks_nan(store):
    """NaN in a document is written as a word, so that every JSON reader takes the artifact."""
    publication = publication_of(store)
    publication.write_json("metrics.json", {"loss": math.nan})
    data = store.get(publication.layout.key("metrics.json")).data
    assert json.loads(data, parse_constant=pytest.fail) == {"loss": "NaN"}


def test_what_is_written_once_is_never_replaced(store):
    """The second write of a write-once artifact writes nothing, says so, and does not count it."""
    assert publication_of(store).write_once("spec.json", b"first")
    second = publication_of(store)
    assert not second.write_once("spec.json", b"second")
    assert second.artifacts == {}
    assert second.read_own("spec.json") == b"first"
    assert second.artifacts == {"spec.json": artifact_of(b"first")}


def test_a_run_is_published_once(store):
    """A second manifest of the same spec is not written and no error: the first one stands."""
    publication = publication_of(store)
    assert publication.finish(manifest_of(publication, minutes=1))
    assert not publication.finish(manifest_of(publication, minutes=2))
    assert read_manifest(store, publication.layout).ended_at == START + timedelta(minutes=1)


def test_a_run_published_from_another_spec_is_a_conflict(store):
    """A manifest of another spec that appeared meanwhile stands, and is a conflict."""
    publication = publication_of(store)
    publication.finish(manifest_of(publication, minutes=1))
    other = manifest_of(publication, minutes=2).model_copy(update={"spec_hash": "beef"})
    with pytest.raises(StateConflictError, match="published by another process"):
        publication.finish(other)
    assert read_manifest(store, publication.layout).ended_at == START + timedelta(minutes=1)


def leased(store):
    """A publication whose lease is held, with nothing but the lease that the test asks for."""
    publication = publication_of(store)
    lease = RunLease(store, publication.layout, memory=lambda: 0)
    lease.acquire()
    publication.hold(lease)
    return publication


def take_over(publication):
    """Somebody else has the run from now on."""
    key = publication.layout.key(LEASE)
    lease = Lease.model_validate_json(publication.store.get(key).data)
    publication.unfenced.put(key, lease.model_copy(update={"token": lease.token + 1, "holder": "other"}).to_json())


def test_a_lost_lease_stops_every_write_but_the_log(store, tmp_path):
    """Whoever has lost the run writes no artifact and no manifest; what it has to say goes into the log."""
    publication = leased(store)
    file = tmp_path / "model.keras"
    file.touch()
    with publication.lease:
        take_over(publication)
        with pytest.raises(LockedError):
            publication.finish(manifest_of(publication))
        for write in (
            lambda: publication.write("summary.md", b"# done"),
            lambda: publication.write_json("metrics.json", {}),
            lambda: publication.write_file("model/model.keras", file),
            lambda: publication.write_once("spec.json", b"{}"),
        ):
            with pytest.raises(LockedError):
                write()
        publication.write(log_segment("start", 1), b"{}")
    written = {LEASE, log_segment("start", 1)}
    assert {entry.key for entry in store.list()} == {publication.layout.key(name) for name in written}


def test_what_is_left_over_is_removed_once_another_has_published(store):
    """Of what a loser wrote, what the manifest names and what all starts share stay; without a manifest all does."""
    publication, other = leased(store), publication_of(store)
    with publication.lease:
        for relative in ("checkpoints/t.last.npz", "model/extra", "summary.md", "spec.json", "trials/t.json"):
            publication.write(relative, b"x")
        publication.remove_leftovers()
        for relative in ("summary.md", "trials/t.json"):
            other.count(relative, b"x")
        assert other.finish(manifest_of(other))
        publication.remove_leftovers()
        left = {entry.key.removeprefix(publication.layout.prefix) for entry in store.list(publication.layout.prefix)}
    assert left == {"summary.md", "spec.json", "trials/t.json", MANIFEST, LEASE}


def test_a_run_that_its_new_holder_has_published_is_done(store):
    """A holder that was taken over while the other published has nothing to do and no error to tell."""
    publication = leased(store)
    with publication.lease:
        take_over(publication)
        other = publication_of(store)
        assert other.finish(manifest_of(other))
        assert not publication.finish(manifest_of(publication, minutes=9))


def test_what_a_kill_after_the_manifest_left_undone_is_done_later(store):
    """The next start of a published run moves the pointer and removes the failure; after that it writes nothing."""
    publication = publication_of(store)
    manifest = manifest_of(publication)
    store.put(publication.layout.key(MANIFEST), manifest.to_json())
    write_failure(store, publication.layout, failure_of(publication))
    publication.settle(manifest)
    assert pointer_in(store).run_id == "one"
    assert store.stat(publication.layout.key(FAILURE)) is None
    before = list(store.written)
    publication.settle(manifest)
    assert store.written == before


def test_a_store_that_fails_after_the_manifest_is_tried_again(tmp_path):
    """The second attempt finds its own manifest, moves the pointer, and says that this start has published."""

    class FailingOnce(Journal):
        fails = True

        def delete(self, key):
            if self.fails:
                self.fails = False
                raise StoreError("no answer")
            super().delete(key)

    store = FailingOnce(tmp_path)
    publication = publication_of(store)
    manifest = manifest_of(publication)
    with pytest.raises(StoreError):
        publication.finish(manifest)
    assert publication.finish(manifest)
    assert pointer_in(store).run_id == "one"


def test_no_manifest_is_no_published_run(store):
    """A run without a manifest is not published, whatever else it has written."""
    publication = publication_of(store)
    publication.write("summary.md", b"# done")
    assert read_manifest(store, publication.layout) is None


def test_publishing_removes_the_failure_of_an_earlier_start(store):
    """`failure.json` stands instead of a manifest; once there is a manifest it is gone."""
    publication = publication_of(store)
    write_failure(store, publication.layout, failure_of(publication))
    stored = json.loads(store.get(publication.layout.key(FAILURE)).data)
    assert (stored["exit_code"], stored["error"], stored["reason"]) == (12, "DataError", "broken")
    publication.finish(manifest_of(publication))
    assert store.stat(publication.layout.key(FAILURE)) is None


def test_a_failure_leaves_the_pointer_alone(store):
    """A failed run is never the newest published one."""
    first, second = publication_of(store), publication_of(store, "two")
    first.finish(manifest_of(first))
    write_failure(store, second.layout, failure_of(second))
    assert pointer_in(store).run_id == "one"


def test_the_pointer_moves_forward(store):
    """A later run takes the pointer over, with its manifest's key and time."""
    for minutes, run_id in enumerate(("one", "two")):
        publication = publication_of(store, run_id)
        publication.finish(manifest_of(publication, minutes=minutes))
    assert pointer_in(store) == Pointer(
        run_id="two", manifest="nightly/runs/two/manifest.json", published_at=START + timedelta(minutes=1)
    )


def age(store, publication, seconds):
    """Have a run's manifest be so much older, by the store's clock."""
    path = Path(store.url) / publication.layout.key(MANIFEST)
    os.utime(path, (path.stat().st_mtime - seconds,) * 2)


def test_the_pointer_never_moves_back(store):
    """A run that was published before the newest one, and is looked at again, leaves the pointer."""
    older, newer = publication_of(store, "older"), publication_of(store, "newer")
    of_older = manifest_of(older, minutes=4)
    older.finish(of_older)
    age(store, older, 60)
    newer.finish(manifest_of(newer, minutes=5))
    older.settle(of_older)
    assert pointer_in(store).run_id == "newer"


def test_a_clock_that_is_wrong_does_not_hold_the_pointer(store):
    """A run that is dated an hour ahead gives the pointer to the next one, with a warning; one dated behind gets it."""
    ahead, behind = publication_of(store, "ahead"), publication_of(store, "behind")
    ahead.finish(manifest_of(ahead, minutes=60))
    age(store, ahead, 60)
    with capture_logs() as logs:
        behind.finish(manifest_of(behind, minutes=1))
    assert pointer_in(store).run_id == "behind"
    assert [entry["event"] for entry in logs] == ["clocks differ between machines"]
    ahead.settle(manifest_of(ahead, minutes=60))
    assert pointer_in(store).run_id == "behind"


@pytest.mark.parametrize("garbage", [b"", b"not json", b"{}", b'{"run_id": 1}'])
def test_a_pointer_that_cannot_be_read_is_replaced(store, garbage):
    """A broken pointer points nowhere: any run takes it over."""
    store.put(latest_key("nightly"), garbage)
    publication = publication_of(store)
    publication.finish(manifest_of(publication))
    assert pointer_in(store).run_id == "one"


def test_runs_that_end_at_once_leave_the_newest(tmp_path):
    """Of eight runs that move the pointer at the same moment, the one that was published last has it."""
    barrier = threading.Barrier(8)
    errors = []

    def publish(number):
        publication = publication_of(LocalStore(tmp_path), f"run-{number}")
        manifest = manifest_of(publication, minutes=number)
        barrier.wait()
        try:
            publication.finish(manifest)
        except Exception as error:  # noqa: BLE001 - the assertion below names it; a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    manifests = tmp_path.glob(f"nightly/runs/*/{MANIFEST}")
    newest = max(manifests, key=lambda path: path.stat().st_mtime_ns).parent.name
    assert pointer_in(LocalStore(tmp_path)).run_id == newest


def test_a_pointer_that_others_keep_moving_does_not_fail_the_run(tmp_path):
    """A run that always loses the race is published all the same, and the log says that the pointer was not moved."""

    class Contended(LocalStore):
        def put_if_absent(self, key, data):
            if key == latest_key("nightly"):
                raise PreconditionFailedError("another run was faster")
            super().put_if_absent(key, data)

    store = Contended(tmp_path)
    publication = publication_of(store)
    with capture_logs() as events:
        publication.finish(manifest_of(publication))
    assert read_manifest(store, publication.layout) is not None
    assert [(event["log_level"], event["event"]) for event in events] == [("warning", "pointer not moved")]


def test_a_store_that_fails_is_not_a_conflict(tmp_path):
    """A StoreError while the manifest is written stays one: trying again may help."""

    class Down(LocalStore):
        def put_if_absent(self, key, data):  # noqa: ARG002 - the signature is the store's
            raise StoreError("the store is down")

    publication = publication_of(Down(tmp_path))
    with pytest.raises(StoreError, match="down"):
        publication.finish(manifest_of(publication))


def test_urls_are_what_a_person_would_type(tmp_path):
    """An artifact's URL is the store's, the run's and its own name."""
    publication = publication_of(LocalStore(tmp_path))
    assert publication.url("model/model.keras") == f"{tmp_path}/nightly/runs/one/model/model.keras"


def start_of(store, start, run_id="one"):
    """A start of a run on a server that ignores conditional writes."""
    return Publication(LookFirstStore(store), RunLayout("nightly", run_id), prefix=start_prefix(start))


def test_where_conditions_are_ignored_artifacts_have_names_of_their_start(store):
    """Artifacts, and copies of what starts share, lie under the start's prefix; records and logs do not."""
    publication = start_of(store, "a")
    publication.write("summary.md", b"# done")
    publication.write("logs/job-a-00000.jsonl", b"{}\n")
    publication.write_once("spec.json", b"{}")
    publication.write_once("trials/t.json", b"{}")
    publication.finish(manifest_of(publication))

    manifest = read_manifest(store, publication.layout)
    assert set(manifest.artifacts) == {"starts/a/summary.md", "starts/a/spec.json", "logs/job-a-00000.jsonl"}
    for name, artifact in manifest.artifacts.items():
        assert artifact == artifact_of(store.get(publication.layout.key(name)).data)
    assert {"spec.json", "trials/t.json", "manifest.json"} <= {
        entry.key.removeprefix(publication.layout.prefix) for entry in store.list(publication.layout.prefix)
    }
    assert publication.url("summary.md").endswith("/nightly/runs/one/starts/a/summary.md")
    assert publication.url("manifest.json").endswith("/nightly/runs/one/manifest.json")


def test_where_conditions_are_ignored_two_starts_cannot_make_a_false_manifest(store):
    """Whichever of two manifests stands, what it names is as it states, and the other start is told."""
    first, second = start_of(store, "a"), start_of(store, "b")
    for publication, text in ((first, b"first"), (second, b"second")):
        publication.write("summary.md", text)
        publication.write_once("spec.json", b"{}") or publication.read_own("spec.json")
    first.finish(manifest_of(first))
    assert not second.finish(manifest_of(second))

    manifest = read_manifest(store, first.layout)
    assert set(manifest.artifacts) == {"starts/a/summary.md", "starts/a/spec.json"}
    for name, artifact in manifest.artifacts.items():
        assert artifact == artifact_of(store.get(first.layout.key(name)).data)


def test_a_manifest_that_was_replaced_at_once_is_noticed(store, monkeypatch):
    """Where both starts saw no manifest and the other's came last, this one has not published."""
    first, second = start_of(store, "a"), start_of(store, "b")
    put = store.put

    def overtaken(key, data):
        put(key, data)
        if key.endswith(MANIFEST):
            put(key, manifest_of(second, minutes=1).to_json())

    monkeypatch.setattr(store, "put", overtaken)
    assert not first.finish(manifest_of(first))


def test_a_store_that_honours_conditions_needs_no_prefix(store):
    """Opened on a directory, a publication keeps the plain names and warns of nothing."""
    publication = open_publication(store, RunLayout("nightly", "one"))
    with capture_logs() as events:
        publication.warn_of_ignored_conditions()
    assert publication.prefix == ""
    assert events == []
    assert list(store.list()) == []
