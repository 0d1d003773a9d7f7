"""Trials that take their process down: which deaths count against a trial, and which never do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.attempts import MEMORY_DEATHS, QUICK_DEATHS, SLOW_DEATHS, Attempts
from job.errors import LockedError, StoreError
from job.layout import ATTEMPTS_FOLDER, LEASE, RunLayout, attempt_marker
from job.lease import LeaseTiming, RunLease
from job.records import AttemptMarker, TrialRequest
from job.store import LocalStore

RUN = RunLayout("nightly", "one")
PATIENCE = 100.0
SILENT = LeaseTiming(beat=3600.0, look=0.01)


def request_of(trial_id="h0-b2-i001-r1"):
    return TrialRequest(
        trial_id=trial_id,
        hyperparameters={"units": 32, "learning_rate": 1e-3},
        iteration=0,
        bracket=2,
        index=1,
        rung=1,
        parent="h0-b2-i001-r0",
        from_epoch=2,
        to_epoch=4,
        seed=7,
    )


class Elsewhere(LocalStore):
    """A directory that can be cut off; a lease in it takes it for a bucket."""

    down = False

    def get(self, key):
        self._pass()
        return super().get(key)

    def put(self, key, data):
        self._pass()
        super().put(key, data)

    def delete(self, key):
        self._pass()
        super().delete(key)

    def _pass(self):
        if self.down:
            raise StoreError("the network is gone")


class Starts:
    """The starts of one run, one after the other, each with a store of its own and a clock that the test moves."""

    def __init__(self, root):
        self.root = root
        self.progress = {}
        self.store = LocalStore(root)
        self.started = []

    def start(self):
        self.started.append(Start(self))
        return self.started[-1]

    def markers(self):
        return [entry.key.removeprefix(RUN.key(ATTEMPTS_FOLDER)) for entry in self.store.list(RUN.key(ATTEMPTS_FOLDER))]


class Start:
    def __init__(self, starts):
        self.now = 0.0
        self.used = 0
        self.store = Elsewhere(starts.root)
        self.lease = RunLease(
            self.store, RUN, timing=SILENT, clock=lambda: self.now, sleep=lambda _: None, memory=lambda: self.used
        )
        self.lease.acquire()
        self.attempts = Attempts(
            self.store, RUN, self.lease, progress=lambda trial: starts.progress.get(trial, "none"), patience=PATIENCE
        )

    def train(self, *trials):
        for trial in trials:
            self.attempts.starting(request_of(trial))

    def die(self, *, after=0.0, memory=0.0):
        """Be killed: the last heartbeat says how long it lived and what share of its memory it used."""
        self.now += after
        self.used = int(memory * self.lease.current.memory_limit)
        self.lease.confirm()
        with self.attempts:
            self.store.down = True
            self.lease.release()
            self.store.down = False
            raise KeyboardInterrupt

    def end(self):
        with self.attempts:
            pass
        self.lease.release()


@pytest.fixture
def starts(tmp_path):
    found = Starts(tmp_path)
    yield found
    for start in found.started:
        start.lease.release()


def killed(starts, *trials, **how):
    """A start that is killed while these trials are under way; what it gave up before."""
    start = starts.start()
    given_up = start.attempts.given_up({})
    start.train(*(trial for trial in trials if trial not in {record.trial_id for record in given_up}))
    with pytest.raises(KeyboardInterrupt):
        start.die(**how)
    return [record.trial_id for record in given_up]


def given_up(starts):
    start = starts.start()
    records = start.attempts.given_up({})
    start.lease.release()
    return records


def test_a_trial_begins_while_the_store_is_away(starts):
    """Training goes on through an outage, also a long one: only a run that is known to be lost begins nothing."""
    start = starts.start()
    start.now += 10**4
    start.store.down = True
    start.train("t")
    start.store.down = False


def test_a_marker_has_all_that_a_record_needs(starts):
    """Before it trains, a trial leaves who started it, from which checkpoint, and what it is."""
    starts.progress["t"] = "epoch 3"
    start = starts.start()
    start.train("t")
    marker = AttemptMarker.model_validate_json(starts.store.get(RUN.key(attempt_marker("t", 1))).data)
    assert (marker.token, marker.progress, marker.hyperparameters) == (1, "epoch 3", request_of().hyperparameters)
    assert marker.memory_limit > 0
    start.end()


def test_a_recorded_trial_leaves_no_marker(starts):
    """Once a trial has a record its markers go, those of earlier starts too; the others stay with a killed start."""
    killed(starts, "one", "two")
    start = starts.start()
    start.attempts.given_up({})
    start.train("one", "two")
    start.attempts.ended("one")
    # Markers are written and removed in order: once this one is there, those are gone.
    start.train("three")
    with pytest.raises(KeyboardInterrupt):
        start.die()
    assert starts.markers() == ["three.2.json", "two.1.json", "two.2.json"]


def test_an_orderly_end_leaves_no_marker(starts):
    """A search that ends early leaves trials without a record, and no markers of them."""
    killed(starts, "one")
    start = starts.start()
    start.attempts.given_up({})
    start.train("two")
    start.end()
    assert starts.markers() == []


def test_markers_of_recorded_trials_are_removed_at_the_next_start(starts):
    """Killed between a record and the removal of its marker, a start leaves one that counts for nothing."""
    for _ in range(MEMORY_DEATHS):
        killed(starts, "one", memory=0.9)
    start = starts.start()
    assert start.attempts.given_up({"one": None}) == []
    start.end()
    assert starts.markers() == []


def test_three_deaths_with_the_memory_nearly_full_fail_a_trial(starts):
    """The third death close to the limit is enough, for every trial that was under way at all three."""
    for number in range(MEMORY_DEATHS):
        assert killed(starts, "greedy", *(["late"] if number else []), memory=0.85) == []
    (record,) = given_up(starts)
    assert (record.trial_id, record.status, record.failure, record.score) == ("greedy", "failed", "error", None)
    assert record.attempts == MEMORY_DEATHS
    assert "memory nearly full" in record.error
    assert (record.hyperparameters, record.index, record.rung) == (request_of().hyperparameters, 1, 1)
    assert (record.parent, record.from_epoch, record.to_epoch) == ("h0-b2-i001-r0", 2, 4)


def test_progress_does_not_excuse_memory(starts):
    """A trial that fills the memory is failed although it gets on every time."""
    for number in range(MEMORY_DEATHS):
        starts.progress["greedy"] = f"epoch {number}"
        killed(starts, "greedy", memory=0.95)
    assert [record.trial_id for record in given_up(starts)] == ["greedy"]


def test_deaths_with_memory_to_spare_are_not_held_against_the_memory(starts):
    """Below four fifths of the limit a death is no memory's doing."""
    for _ in range(MEMORY_DEATHS + 2):
        killed(starts, "healthy", memory=0.79)
    assert given_up(starts) == []


