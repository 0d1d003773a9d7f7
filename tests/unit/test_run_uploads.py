"""What a run stores in the background, through outages and restarts."""

import functools
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from job.errors import AccessError, StoreError
from job.layout import RunLayout, log_segment, trial_record
from job.logs import configure
from job.publish import Publication
from job.records import Execution, TrialRecord, artifact_of
from job.run_state import RunState
from job.run_uploads import open_uploads
from job.scratch import Scratch
from job.sealing import seal
from job.store import LocalStore

LONG = 60.0
LAYOUT = RunLayout("nightly", "one")
SEGMENT = log_segment("20260131T030000Z", 0)


@dataclass
class Weather:
    """Whether the store answers, and what it was asked to write, in order."""

    fails: Exception | None = None
    written: list[str] = field(default_factory=list)
    recovered: threading.Event = field(default_factory=threading.Event)


class StoreInWeather(LocalStore):
    """A real store in a directory that fails while the weather is bad."""

    def __init__(self, root, weather):
        super().__init__(root)
        self._weather = weather

    def _meet(self, key=None):
        if self._weather.fails is not None:
            raise self._weather.fails
        if key is not None:
            self._weather.written.append(key.removeprefix(LAYOUT.prefix))

    def put(self, key, data):
        self._meet(key)
        super().put(key, data)

    def put_file(self, key, path):
        self._meet(key)
        return super().put_file(key, path)

    def put_if_absent(self, key, data):
        self._meet(key)
        super().put_if_absent(key, data)

    def delete(self, key):
        self._meet(f"deleted {key.removeprefix(LAYOUT.prefix)}")
        super().delete(key)

    def list(self, prefix=""):
        self._meet()
        return super().list(prefix)


def record_of(index=0, **fields):
    values = {
        "trial_id": f"h0-b2-i{index:03d}-r0",
        "hyperparameters": {"units": 32},
        "iteration": 0,
        "bracket": 2,
        "index": index,
        "rung": 0,
        "parent": None,
        "from_epoch": 0,
        "to_epoch": 2,
        "status": "completed",
        "score": 0.5,
        "best_epoch": 2,
        "executions": (Execution(epochs=({"val_accuracy": 0.5},)),),
        "seconds": 1.5,
        "worker": "host:1",
    }
    return TrialRecord(**values | fields)


class Machine:
    """One machine: its disk, and starts of the run on it."""

    def __init__(self, store_folder, disk, weather):
        self.store = StoreInWeather(store_folder, weather)
        self.scratch = Scratch(disk)
        disk.mkdir()

    @contextmanager
    def start(self, patience=LONG):
        publication = Publication(self.store, LAYOUT)
        with open_uploads(RunState(publication), self.scratch, patience=patience, on_failure=lambda _: None) as uploads:
            uploads.publication = publication
            yield uploads

    def checkpoint(self, name, content=b"weights"):
        self.scratch.checkpoints.mkdir(exist_ok=True)
        unfinished = self.scratch.checkpoints / f".{name}"
        unfinished.write_bytes(content)
        unfinished.replace(self.scratch.checkpoints / name)

    @property
    def checkpoints(self):
        return {path.name: path.read_bytes() for path in self.scratch.checkpoints.glob("*")}

    @property
    def copies(self):
        prefix = LAYOUT.key("checkpoints/")
        return {e.key.removeprefix(prefix): self.store.get(e.key).data for e in self.store.list(prefix)}


@pytest.fixture
def weather():
    return Weather()


@pytest.fixture
def machine(tmp_path, weather):
    return functools.lru_cache(lambda name="a": Machine(tmp_path / "store", tmp_path / name, weather))


def test_records_and_logs_are_stored_and_counted(machine):
    """After a flush both are in the store, count for the manifest, and have left this machine's disk."""
    with machine().start() as uploads:
        uploads.store_record(record_of())
        uploads.store_segment(SEGMENT, b"{}\n")
        assert uploads.flush()
        assert uploads.is_all_stored
        assert uploads.publication.artifacts == {
            trial_record("h0-b2-i000-r0"): artifact_of(seal(record_of())),
            SEGMENT: artifact_of(b"{}\n"),
        }
    with machine("b").start() as uploads:
        assert uploads.known_records() == {"h0-b2-i000-r0": record_of()}


def test_storing_does_not_wait_for_a_store_that_fails(machine, weather):
    """During an outage records are taken at once, and are stored when it is over."""
    with machine().start() as uploads:
        weather.fails = StoreError("no answer")
        for index in range(20):
            uploads.store_record(record_of(index))
        assert not uploads.is_all_stored
        weather.fails = None
        assert uploads.flush()
        assert len(uploads.publication.artifacts) == 20


