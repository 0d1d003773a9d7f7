"""`tuning-job runs`: what can be said of runs without reading their large objects."""

import json
import math
from datetime import timedelta

import pytest

from job.errors import DataError
from job.housekeeping.overview import read_overview
from job.housekeeping.shown import overview_document, show_size
from job.store.local import LocalStore


class Watched(LocalStore):
    """A local store that notes what is read."""

    def __init__(self, root):
        super().__init__(root)
        self.read = []

    def get(self, key):
        self.read.append(key)
        return super().get(key)

    def get_file(self, key, path):
        self.read.append(key)
        return super().get_file(key, path)


def by_id(overview):
    return {run.run_id: run for run in overview.runs}


def conditions(overview):
    return {run.run_id: run.condition for run in overview.runs}


@pytest.fixture
def every_condition(runs):
    """One run of each readable condition; the times are those of their last signs of life."""
    runs.publish("published", 10)
    runs.start("resumable", 20, scores=(0.5, 0.8, None))
    runs.fail(runs.start("failed", 25, scores=()), 30)
    runs.hold(runs.start("running", 35, scores=(0.7,)), runs.at(40))
    return runs


def test_each_condition_is_told_by_the_objects(every_condition):
    """Manifest, lease and failure decide, and the newest run comes first."""
    overview = read_overview(every_condition.store, now=every_condition.at(40))
    assert [(run.run_id, run.condition) for run in overview.runs] == [
        ("running",) * 2,
        ("failed",) * 2,
        ("resumable",) * 2,
        ("published",) * 2,
    ]
    assert {run.name for run in overview.runs} == {"nightly"}


def test_times_trials_and_scores_are_shown_as_far_as_known(every_condition):
    """Times come from log segments, failure and manifest; scores from trial records until there is a manifest."""
    runs = every_condition
    found = by_id(read_overview(runs.store, now=runs.at(40)))
    shown = {name: (run.started_at, run.ended_at, run.trials, run.best_score) for name, run in found.items()}
    assert shown == {
        "published": (runs.at(9), runs.at(10), 2, 0.9),
        "resumable": (runs.at(20), None, 3, 0.8),
        "failed": (runs.at(25), runs.at(30), 0, None),
        "running": (runs.at(35), None, 1, 0.7),
    }
    assert found["published"].scores.test == {"loss": 0.2}
    assert found["resumable"].scores is None


def test_the_size_is_that_of_all_objects(every_condition, tmp_path):
    """A run's size is the sum of its files' sizes."""
    found = by_id(read_overview(every_condition.store, now=every_condition.at(40)))
    for run_id, run in found.items():
        folder = tmp_path / "output" / "nightly" / "runs" / run_id
        assert run.size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_losses_are_best_when_small(runs):
    """Before there is a manifest, the spec's objective says which score is the best."""
    runs.start("one", 0, scores=(0.5, 0.2, math.nan, None), objective="val_loss")
    (run,) = read_overview(runs.store, now=runs.at(5)).runs
    assert (run.best_score, run.trials) == (0.2, 4)


@pytest.mark.parametrize(
    ("age", "state", "condition"),
    [
        (timedelta(seconds=30), "held", "running"),
        (timedelta(seconds=31), "held", "resumable"),
        (timedelta(seconds=1), "released", "resumable"),
        # Its clock is ahead of ours.
        (timedelta(minutes=-5), "held", "running"),
    ],
)
def test_a_live_holder_has_renewed_its_lease_lately(runs, age, state, condition):
    """A lease counts for 30 s after its last renewal, unless it was released."""
    now = runs.at(60)
    runs.hold(runs.start("one", 0), now - age, state=state)
    assert conditions(read_overview(runs.store, now=now)) == {"one": condition}


def test_a_transient_failure_leaves_a_run_resumable(runs):
    """Only a permanent failure makes a run a failed one."""
    runs.fail(runs.start("one", 0), 1, permanent=False)
    assert conditions(read_overview(runs.store, now=runs.at(2))) == {"one": "resumable"}


def test_an_output_and_a_name_show_the_same_runs(every_condition):
    """The URL may be an output, with all its names, or one name under it."""
    other = type(every_condition)(every_condition.store, "weekly")
    other.publish("other", 5)
    now = every_condition.at(40)
    all_runs = read_overview(every_condition.store, now=now).runs
    assert {(run.name, run.run_id) for run in all_runs} == {
        ("weekly", "other"),
        *(("nightly", name) for name in ("published", "resumable", "failed", "running")),
    }
    of_one = read_overview(other.named, now=now).runs
    assert [(run.name, run.run_id, run.is_newest) for run in of_one] == [("weekly", "other", True)]