def test_a_trial_that_gains_nothing_in_eight_long_lives_fails(starts):
    """Eight deaths in a row, each after long enough to get on, from one and the same checkpoint."""
    starts.progress["stuck"] = "epoch 1"
    for _ in range(SLOW_DEATHS):
        assert killed(starts, "stuck", after=PATIENCE) == []
    (record,) = given_up(starts)
    assert "without progress" in record.error


def test_progress_starts_the_count_anew(starts):
    """Deaths before the last progress do not count."""
    for _ in range(SLOW_DEATHS - 1):
        killed(starts, "slow", after=PATIENCE)
    starts.progress["slow"] = "epoch 1"
    for _ in range(SLOW_DEATHS - 1):
        killed(starts, "slow", after=PATIENCE)
    assert given_up(starts) == []


def test_lives_too_short_to_get_on_need_many_more_deaths(starts):
    """A machine that is taken away within seconds says nothing of the trial; in the end it counts all the same."""
    for _ in range(QUICK_DEATHS):
        assert killed(starts, "quick", after=5.0) == []
    assert [record.trial_id for record in given_up(starts)] == ["quick"]


def test_an_orderly_end_is_no_death(starts):
    """Preempted in good order, over and over, a trial fails for nothing."""
    for _ in range(SLOW_DEATHS + 1):
        start = starts.start()
        start.used = start.lease.current.memory_limit
        assert start.attempts.given_up({}) == []
        start.train("preempted")
        start.now += PATIENCE
        start.lease.confirm()
        start.lease.release()
    assert given_up(starts) == []


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 0.79), st.booleans()), min_size=40, max_size=50))
@settings(max_examples=10, deadline=None)
def test_kills_never_fail_a_trial_that_gets_on(tmp_path_factory, deaths):
    """Fifty kills at any moments fail no trial that gains something in every life that is long enough."""
    starts = Starts(tmp_path_factory.mktemp("run"))
    for number, (after, memory, is_early) in enumerate(deaths):
        # Every third start lives long enough.
        seconds = PATIENCE + after if number % 3 == 0 else min(after, PATIENCE / 2)
        assert killed(starts, *([] if is_early and number % 3 else ["healthy"]), after=seconds, memory=memory) == []
        if number % 3 == 0:
            starts.progress["healthy"] = f"life {number}"
    assert given_up(starts) == []


def test_an_outage_holds_up_no_trial(starts):
    """A marker that cannot be written is a warning, not the search's end."""
    start = starts.start()
    start.store.down = True
    start.train("one")
    start.store.down = False
    start.end()
    assert starts.markers() == []


def test_a_lost_lease_starts_no_trial(starts):
    """Whoever has lost the run starts nothing in it."""
    start = starts.start()
    other = start.lease.current.model_copy(update={"token": 2, "holder": "other"})
    starts.store.put(RUN.key(LEASE), other.to_json())
    with pytest.raises(LockedError):
        start.lease.confirm()
    with pytest.raises(LockedError):
        start.train("one")
    assert starts.markers() == []


@pytest.mark.parametrize("garbage", [b"", b"{}", b"not json"])
def test_a_marker_that_is_none_counts_for_nothing(starts, garbage):
    """What cannot be read is said and ignored."""
    starts.store.put(RUN.key(attempt_marker("one", 1)), garbage)
    assert given_up(starts) == []