def test_after_a_permanent_outage_the_next_start_stores_what_was_left(machine, weather):
    """Records and logs that the store never took are known to the next start on this machine, and stored by it."""
    with machine().start(patience=0.1) as uploads:
        weather.fails = StoreError("no answer")
        uploads.store_segment(SEGMENT, b"{}\n")
        uploads.store_record(record_of())
        with pytest.raises(StoreError, match="no answer"):
            uploads.flush()
    weather.fails = None
    with machine("b").start() as uploads:
        assert uploads.known_records() == {}
    with machine().start() as uploads:
        assert uploads.known_records() == {"h0-b2-i000-r0": record_of()}
        assert uploads.flush()
        assert uploads.is_all_stored
        assert set(uploads.publication.artifacts) == {trial_record("h0-b2-i000-r0"), SEGMENT}


def test_a_segment_that_is_under_way_is_not_sent_twice(machine, weather):
    """The log's first segment may wait for a failing store while the records of earlier starts are read."""
    with machine().start() as uploads:
        weather.fails = StoreError("no answer")
        uploads.store_segment(SEGMENT, b"{}\n")
        weather.fails = None
        assert uploads.known_records() == {}
        assert uploads.flush()
        assert uploads.is_all_stored
    assert weather.written == [SEGMENT]


def test_a_record_that_another_machine_has_stored_meanwhile_stands(machine, weather):
    """What is in the store wins over what this machine kept for it."""
    with machine().start(patience=0.0) as uploads:
        weather.fails = StoreError("no answer")
        uploads.store_record(record_of(seconds=1.0))
        with pytest.raises(StoreError):
            uploads.flush()
    weather.fails = None
    with machine("b").start() as uploads:
        uploads.store_record(record_of(seconds=2.0))
        uploads.flush()
    with machine().start() as uploads:
        assert uploads.known_records()["h0-b2-i000-r0"].seconds == 2.0
        uploads.flush()
        assert uploads.is_all_stored


def test_a_record_that_was_torn_on_this_disk_is_not_used(machine, weather, capsys):
    """A file that a power cut left half written is reported and dropped: the trial runs again."""
    configure("info")
    with machine().start(patience=0.0) as uploads:
        weather.fails = StoreError("no answer")
        uploads.store_record(record_of())
    weather.fails = None
    (path,) = (machine().scratch.outbox / "trials").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with machine().start() as uploads:
        assert uploads.known_records() == {}
        assert uploads.is_all_stored
    assert "runs again" in capsys.readouterr().out


def test_refused_access_is_raised_at_the_next_record(machine, weather):
    """Permissions that were taken away do not wait for the patience."""
    with machine().start() as uploads:
        weather.fails = AccessError("denied")
        uploads.store_record(record_of())
        with pytest.raises(AccessError, match="denied"):
            uploads.flush()
        with pytest.raises(AccessError, match="denied"):
            uploads.store_record(record_of(1))


def test_checkpoints_are_stored_before_their_record_the_best_before_the_last(machine, weather):
    """Whoever finds a record finds what a promotion goes on from; a last checkpoint never lacks its best."""
    with machine().start() as uploads:
        machine().checkpoint("h0-b2-i000-r0.last.npz")
        machine().checkpoint("h0-b2-i000-r0.best.npz")
        uploads.store_record(record_of())
        uploads.flush()
    assert weather.written == [
        "checkpoints/h0-b2-i000-r0.best.npz",
        "checkpoints/h0-b2-i000-r0.last.npz",
        trial_record("h0-b2-i000-r0"),
    ]


def test_the_thread_copies_what_changes_and_deletes_what_goes(machine):
    """Without being told, the copies become as the folder is; unfinished files are none."""
    here = machine()
    with here.start() as uploads, uploads.copies:
        here.checkpoint("t1.last.npz", b"one")
        here.checkpoint("t2.last.npz", b"two")
        (here.scratch.checkpoints / ".t3.last.npz.77").write_bytes(b"unfinished")
        wait_for(lambda: here.copies == {"t1.last.npz": b"one", "t2.last.npz": b"two"})
        here.checkpoint("t1.last.npz", b"new")
        (here.scratch.checkpoints / "t2.last.npz").unlink()
        wait_for(lambda: here.copies == {"t1.last.npz": b"new"})


def wait_for(condition):
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.1)
    pytest.fail("never came true")


def test_a_checkpoint_that_is_replaced_or_discarded_before_it_was_sent_costs_nothing(machine, weather):
    """During an outage only the newest version waits, and what the driver discards is not sent at all."""
    here = machine()
    with here.start() as uploads:
        weather.fails = StoreError("no answer")
        # They occupy all of the queue's threads.
        for index in range(8):
            uploads.store_segment(log_segment("start", index), b"{}\n")
        for version in range(5):
            here.checkpoint("t1.last.npz", b"%d" % version)
            here.checkpoint("t2.last.npz", b"%d" % version)
            uploads.copies.look()
        (here.scratch.checkpoints / "t2.last.npz").unlink()
        uploads.copies.look()
        weather.fails = None
        uploads.flush()
    assert here.copies == {"t1.last.npz": b"4"}
    assert [key for key in weather.written if "checkpoints" in key] == ["checkpoints/t1.last.npz"]


