"""`tuning-job prune`: old runs go, manifest first; interrupted, repeated or raced, no reader sees half a run."""

import itertools
import json
import time
from datetime import UTC, datetime

import pytest

from job.errors import DataError, StoreError
from job.housekeeping.overview import read_overview
from job.housekeeping.pruning import carry_out, plan_pruning
from job.housekeeping.verification import locate_run, verify_run
from job.layout import latest_key
from job.store import open_store
from job.store.local import LocalStore


class Journal(LocalStore):
    """A local store that notes what is deleted, and fails once it has deleted so many objects."""

    def __init__(self, root, budget=10**6):
        super().__init__(root)
        self.deleted = []
        self.budget = budget

    def delete(self, key):
        if key.startswith("condition-check"):
            super().delete(key)
            return
        if len(self.deleted) >= self.budget:
            raise StoreError("the store is down")
        self.deleted.append(key)
        super().delete(key)


class Pauses(list):
    """Takes the place of sleeping: notes the seconds, and does what happens meanwhile."""

    def __init__(self, happens=lambda: None):
        self.happens = happens

    def __call__(self, seconds):
        self.append(seconds)
        self.happens()


def pruned(store, runs, *, keep=1, pause=None, older_than=None):
    plan = plan_pruning(store, keep=keep, now=runs.at(1000), older_than=older_than)
    return carry_out(store, plan, pause=Pauses() if pause is None else pause)


def gone(pruning):
    return [decision.run.run_id for decision in pruning.decisions if decision.goes]


def left(runs):
    return {run.run_id for run in read_overview(runs.named, now=runs.at(1000)).runs}


@pytest.fixture
def nights(runs):
    """Five nights: two published runs, a failed and an unfinished one, and the newest published."""
    runs.publish("n1", 10)
    runs.publish("n2", 20)
    runs.fail(runs.start("n3", 30), 31)
    runs.start("n4", 40)
    runs.publish("n5", 50)
    return runs


def test_old_runs_are_deleted_whole(nights, tmp_path):
    """What goes leaves neither an object nor a folder, and what stays is sound."""
    pruning = pruned(nights.named, nights)
    assert sorted(gone(pruning)) == ["n1", "n2", "n3", "n4"]
    assert left(nights) == {"n5"}
    assert [path.name for path in (tmp_path / "output/nightly/runs").iterdir()] == ["n5"]
    verification = verify_run(locate_run(nights.named))
    assert (verification.problems, verification.notes) == ((), ())


def test_the_manifest_goes_first_and_what_tells_the_age_last(nights, tmp_path):
    """Runs go the oldest first; of each the manifest goes before, and log and lease after everything else."""
    nights.hold(nights.open("n1"), nights.at(10), state="released")
    store = Journal(tmp_path / "output" / "nightly")
    pruned(store, nights)
    order = [key.removeprefix("runs/").partition("/")[::2] for key in store.deleted]
    assert list(dict.fromkeys(run_id for run_id, _ in order)) == ["n1", "n2", "n3", "n4"]
    of_one = [relative for run_id, relative in order if run_id == "n1"]
    assert of_one[0] == "manifest.json"
    assert of_one[-1] == "lease.json"
    assert of_one[-2].startswith("logs/job-")
    assert [relative for run_id, relative in order if run_id == "n3"][-1] == "lease.json"


def test_an_interrupted_prune_can_be_repeated(nights, tmp_path):
    """Wherever a prune ends, no manifest is left of a half-deleted run, and repeating it finishes the work."""
    store = Journal(tmp_path / "output" / "nightly", budget=0)
    interruptions = 0
    while True:
        try:
            pruned(store, nights)
            break
        except StoreError:
            interruptions += 1
        for run in read_overview(nights.named, now=nights.at(1000)).runs:
            if run.condition == "published":
                place = locate_run(open_store(f"{nights.url}/runs/{run.run_id}"))
                assert verify_run(place).problems == ()
        store.deleted.clear()
        store.budget = 2
    assert interruptions > 4
    assert left(nights) == {"n5"}


