"""The driver, with a simulated executor: retries, limits, discarding, resuming."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import SearchFailedError, StateConflictError
from job.records import Execution
from job.search.oracle import Address
from job.search.stopping import is_out_of_time

# The ids of the first rung of the first bracket, in the order in which they start.
FIRST = [f"h0-b2-i{index:03d}-r0" for index in range(12)]
CHANCES = st.randoms(use_true_random=False)


def dice(seed):
    """Repeatable chance."""
    return random.Random(seed)  # noqa: S311 - a test's draws, no secret


@st.composite
def failing_trials(draw):
    """Up to ten trials with one to three failing attempts; with three allowed attempts some recover."""
    trials = st.one_of(st.sampled_from(FIRST), st.builds("h0-b{}-i{:03d}-r{}".format, *[st.integers(0, 2)] * 3))
    kinds = st.lists(st.sampled_from(["error", "timed_out", "diverged"]), min_size=1, max_size=3)
    return draw(st.dictionaries(trials, kinds, max_size=10))


def test_runs_the_whole_schedule(simulate):
    """Without failures all 30 trials run once, 120 epochs, and the totals say as much."""
    search = simulate()
    result = search.run()
    totals = result.totals
    assert (totals.trials, totals.planned_trials, totals.failed_trials) == (30, 30, 0)
    assert (totals.epochs, totals.planned_epochs) == (120, 120)
    assert (totals.algorithm, totals.objective, totals.direction) == ("hyperband", "val_accuracy", "max")
    assert (totals.stopped_by, totals.shortfalls) == (None, ())
    assert len(search.executor.requests) == 30


def test_the_best_trial_is_the_first_with_the_best_score(simulate):
    """Among equal scores the first in address order is best, and the trials are listed in that order."""
    result = simulate(slots=5, chance=dice(4)).run()
    best_score = max(trial.score for trial in result.trials)
    assert result.best == next(trial for trial in result.trials if trial.score == best_score)
    order = [(-trial.bracket, trial.rung, trial.index) for trial in result.trials]
    assert order == sorted(order)


def test_requests_carry_the_lineage(simulate):
    """Every rung of a configuration is asked for with one seed and its parent's id, and other ones with others."""
    search = simulate(seed=7)
    search.run()
    seeds = {}
    for request in search.executor.requests:
        address = Address(request.iteration, request.bracket, request.index, request.rung)
        assert request.trial_id == address.trial_id
        assert request.parent == (address.parent().trial_id if request.rung else None)
        assert (request.from_epoch == 0) == (request.rung == 0)
        assert not any(name.startswith("tuner/") for name in request.hyperparameters)
        seeds.setdefault((request.bracket, request.index), set()).add(request.seed)
    assert {len(found) for found in seeds.values()} == {1}
    assert len(set.union(*seeds.values())) == len(seeds)


@given(CHANCES, st.integers(2, 8), failing_trials())
@settings(max_examples=25, deadline=None)
def test_slots_and_order_do_not_matter(simulate, chance, slots, failures):
    """Any number of slots and any order of ends give the same result, failures and retries included."""
    expected = simulate(failures=failures, consecutive=99).run()
    search = simulate(slots=slots, chance=chance, failures=failures, consecutive=99)
    assert search.run() == expected
    assert sorted(record.trial_id for record in search.stored) == [trial.trial_id for trial in sorted_trials(expected)]


def sorted_trials(result):
    return sorted(result.trials, key=lambda trial: trial.trial_id)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_a_failed_trial(simulate, retries):
    """A trial is tried again up to max_retries_per_trial times; the record says how often it was started."""
    failures = {FIRST[2]: ["error"] * 2, FIRST[4]: ["timed_out"]}
    search = simulate(failures=failures, retries=retries)
    records = {record.trial_id: record for record in search.run().trials}
    recovered = [retries >= 2, retries >= 1]
    for trial_id, attempts, completed in zip(failures, (3, 2), recovered, strict=True):
        record = records[trial_id]
        assert record.attempts == min(attempts, retries + 1)
        assert record.status == ("completed" if completed else "failed")
        assert (record.error is None) == completed
        asked = [request for request in search.executor.requests if request.trial_id == trial_id]
        assert len(asked) == record.attempts
        assert len(set(map(repr, asked))) == 1
    assert all(record.attempts == 1 for trial_id, record in records.items() if trial_id not in failures)