@pytest.mark.parametrize("name", ["runs", "trials", "model"])
def test_a_name_may_be_called_as_a_part_of_the_layout(tmp_path, runs, name):
    """Names, run ids and outputs that are called `runs` and the like are understood."""
    here = type(runs)(LocalStore(tmp_path / "runs"), name)
    here.publish("runs", 1)
    here.publish("logs", 2)
    for store in (here.store, here.named):
        overview = read_overview(store, now=here.at(3))
        assert [(run.name, run.run_id, run.condition) for run in overview.runs] == [
            (name, "logs", "published"),
            (name, "runs", "published"),
        ]


def test_the_newest_and_the_champion_are_marked(runs):
    """`latest.json` and `champion.json` each mark one run."""
    for number, run_id in enumerate(("one", "two", "three")):
        runs.publish(run_id, number)
    runs.crown("one")
    found = by_id(read_overview(runs.store, now=runs.at(9)))
    assert [run_id for run_id, run in found.items() if run.is_newest] == ["three"]
    assert [run_id for run_id, run in found.items() if run.is_champion] == ["one"]


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"{", b"[]", b'{"schema_version": 9}'])
@pytest.mark.parametrize("torn", ["manifest.json", "failure.json", "lease.json"])
def test_a_torn_object_makes_a_run_unreadable_and_no_other(runs, torn, garbage):
    """A run whose deciding object is torn is unreadable, says which, and the others are shown."""
    runs.publish("sound", 1)
    runs.store.put(runs.start("torn", 2).layout.key(torn), garbage)
    found = by_id(read_overview(runs.store, now=runs.at(3)))
    assert {run_id: run.condition for run_id, run in found.items()} == {"sound": "published", "torn": "unreadable"}
    (problem,) = found["torn"].problems
    assert problem.startswith(f"{torn}: ")


def test_a_torn_trial_record_is_told_beside_the_score_of_the_others(runs):
    """Records that can be read still give the best score so far."""
    publication = runs.start("one", 0, scores=(0.5, 0.9))
    runs.store.put(publication.layout.key("trials/torn.json"), b"{")
    (run,) = read_overview(runs.store, now=runs.at(1)).runs
    assert (run.condition, run.best_score) == ("resumable", 0.9)
    assert [problem.partition(":")[0] for problem in run.problems] == ["trials/torn.json"]


def test_foreign_objects_do_not_disturb(runs):
    """A folder among the runs that holds nothing of ours is unreadable; what lies elsewhere is not shown."""
    runs.publish("one", 1)
    runs.store.put("nightly/runs/foreign/photo.jpg", b"x" * 10)
    runs.store.put("nightly/notes.txt", b"x")
    runs.store.put("README", b"x")
    runs.store.put("nightly/runs/file", b"x")
    runs.store.put("nightly/runs/one/notes/mine.txt", b"x" * 7)
    found = by_id(read_overview(runs.store, now=runs.at(3)))
    assert {run_id: run.condition for run_id, run in found.items()} == {"one": "published", "foreign": "unreadable"}
    assert found["foreign"].size == 10
    assert found["one"].folder.sizes["notes/mine.txt"] == 7


@pytest.mark.parametrize("pointer", ["latest.json", "champion.json"])
def test_a_torn_pointer_marks_no_run(runs, pointer):
    """The runs are shown, and the pointer is a problem."""
    runs.publish("one", 1)
    runs.store.put(f"nightly/{pointer}", b"torn")
    overview = read_overview(runs.store, now=runs.at(3))
    assert conditions(overview) == {"one": "published"}
    (problem,) = overview.problems
    assert pointer in problem


def test_times_without_a_zone_are_taken_for_utc(runs):
    """A manifest that somebody else wrote without a zone is sorted among the others."""
    publication = runs.publish("one", 10)
    key = publication.layout.key("manifest.json")
    text = runs.store.get(key).data.decode()
    runs.store.put(key, text.replace('09:00Z"', '09:00"').replace('10:00Z"', '10:00"').encode())
    runs.publish("two", 12)
    found = by_id(read_overview(runs.store, now=runs.at(20)))
    assert (found["one"].ended_at, found["two"].ended_at) == (runs.at(10), runs.at(12))