def test_a_dry_run_deletes_nothing(nights, run_cli, tmp_path):
    """--dry-run lists what would go, with sizes, and changes no file."""
    before = sorted(path for path in (tmp_path / "output").rglob("*"))
    code, text, _ = run_cli("prune", nights.url, "--keep", "1", "--dry-run")
    assert code == 0
    assert sorted(path for path in (tmp_path / "output").rglob("*")) == before
    rows = {line.split()[0]: line for line in text.splitlines()[2:-1]}
    assert [run_id for run_id, row in rows.items() if "would go" in row] == ["n4", "n3", "n2", "n1"]
    assert "kept" in rows["n5"]
    assert all("KiB" in row or " B " in row for row in rows.values())
    assert text.splitlines()[-1].startswith("would delete 4 runs, ")


def test_the_command_deletes_and_sums_up(nights, run_cli):
    """The same without --dry-run deletes; again, there is nothing to do."""
    code, text, _ = run_cli("prune", nights.url, "--keep", "2")
    assert code == 0
    assert text.splitlines()[-1].startswith("deleted 1 run, ")
    assert left(nights) == {"n2", "n3", "n4", "n5"}
    code, text, _ = run_cli("prune", nights.url, "--keep", "2", "--format", "json")
    document = json.loads(text)
    assert (code, document["deleted_size"], document["dry_run"]) == (0, 0, False)
    assert {run["action"] for run in document["runs"]} == {"keep"}


def test_an_age_is_given_as_a_duration(nights, run_cli):
    """--older-than takes the place of the kept runs for unfinished and failed ones."""
    days = (datetime.now(UTC) - nights.at(35)).total_seconds()
    code, _, _ = run_cli("prune", nights.url, "--keep", "9", "--older-than", f"{days:.0f}s")
    assert code == 0
    assert left(nights) == {"n1", "n2", "n4", "n5"}


def test_the_champion_and_the_pointers_target_stay(nights):
    """However old, the champion stays, and so does what `latest.json` points to."""
    nights.crown("n1")
    pointer = nights.store.get(latest_key("nightly")).data
    nights.store.put(latest_key("nightly"), pointer.replace(b"n5", b"n2"))
    pruned(nights.named, nights)
    assert left(nights) == {"n1", "n2", "n5"}


def test_a_running_run_stays(nights):
    """A run whose lease is live stays although its objects are old; a released lease protects nothing."""
    nights.hold(nights.open("n3"), nights.at(1000))
    nights.hold(nights.open("n4"), nights.at(40), state="released")
    pause = Pauses()
    pruned(nights.named, nights, pause=pause)
    assert left(nights) == {"n3", "n5"}
    assert pause == []


def test_a_holder_with_a_slow_clock_is_found_by_its_heartbeat(nights):
    """A lease that looks dead is watched; one that moves is alive, one that does not is dead."""
    nights.hold(nights.open("n3"), nights.at(31), beat=7)
    nights.hold(nights.open("n4"), nights.at(40), beat=7)
    beats = itertools.count(8)
    pause = Pauses(lambda: nights.hold(nights.open("n3"), nights.at(31), beat=next(beats)))
    pruning = pruned(nights.named, nights, pause=pause)
    assert 10 <= sum(pause) <= 20
    assert left(nights) == {"n3", "n5"}
    (reason,) = (decision.reason for decision in pruning.decisions if decision.run.run_id == "n3")
    assert "a live process holds it" in reason