@pytest.mark.parametrize("failure", ["diverged", "given_up"])
def test_what_would_fail_again_is_not_retried(simulate, failure):
    """A diverged trial would diverge again, and what the user's code gives up is given up: one attempt."""
    search = simulate(failures={FIRST[0]: [failure]}, retries=5)
    result = search.run()
    assert [request.trial_id for request in search.executor.requests].count(FIRST[0]) == 1
    record = next(trial for trial in result.trials if trial.trial_id == FIRST[0])
    assert (record.status, record.failure, record.attempts) == ("failed", failure, 1)
    assert result.totals.failed_trials == 1
    assert result.totals.trials == 30


def test_too_many_failures_in_a_row_end_the_search(simulate):
    """The third failed trial in a row ends the search with its error, and all records are kept."""
    search = simulate(failures={trial_id: ["diverged"] for trial_id in FIRST[4:7]}, consecutive=3)
    with pytest.raises(SearchFailedError, match=rf"3 trials failed in a row.*{FIRST[6]}: diverged in attempt 1"):
        search.run()
    assert [record.trial_id for record in search.stored] == FIRST[:7]


def test_a_completed_trial_in_between_resets_the_count(simulate):
    """Two failures, a completed trial and two more failures are not three in a row."""
    failures = {trial_id: ["diverged"] for trial_id in [*FIRST[2:4], *FIRST[5:7]]}
    assert simulate(failures=failures, consecutive=3).run().totals.failed_trials == 4


def test_retries_do_not_count_as_failures_in_a_row(simulate):
    """Attempts that are retried with success are no failed trials."""
    failures = {trial_id: ["error", "error"] for trial_id in FIRST}
    assert simulate(failures=failures, retries=2, consecutive=1).run().totals.failed_trials == 0


def test_no_completed_trial_is_a_failed_search(simulate):
    """A search whose every trial failed has no result, whatever the limit on failures in a row."""
    search = simulate(
        failures={f"h0-b{b}-i{i:03d}-r0": ["diverged"] for b in range(3) for i in range(12)}, consecutive=99
    )
    quoted = r"no trial completed: every trial failed; 22 of 22 with: .*diverged in attempt 1"
    with pytest.raises(SearchFailedError, match=quoted):
        search.run()
    assert len(search.stored) == 22


@pytest.mark.parametrize("slots", [1, 3])
def test_the_timeout_starts_no_more_trials(simulate, slots):
    """After limits.timeout what is under way ends, nothing else starts, and the best so far is the result."""
    search = simulate(timeout=20.0, slots=slots)
    result = search.run()
    # The clock stands still but for a second per epoch; first rungs take two.
    assert result.totals.trials == 10 + slots - 1
    assert result.totals.stopped_by == "limits.timeout (20 s)"
    assert result.best.score == max(record.score for record in search.stored)
    assert not search.executor.under_way
    reasons = {short.reason for short in result.totals.shortfalls}
    assert reasons == {"the search was stopped before"}
    assert sum(short.planned - short.actual for short in result.totals.shortfalls) == 30 - result.totals.trials


@pytest.mark.parametrize("hang_from", [8.0, 15.0])
@pytest.mark.parametrize("slots", [1, 3, 4])
def test_what_hangs_is_ended_at_the_timeout_and_fails_no_search(simulate, slots, hang_from):
    """Each attempt under way is recorded as out of time, none is tried again, and the best so far is the result."""
    search = simulate(timeout=20.0, slots=slots, hang_from=hang_from, consecutive=2, retries=2)
    result = search.run()
    ended = [record for record in search.stored if is_out_of_time(record)]
    assert len(ended) == slots
    assert {record.attempts for record in ended} == {1}
    assert not search.executor.under_way
    assert result.totals.stopped_by == "limits.timeout (20 s)"
    assert result.best.score == max(record.score for record in search.stored if record.score is not None)
    known = {record.trial_id: record for record in search.stored}
    again = simulate(timeout=20.0, slots=slots, known=known, used_before=20.0, consecutive=2).run()
    assert (again.best, again.trials) == (result.best, result.trials)


