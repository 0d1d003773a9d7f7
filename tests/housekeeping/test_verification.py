"""`tuning-job verify`: a run's objects beside what its manifest says of them."""

import json
import re
import shutil
import tempfile

import pytest

from job.errors import DataError
from job.housekeeping.verification import locate_run, verify_run
from job.layout import MODEL_KERAS, latest_key
from job.store import open_store
from job.store.local import LocalStore


def verified(url):
    return verify_run(locate_run(open_store(url)))


def found(findings):
    return {finding.key: finding.text for finding in findings}


def run_url(runs, run_id="one"):
    return f"{runs.url}/runs/{run_id}"


@pytest.fixture
def published(runs):
    """The publication of run `one`, which is sound."""
    return runs.publish("one", 1)


def test_a_published_run_is_sound(runs, published):
    """Every artifact is as stated, by the run's URL and by the name's."""
    for url in (run_url(runs), runs.url, f"{runs.url}/", f"file://{runs.url}"):
        verification = verified(url)
        assert (verification.problems, verification.notes) == ((), ())
        assert (verification.run_id, verification.url) == ("one", run_url(runs))
        assert verification.artifacts == len(published.artifacts) == 7
        assert verification.size == sum(artifact.size for artifact in published.artifacts.values())


def test_a_name_stands_for_its_newest_published_run(runs):
    """Of several runs the one that `latest.json` points to is verified."""
    for minutes, run_id in enumerate(("one", "two")):
        runs.publish(run_id, minutes)
    runs.start("three", 9)
    assert verified(runs.url).run_id == "two"
    assert verified(run_url(runs)).run_id == "one"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: data[:-1] + b"!", "its content has changed: SHA-256 "),
        (lambda data: data[:-1], "2999 bytes instead of 3000"),
        (lambda data: data + b"x", "3001 bytes instead of 3000"),
        (lambda _: b"", "0 bytes instead of 3000"),
    ],
)
def test_a_changed_artifact_is_a_problem(runs, published, damage, text):
    """Changed bytes are found even where the size is right, and only that object is blamed."""
    key = published.layout.key(MODEL_KERAS)
    runs.store.put(key, damage(runs.store.get(key).data))
    problems = found(verified(run_url(runs)).problems)
    assert list(problems) == [MODEL_KERAS]
    assert problems[MODEL_KERAS].startswith(text)


def test_missing_artifacts_are_problems(runs, published):
    """All that is missing is named, not only the first."""
    for relative in ("spec.json", MODEL_KERAS):
        runs.store.delete(published.layout.key(relative))
    assert found(verified(run_url(runs)).problems) == {"spec.json": "missing", MODEL_KERAS: "missing"}


@pytest.mark.usefixtures("published")
def test_what_vanishes_while_it_is_hashed_is_missing(tmp_path):
    """An artifact that is deleted after it was listed is missing, and no error."""

    class Vanishing(LocalStore):
        def get_file(self, key, path):
            if key.endswith(MODEL_KERAS):
                self.delete(key)
            return super().get_file(key, path)

    place = locate_run(Vanishing(tmp_path / "output" / "nightly"))
    assert found(verify_run(place).problems) == {MODEL_KERAS: "missing"}


def test_objects_that_the_manifest_does_not_name_are_noted(runs, published):
    """Foreign objects are noted; the lease, later logs and checkpoints are what a run leaves."""
    runs.hold(published, runs.at(1), state="released")
    for relative in ("logs/job-20260131T040000000000Z-00009.jsonl", "checkpoints/t.best.npz", "model/mine.txt"):
        runs.store.put(published.layout.key(relative), b"x")
    verification = verified(run_url(runs))
    assert verification.problems == ()
    assert found(verification.notes) == {"model/mine.txt": "not named by the manifest"}


@pytest.mark.usefixtures("published")
def test_a_pointer_to_nothing_is_a_problem(runs):
    """`latest.json` must point to a run that has a manifest, whichever run is verified."""
    runs.publish("two", 2)
    runs.store.delete(runs.open("two").layout.key("manifest.json"))
    assert found(verified(run_url(runs)).problems) == {"latest.json": "it points to run 'two', which has no manifest"}
    with pytest.raises(DataError, match="runs/two is not published"):
        verified(runs.url)


@pytest.mark.usefixtures("published")
def test_a_torn_pointer_is_a_problem(runs):
    """A run is verified by its own URL although `latest.json` is torn, and that is told."""
    runs.store.put(latest_key("nightly"), b"{")
    assert list(found(verified(run_url(runs)).problems)) == ["latest.json"]
    with pytest.raises(DataError, match=r"latest.json is not what it should be"):
        verified(runs.url)


@pytest.mark.parametrize("run_id", ["", "../../elsewhere", "/etc"])
@pytest.mark.usefixtures("published")
def test_a_pointer_that_is_no_run_id_leads_nowhere(runs, run_id):
    """A run id in a pointer is not followed out of the store."""
    runs.store.put(latest_key("nightly"), json.dumps({"run_id": run_id}).encode())
    with pytest.raises(DataError, match="is no run id"):
        verified(runs.url)
    assert list(found(verified(run_url(runs)).problems)) == ["latest.json"]


@pytest.mark.usefixtures("published")
def test_a_missing_pointer_is_noted(runs):
    """A run is sound without `latest.json`; that nothing marks it as the newest is worth a note."""
    runs.store.delete(latest_key("nightly"))
    verification = verified(run_url(runs))
    assert verification.problems == ()
    assert list(found(verification.notes)) == ["latest.json"]