def test_another_machine_fetches_the_checkpoints(machine):
    """With an empty disk a start has what the store has, and sends none again; what it discards is gone for all."""
    here, there = machine("a"), machine("b")
    here.checkpoint("t1.best.npz", b"best")
    here.checkpoint("t1.last.npz", b"last")
    with here.start() as uploads:
        uploads.flush()
    here.store._weather.written.clear()  # noqa: SLF001 - the test's own class
    with there.start() as uploads:
        uploads.copies.restore(LONG)
        assert there.checkpoints == {"t1.best.npz": b"best", "t1.last.npz": b"last"}
        uploads.flush()
        assert here.store._weather.written == []  # noqa: SLF001 - likewise
        (there.scratch.checkpoints / "t1.best.npz").unlink()
        uploads.flush()
    assert set(there.copies) == {"t1.last.npz"}


def test_what_this_machine_has_is_newer_unless_another_was_here(machine):
    """A restart keeps its own checkpoints; after a turn of another machine they are out of date, and fetched anew."""
    here, there = machine("a"), machine("b")
    here.checkpoint("t1.last.npz", b"epoch 1")
    with here.start() as uploads:
        uploads.flush()
    here.checkpoint("t1.last.npz", b"epoch 2")
    here.checkpoint("t0.last.npz", b"ended elsewhere")
    with here.start() as uploads:
        uploads.copies.restore(LONG)
        assert here.checkpoints["t1.last.npz"] == b"epoch 2"
    with there.start() as uploads:
        uploads.copies.restore(LONG)
        there.checkpoint("t1.last.npz", b"epoch 3")
        uploads.flush()
    with here.start() as uploads:
        uploads.copies.restore(LONG, anew=True)
        assert here.checkpoints == {"t1.last.npz": b"epoch 3"}


def test_foreign_objects_among_the_copies_are_left_alone(machine):
    """Only names of checkpoints are fetched; whatever is in them, for their reader looks at that."""
    here = machine()
    for name, content in (("t1.last.npz", b"torn"), ("folder/t2.last.npz", b"no"), ("notes.txt", b"no")):
        here.store.put(LAYOUT.key(f"checkpoints/{name}"), content)
    with here.start() as uploads:
        uploads.copies.restore(LONG)
    assert here.checkpoints == {"t1.last.npz": b"torn"}


def test_a_restore_waits_for_the_store(machine, weather):
    """An outage at the start is waited out, as long as the patience."""
    here, there = machine("a"), machine("b")
    here.checkpoint("t1.last.npz")
    with here.start() as uploads:
        uploads.flush()
    weather.fails = StoreError("no answer")
    with there.start() as uploads:
        with pytest.raises(StoreError, match="no answer"):
            uploads.copies.restore(0.1)
        timer = threading.Timer(0.2, setattr, (weather, "fails", None))
        timer.start()
        uploads.copies.restore(LONG)
        timer.join()
    assert set(there.checkpoints) == {"t1.last.npz"}


def test_an_end_in_an_outage_does_not_wait_for_it(machine, weather):
    """With a time limit a flush says that not everything is stored, and what is left is found by the next start."""
    with machine().start() as uploads:
        weather.fails = StoreError("no answer")
        uploads.store_record(record_of())
        uploads.end_within(0.2)
        assert not uploads.flush()
    weather.fails = None
    with machine().start() as uploads:
        assert set(uploads.known_records()) == {"h0-b2-i000-r0"}


def test_records_of_a_lost_disk_are_trained_again(machine, weather):
    """Without the disk that held them, what the store never took is not known: nothing half is."""
    with machine().start(patience=0.0) as uploads:
        weather.fails = StoreError("no answer")
        uploads.store_record(record_of())
    weather.fails = None
    shutil.rmtree(machine().scratch.folder)
    with machine().start() as uploads:
        assert uploads.known_records() == {}


def test_checkpoints_of_several_trainings_are_copied(machine):
    """Each of a trial's trainings has its own, with and without folds; what looks like them is none."""
    names = {"t1.e0.best.npz", "t1.e0.last.npz", "t1.e1.last.npz", "s-units-0.e0f12.last.npz"}
    with machine().start() as uploads:
        for name in (*names, "t1.e.last.npz", "t1.ef1.last.npz", "t1.e0f.last.npz"):
            machine().checkpoint(name, name.encode())
        uploads.copies.look()
        uploads.flush()
    assert set(machine().copies) == names