@pytest.mark.parametrize(
    "happens",
    [
        lambda runs: runs.crown("n3"),
        lambda runs: runs.hold(runs.open("n3"), runs.at(999), beat=time.monotonic_ns()),
        lambda runs: runs.open("n3").finish(runs.manifest(runs.open("n3"), 999)),
        lambda runs: runs.store.put(runs.open("n3").layout.key("manifest.json"), b"{}"),
    ],
    ids=["crowned", "resumed", "newest", "published"],
)
def test_what_changes_after_the_decision_stays(nights, happens):
    """A run that was crowned, resumed or published since it was looked at is not deleted."""
    nights.hold(nights.open("n4"), nights.at(40))  # makes the prune pause
    before = nights.keys("n3")
    pruning = pruned(nights.named, nights, pause=Pauses(lambda: happens(nights)))
    assert sorted(gone(pruning)) == ["n1", "n2", "n4"]
    assert set(before) - {"failure.json"} <= set(nights.keys("n3"))


def test_two_prunes_at_once_are_no_error(nights):
    """Objects that another prune has deleted meanwhile are no error."""
    nights.hold(nights.open("n4"), nights.at(40))
    pruning = pruned(nights.named, nights, pause=Pauses(lambda: pruned(nights.named, nights)))
    assert sorted(gone(pruning)) == ["n1", "n2", "n3", "n4"]
    assert left(nights) == {"n5"}


def test_runs_with_foreign_or_torn_objects_stay(nights):
    """What cannot be read is not deleted, and the reason says so; foreign files of a known run go with it."""
    nights.store.put("nightly/runs/foreign/photo.jpg", b"x")
    nights.store.put("nightly/runs/n1/manifest.json", b"{")
    nights.store.put("nightly/runs/n2/mine/notes.txt", b"x")
    pruning = pruned(nights.named, nights)
    assert left(nights) == {"foreign", "n1", "n5"}
    reasons = {decision.run.run_id: decision.reason for decision in pruning.decisions}
    assert "by hand" in reasons["foreign"]
    assert "by hand" in reasons["n1"]


@pytest.mark.parametrize("pointer", ["champion.json", "latest.json"])
def test_a_torn_pointer_stops_a_prune(nights, pointer):
    """A champion that cannot be read may be any run: nothing is deleted."""
    nights.store.put(f"nightly/{pointer}", b"{")
    with pytest.raises(DataError, match=f"nothing is deleted: .*{pointer}"):
        plan_pruning(nights.named, keep=1, now=nights.at(1000))


def test_a_prune_is_for_one_name(nights, run_cli):
    """An output with its names is refused, and a name is proposed."""
    code, _, error = run_cli("prune", nights.store.url, "--keep", "1")
    assert code == 12
    assert f"name one of them: {nights.url}" in error
    assert left(nights) == {"n1", "n2", "n3", "n4", "n5"}


def test_other_names_are_left_alone(nights):
    """Runs of another name under the same output stay."""
    other = type(nights)(nights.store, "weekly")
    other.publish("w1", 1)
    pruned(nights.named, nights)
    assert left(other) == {"w1"}


def test_what_killed_writers_left_goes_with_the_folder(nights, tmp_path):
    """In a directory, unfinished files of a deleted run go, too; those of other runs stay."""
    folders = tmp_path / "output" / "nightly" / "runs"
    for run_id in ("n1", "n5"):
        (folders / run_id / "model" / ".tuning-job-0123.tmp").write_bytes(b"half")
    pruned(nights.named, nights)
    assert not (folders / "n1").exists()
    assert (folders / "n5" / "model" / ".tuning-job-0123.tmp").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("prune", "x"),
        ("prune", "x", "--keep", "0"),
        ("prune", "x", "--keep", "1", "--older-than", "soon"),
        ("prune", "gs://bucket/x", "--keep", "1"),
        ("runs",),
        ("runs", "gs://bucket/x"),
        ("runs", "x", "--format", "xml"),
        ("verify", ""),
    ],
)
def test_a_misused_command_line_ends_with_2(run_cli, args):
    """Missing, wrong and impossible arguments are usage errors without a traceback."""
    code, text, error = run_cli(*args)
    assert (code, text) == (2, "")
    assert "Error" in error
    assert "Traceback" not in error