def test_a_run_without_logs_is_dated_by_an_id_that_tells_it(runs):
    """Ids that the job makes hold a time; digits that are no date tell nothing."""
    for run_id in ("20260131T040000Z-4f2a", "20269931T040000Z-4f2a"):
        runs.store.put(f"nightly/runs/{run_id}/spec.json", b"{}")
    found = by_id(read_overview(runs.store, now=runs.at(90)))
    assert found["20260131T040000Z-4f2a"].seen_at == runs.at(60)
    assert found["20269931T040000Z-4f2a"].seen_at is None


def test_only_small_objects_are_read(runs, tmp_path):
    """Neither models nor logs are read, nor an object that is too large for what it is called."""
    runs.publish("one", 1)
    publication = runs.start("two", 2)
    publication.write("model/model.keras", b"x")
    with (tmp_path / "output/nightly/runs/two/manifest.json").open("wb") as file:
        file.truncate(2**30)
    store = Watched(tmp_path / "output")
    overview = read_overview(store, now=runs.at(3))
    assert conditions(overview) == {"one": "published", "two": "unreadable"}
    assert sorted(store.read) == [
        "nightly/champion.json",
        "nightly/latest.json",
        "nightly/runs/one/manifest.json",
    ]


def test_what_is_deleted_while_it_is_looked_at_is_missing(runs, tmp_path):
    """An object that was listed and is gone when it is read is no error."""

    class Vanishing(Watched):
        def get(self, key):
            if key.endswith("manifest.json"):
                self.delete(key)
            return super().get(key)

    runs.publish("one", 1)
    overview = read_overview(Vanishing(tmp_path / "output"), now=runs.at(3))
    assert conditions(overview) == {"one": "resumable"}


@pytest.mark.parametrize("place", ["", "nightly/runs", "nightly/runs/one", "elsewhere"])
def test_a_place_without_runs_is_an_error(runs, tmp_path, place):
    """A mistyped URL is not an empty list."""
    runs.publish("one", 1)
    store = LocalStore(tmp_path / "output" / place if place else tmp_path)
    with pytest.raises(DataError, match="holds no runs"):
        read_overview(store, now=runs.at(3))


def test_json_has_every_run_with_plain_values(every_condition, run_cli):
    """--format json is strict JSON with ISO times, bytes and marks."""
    publication = every_condition.start("nan", 50)
    publication.finish(every_condition.manifest(publication, 51, test_loss=math.nan))
    code, text, _ = run_cli("runs", every_condition.url, "--format", "json")
    assert code == 0
    document = json.loads(text, parse_constant=pytest.fail)
    shown = {run["run_id"]: run for run in document["runs"]}
    assert shown["nan"]["scores"]["test"] == {"loss": "NaN"}
    assert shown["published"] | {"size": 0, "objects": 0} == {
        "name": "nightly",
        "run_id": "published",
        "url": f"{every_condition.url}/runs/published",
        "state": "published",
        "newest": False,
        "champion": False,
        "started_at": "2026-01-31T03:09:00+00:00",
        "ended_at": "2026-01-31T03:10:00+00:00",
        "last_seen_at": "2026-01-31T03:10:00+00:00",
        "trials": 2,
        "objective": "val_accuracy",
        "best_score": 0.9,
        "scores": {
            "validation": {"val_loss": 0.1, "val_accuracy": 0.9},
            "deviation": {},
            "test": {"loss": 0.2},
        },
        "size": 0,
        "objects": 0,
        "problems": [],
    }
    assert document == overview_document(read_overview(every_condition.named, now=every_condition.at(10**6)))


def test_text_is_a_table_with_warnings_beside_it(runs, run_cli):
    """Off a terminal the runs are aligned text; what cannot be read is warned of on standard error."""
    runs.publish("one", 1)
    runs.store.put("nightly/runs/torn/manifest.json", b"{")
    runs.crown("one")
    code, text, error = run_cli("runs", runs.store.url)
    assert code == 0
    heading, columns, first, second = text.splitlines()
    assert heading == f"Runs in {runs.store.url}"
    assert columns.split()[:3] == ["name", "run", "id"]
    assert "one     published (newest, champion)  2026-01-31 03:00:00Z  2026-01-31 03:01:00Z" in first
    assert "loss 0.2" in first
    assert "unreadable" in second
    assert error.startswith("warning: nightly, run torn: manifest.json: ")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes_read_well(size, shown):
    """Sizes have one decimal, of the largest unit that they reach."""
    assert show_size(size) == shown