@pytest.mark.parametrize(("used_before", "trials"), [(0.0, 10), (12.0, 4), (19.5, 1)])
def test_the_timeout_sums_over_starts(simulate, used_before, trials):
    """What earlier starts of the run used is time that this one does not have."""
    assert simulate(timeout=20.0, used_before=used_before).run().totals.trials == trials


@given(CHANCES, st.integers(1, 6), st.integers(1, 6), st.floats(3.0, 130.0))
@settings(max_examples=25, deadline=None)
def test_after_the_timeout_what_is_recorded_still_counts(simulate, chance, slots, slots_later, timeout):
    """A start that has no time left trains nothing, and has the answer of the one that was stopped by the time."""
    first = simulate(slots=slots, chance=chance, timeout=timeout)
    expected = first.run()
    known = {record.trial_id: record for record in first.stored}
    again = simulate(slots=slots_later, known=known, timeout=timeout, used_before=timeout)
    result = again.run()
    assert again.executor.requests == []
    assert (result.best, result.trials) == (expected.best, expected.trials)


@given(CHANCES, st.integers(1, 6), st.integers(1, 6), st.sets(st.integers(0, 29), min_size=1))
@settings(max_examples=25, deadline=None)
def test_after_the_timeout_gaps_among_the_records_do_not_hide_those_behind(simulate, chance, slots, slots_later, kept):
    """Trials of a first rung that a killed start had under way are left out; those after them count."""
    first = simulate(slots=slots, chance=chance)
    first.run()
    in_first_rungs = sorted(record.trial_id for record in first.stored if record.rung == 0)
    known_ids = {in_first_rungs[number % len(in_first_rungs)] for number in kept}
    known = {record.trial_id: record for record in first.stored if record.trial_id in known_ids}
    again = simulate(slots=slots_later, known=known, timeout=1.0, used_before=1.0)
    assert {trial.trial_id for trial in again.run().trials} == known_ids
    assert again.executor.requests == []


def test_every_attempt_is_announced_before_it_starts(simulate):
    """Whoever asked is told of each request before the executor has it, retries included, and of no known trial."""
    search = simulate(failures={FIRST[2]: ["error"]})
    search.run()
    assert search.announced == search.executor.requests
    known = {record.trial_id: record for record in search.stored}
    again = simulate(known=known)
    again.run()
    assert again.announced == []


def test_a_timeout_before_the_first_trial_is_a_failed_search(simulate):
    """Where time is up at once there is no result, and the reason is the timeout."""
    with pytest.raises(SearchFailedError, match=r"no trial completed: limits\.timeout"):
        simulate(timeout=0.0).run()