def test_another_runs_manifest_is_a_problem(runs, published):
    """A manifest that was copied from another run does not pass for this one's."""
    other = runs.publish("two", 2)
    manifest = runs.store.get(other.layout.key("manifest.json")).data
    runs.store.put(published.layout.key("manifest.json"), manifest)
    problems = found(verified(run_url(runs)).problems)
    assert problems["manifest.json"] == "it is the manifest of run two"
    assert MODEL_KERAS in problems


@pytest.mark.parametrize("name", ["../two/spec.json", "/etc/passwd", "", "a\\b"])
def test_a_manifest_cannot_lead_out_of_its_run(runs, published, name):
    """Artifact names that are no keys are problems, and are not looked for."""
    key = published.layout.key("manifest.json")
    document = json.loads(runs.store.get(key).data)
    document["artifacts"][name] = {"size": 1, "sha256": "0"}
    runs.store.put(key, json.dumps(document).encode())
    assert found(verified(run_url(runs)).problems) == {name: "the manifest names it, but no object can be called so"}


@pytest.mark.usefixtures("published")
def test_a_copy_of_a_run_is_verified_by_itself(runs, tmp_path):
    """Away from its name a run has no pointer, and is sound or not all the same."""
    copy = tmp_path / "copy"
    shutil.copytree(run_url(runs), copy)
    assert verified(str(copy)).problems == ()
    (copy / MODEL_KERAS).unlink()
    assert found(verified(str(copy)).problems) == {MODEL_KERAS: "missing"}


def test_artifacts_stream_through_the_temporary_folder(published, tmp_path, monkeypatch):
    """No artifact is read into memory whole, and no copy is left behind."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    whole, streamed = [], []

    class Watched(LocalStore):
        def get(self, key):
            whole.append(key)
            return super().get(key)

        def get_file(self, key, path):
            assert scratch in path.parents
            streamed.append(key)
            return super().get_file(key, path)

    store = Watched(tmp_path / "output" / "nightly")
    assert verify_run(locate_run(store)).problems == ()
    assert set(whole) == {"latest.json", "runs/one/manifest.json"}
    assert sorted(streamed) == sorted(f"runs/one/{name}" for name in published.artifacts)
    assert list(scratch.iterdir()) == []


def test_a_run_without_a_manifest_cannot_be_verified(runs, run_cli):
    """An unfinished or failed run is told from a damaged one."""
    runs.publish("one", 1)
    runs.fail(runs.start("two", 2), 3)
    code, text, error = run_cli("verify", run_url(runs, "two"))
    assert (code, text) == (12, "")
    assert "runs/two is not published: it has no manifest.json" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("place", "told"),
    [("", "has no published run"), ("nightly/runs", "holds no run"), ("elsewhere", "holds no run")],
)
def test_a_place_without_a_run_is_told(runs, run_cli, place, told):
    """An output, or a mistyped URL, ends with 12 and says what to name instead."""
    runs.publish("one", 1)
    code, _, error = run_cli("verify", f"{runs.store.url}/{place}")
    assert code == 12
    assert told in error


def test_a_name_with_unfinished_runs_alone_has_no_published_one(runs, run_cli):
    """Before the first publication there is nothing to verify, and the message says so."""
    runs.start("one", 1)
    code, _, error = run_cli("verify", runs.url)
    assert code == 12
    assert "has no published run" in error


@pytest.mark.parametrize("torn", [b"", b"{", b"[1]"])
def test_a_torn_manifest_is_told(runs, published, torn, run_cli):
    """What is there instead of a manifest is no manifest: exit code 12, no traceback."""
    runs.store.put(published.layout.key("manifest.json"), torn)
    code, _, error = run_cli("verify", run_url(runs))
    assert code == 12
    assert "runs/one/manifest.json is not what it should be" in error
    assert "Traceback" not in error


def test_the_command_ends_with_0_for_a_sound_run(runs, published, run_cli):
    """One line says how much was verified."""
    code, text, error = run_cli("verify", run_url(runs))
    assert (code, error) == (0, "")
    found = re.fullmatch(r"(.*): (\d+) artifacts, ([\d.]+) KiB, all as the manifest states\n", text)
    size = sum(artifact.size for artifact in published.artifacts.values())
    assert found.groups() == (run_url(runs), str(len(published.artifacts)), f"{size / 1024:.1f}")


def test_the_command_reports_all_and_ends_with_12(runs, published, run_cli):
    """Every problem and note is listed; the message on standard error has the first and the number of others."""
    for relative in ("metrics.json", MODEL_KERAS):
        runs.store.delete(published.layout.key(relative))
    runs.store.put(published.layout.key("mine.txt"), b"x")
    code, text, error = run_cli("verify", run_url(runs))
    assert code == 12
    rows = [line.split() for line in text.splitlines()]
    assert [row[:3] for row in rows[2:5]] == [
        ["problem", "metrics.json", "missing"],
        ["problem", MODEL_KERAS, "missing"],
        ["note", "mine.txt", "not"],
    ]
    assert text.endswith("stated by the manifest, 2 problems\n")
    assert "run one is damaged: metrics.json: missing (and 1 more)" in error


def test_json_has_the_verdict(runs, published, run_cli):
    """--format json has the same, for programs, and the same exit code."""
    runs.store.delete(published.layout.key(MODEL_KERAS))
    code, text, _ = run_cli("verify", run_url(runs), "--format", "json")
    assert code == 12
    document = json.loads(text)
    assert (document["sound"], document["run_id"]) == (False, "one")
    assert document["problems"] == [{"object": MODEL_KERAS, "finding": "missing"}]
    code, text, _ = run_cli("verify", runs.publish("two", 2).url("").rstrip("/"), "--format", "json")
    assert (code, json.loads(text)["sound"]) == (0, True)