@given(CHANCES, st.integers(1, 6), failing_trials(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_checkpoints_live_as_long_as_they_are_needed(simulate, chance, slots, failures, rising):
    """Parents' checkpoints exist when trials start, and in the end only the best trial's is left.

    That none is discarded twice, under way, or before its last use, is asserted by the executor.
    """
    search = simulate(slots=slots, chance=chance, failures=failures, consecutive=99, rising=rising)
    result = search.run()
    assert search.executor.checkpoints == {result.best.trial_id}


def test_a_best_trial_that_is_beaten_after_its_last_use_is_let_go(simulate):
    """The best trial's checkpoint outlives its rung's need of it, but not the next best trial."""
    # All of the first bracket's promoted trials fail, so that its best is one of the first rung until the next bracket.
    failures = {f"h0-b2-i{index:03d}-r1": ["diverged"] for index in range(12)}
    search = simulate(failures=failures, consecutive=99, rising=True)
    result = search.run()
    bests = list(dict.fromkeys(best.trial_id for best in search.bests))
    assert bests[-1] == result.best.trial_id
    assert any(best in FIRST for best in bests)
    assert search.executor.checkpoints == {result.best.trial_id}


def test_the_best_so_far_is_announced(simulate):
    """The observer hears of every trial, with a best score that never gets worse."""
    search = simulate(slots=3)
    result = search.run()
    scores = [best.score for best in search.bests]
    assert len(scores) == 30
    assert scores == sorted(scores)
    assert search.bests[-1] == result.best


@given(st.data(), CHANCES, st.integers(1, 4), failing_trials())
@settings(max_examples=30, deadline=None)
def test_known_records_are_not_run_again(simulate, data, chance, slots, failures):
    """With any subset of the records known, only the others run, and the result is the same."""
    expected = simulate(failures=failures, consecutive=99).run()
    records = {trial.trial_id: trial for trial in expected.trials}
    known_ids = data.draw(st.sets(st.sampled_from(sorted(records))))
    known = {trial_id: records[trial_id] for trial_id in known_ids}
    search = simulate(known=known, slots=slots, chance=chance, failures=failures, consecutive=99)
    assert search.run() == expected
    assert {request.trial_id for request in search.executor.requests} == set(records) - known_ids
    assert sorted(record.trial_id for record in search.stored) == sorted(set(records) - known_ids)
    assert len(search.bests) == len(records)


def test_a_search_of_known_records_alone_runs_nothing(simulate):
    """With every record known the executor is never asked, and the result is the same."""
    expected = simulate().run()
    search = simulate(known={trial.trial_id: trial for trial in expected.trials})
    assert search.run() == expected
    assert search.executor.requests == []
    assert search.stored == []


def test_a_record_of_another_search_is_a_conflict(simulate):
    """A known record with other hyperparameters than this search would draw ends it: the run id is another's."""
    other = next(trial for trial in simulate(seed=1).run().trials if trial.trial_id == FIRST[3])
    search = simulate(seed=0, known={FIRST[3]: other})
    with pytest.raises(StateConflictError, match=FIRST[3]) as raised:
        search.run()
    assert "another search" in raised.value.message
    assert [record.trial_id for record in search.stored] == FIRST[:3]


def test_shortfalls_are_listed_in_the_order_of_brackets(simulate):
    """Which bracket ends first does not change the order of what is reported."""
    failures = {f"h{h}-b{b}-i{i:03d}-r0": ["diverged"] for h in (0, 1) for b in (1, 2) for i in range(11)}
    expected = None
    for seed in range(5):
        search = simulate(slots=8, chance=dice(seed), failures=failures, consecutive=99, iterations=2)
        found = [(short.iteration, short.bracket, short.rung) for short in search.run().totals.shortfalls]
        expected = expected or found
        assert found == expected
    assert expected == sorted(expected, key=lambda place: (place[0], -place[1], place[2]))
    assert expected


def test_a_rung_without_epochs_keeps_its_score(simulate):
    """A promoted lineage that had stopped early has no epochs of its own in higher rungs, and may still be the best."""
    search = simulate(rising=True)
    train = search.executor.wait

    def stopped(patience=None):
        record = train(patience)
        if record.rung == 0:
            return record
        parent = next(one for one in search.stored if one.trial_id == record.parent)
        return record.model_copy(
            update={"executions": (Execution(epochs=()),), "score": parent.score, "best_epoch": parent.best_epoch}
        )

    search.executor.wait = stopped
    result = search.run()
    assert (result.totals.trials, result.totals.failed_trials, result.totals.shortfalls) == (30, 0, ())
    assert [trial.rung for trial in result.trials if trial.bracket == 2].count(2) == 2


@pytest.mark.parametrize(("kills", "status"), [(4, "completed"), (5, "failed")])
def test_a_worker_killed_from_outside_does_not_count_like_an_error(simulate, kills, status):
    """Up to the fifth time the trial is tried again whatever its retries, and the answer is that without any kill."""
    plain = simulate(retries=0).run()
    name = plain.trials[0].trial_id
    search = simulate(retries=0, failures={name: ["killed"] * kills})
    result = search.run()
    record = next(record for record in search.stored if record.trial_id == name)
    assert (record.status, record.attempts) == (status, min(kills, 4) + 1)
    if status == "completed":
        assert [(one.trial_id, one.score) for one in result.trials] == [
            (one.trial_id, one.score) for one in plain.trials
        ]


def test_a_kill_leaves_a_trial_its_own_retries(simulate):
    """Errors of its own count by themselves, before and after a kill."""
    name = simulate().run().trials[0].trial_id
    search = simulate(retries=1, failures={name: ["killed", "error", "killed"]})
    search.run()
    record = next(record for record in search.stored if record.trial_id == name)
    assert (record.status, record.attempts) == ("completed", 4)
