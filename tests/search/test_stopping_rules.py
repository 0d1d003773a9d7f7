"""Limits and stopping rules, through the real driver: what counts does not depend on the number of workers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import SearchFailedError
from job.spec.validation import validate_document

CHANCES = st.randoms(use_true_random=False)
SEARCHES = {
    "hyperband": {"algorithm": "hyperband", "hyperband_iterations": 2},
    "random": {"algorithm": "random", "max_trials": 40, "max_epochs": 2},
    "grid": {"algorithm": "grid", "max_epochs": 2},
}
FAILED = {f"h0-b{b}-i{i:03d}-r0": ["diverged"] for b, i in [(2, 1), (2, 7), (1, 3), (0, 0), (0, 7)]}


def job(search, **sections):
    limits = {"max_consecutive_failed_trials": 99} | sections.pop("limits", {})
    return validate_document({"search": search, "limits": limits} | sections)


@pytest.fixture(scope="module", params=list(SEARCHES))
def search(request):
    return SEARCHES[request.param]


@pytest.fixture(scope="module")
def whole(search, simulate):
    """The search without any rule: its trials are in address order."""
    return simulate(spec=job(search), failures=FAILED).run()


def prefix_until_target(trials, target):
    """How many trials there are up to the first that reaches the target."""
    return next((n for n, trial in enumerate(trials, 1) if trial.score is not None and trial.score >= target), None)


def prefix_until_stagnation(trials, patience):
    """How many trials there are up to the last of `patience` ones without a better score, once there is a score."""
    best, since = None, 0
    for n, trial in enumerate(trials, 1):
        is_better = trial.score is not None and (best is None or trial.score > best)
        best, since = (trial.score, 0) if is_better else (best, since + 1)
        if best is not None and since >= patience:
            return n
    return None


def check(result, whole, count):
    """The result is the whole search's first trials, and says of the rest that the search was stopped."""
    assert result.trials == whole.trials[:count]
    assert result.best in result.trials
    assert result.best.score == max(trial.score for trial in result.trials if trial.score is not None)
    totals = result.totals
    assert totals.trials == count
    assert sum(short.planned - short.actual for short in totals.shortfalls) == totals.planned_trials - count


@given(CHANCES, st.sampled_from([1, 2, 8]), st.integers(5, 11))
@settings(max_examples=12, deadline=None)
def test_the_target_ends_the_search(search, whole, simulate, chance, slots, tenths):
    """The first trial in address order that reaches the target is the last that counts, with any number of workers."""
    spec = job(search, stop={"target": tenths / 10})
    one = simulate(spec=spec, failures=FAILED).run()
    many = simulate(spec=spec, slots=slots, chance=chance, failures=FAILED)
    assert many.run() == one
    count = prefix_until_target(whole.trials, tenths / 10)
    if count is None:
        assert one == whole
    else:
        check(one, whole, count)
        assert one.totals.stopped_by == f"stop.target ({tenths / 10:g})"
    assert one.best.trial_id in many.executor.checkpoints


@given(CHANCES, st.sampled_from([1, 2, 8]), st.integers(1, 25))
@settings(max_examples=12, deadline=None)
def test_no_improvement_ends_the_search(search, whole, simulate, chance, slots, patience):
    """After so many trials in address order without a better score nothing counts, with any number of workers."""
    spec = job(search, stop={"no_improvement": patience})
    one = simulate(spec=spec, failures=FAILED).run()
    many = simulate(spec=spec, slots=slots, chance=chance, failures=FAILED)
    assert many.run() == one
    count = prefix_until_stagnation(whole.trials, patience)
    if count is None:
        assert one == whole
    else:
        check(one, whole, count)
        assert one.totals.stopped_by == f"stop.no_improvement ({patience} trials)"
    assert one.best.trial_id in many.executor.checkpoints


@given(st.data(), CHANCES, st.integers(1, 8))
@settings(max_examples=10, deadline=None)
def test_a_stopped_search_resumes_to_the_same_result(search, whole, simulate, data, chance, slots):
    """Records known in advance, also of trials that do not count, do not change what counts."""
    spec = job(search, stop={"no_improvement": 6})
    records = {trial.trial_id: trial for trial in whole.trials}
    known = {name: records[name] for name in data.draw(st.sets(st.sampled_from(sorted(records))))}
    expected = simulate(spec=spec, failures=FAILED).run()
    assert simulate(spec=spec, failures=FAILED, known=known, slots=slots, chance=chance).run() == expected


def test_after_the_target_only_what_precedes_it_starts(simulate):
    """Once a trial has reached the target, no trial of a later index starts."""
    plain = {"algorithm": "random", "max_trials": 30, "max_epochs": 2}
    target = simulate(spec=job(plain)).run().trials[9]

    def metric(hyperparameters, epoch):
        return float(epoch == 2 and hyperparameters == target.hyperparameters)

    search = simulate(spec=job(plain, stop={"target": 1.0}), slots=4, metric=metric)
    result = search.run()
    assert (result.totals.trials, result.best.trial_id) == (10, target.trial_id)
    ended = [record.trial_id for record in search.stored].index(target.trial_id)
    started_before = search.executor.requests[: ended + 4]
    assert all(request.index < 10 or request in started_before for request in search.executor.requests)


@given(CHANCES, st.sampled_from([1, 2, 8]), st.integers(1, 70))
@settings(max_examples=15, deadline=None)
def test_max_total_trials_cuts_the_plan(search, simulate, chance, slots, most):
    """Never do more trials run than limits.max_total_trials; the plan says so, and workers do not matter."""
    spec = job(search, limits={"max_total_trials": most})
    planned = job(search).planned().trials
    one = simulate(spec=spec).run()
    many = simulate(spec=spec, slots=slots, chance=chance)
    assert many.run() == one
    assert len(many.executor.requests) == one.totals.trials == one.totals.planned_trials == min(most, planned)
    assert spec.planned().trials == min(most, planned)
    assert one.totals.stopped_by == (f"limits.max_total_trials ({most})" if most < planned else None)


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_failures_in_a_row_are_counted_in_address_order(search, simulate, chance_of, slots, seed):
    """The same trial ends the search, whatever order trials fail in."""
    rows = {f"h0-b{b}-i{i:03d}-r0": ["diverged"] for b in (0, 2) for i in (2, 3, 5, 6, 7, 9)}
    spec = job(search, limits={"max_consecutive_failed_trials": 3})
    last = "h0-b2-i007-r0" if search["algorithm"] == "hyperband" else "h0-b0-i007-r0"
    with pytest.raises(SearchFailedError, match=rf"3 trials failed in a row; the last one, {last}: diverged"):
        simulate(spec=spec, slots=slots, chance=chance_of(seed), failures=rows).run()


def test_failures_before_the_first_score_are_no_lack_of_improvement(simulate):
    """Three failures at the start do not end a search that waits for three trials without a better score."""
    failures = {f"h0-b0-i{i:03d}-r0": ["diverged"] for i in range(3)}
    result = simulate(spec=job(SEARCHES["random"], stop={"no_improvement": 3}), failures=failures).run()
    assert result.totals.trials > 6
    assert result.best.score is not None


def test_the_longest_trials_start_first(simulate):
    """Once a trial has completed, of all brackets of the iteration the longest trials start first."""
    search = simulate(spec=job({"algorithm": "hyperband"}), slots=2)
    search.run()
    lengths = [request.to_epoch - request.from_epoch for request in search.executor.requests]
    assert lengths[:8] == [2, 2, 10, 10, 10, 10, 4, 4]


def test_a_model_that_cannot_be_trained_fails_soon(simulate):
    """While no trial has completed nothing but the first bracket runs: the third failure ends the search."""
    failures = {f"h0-b{b}-i{i:03d}-r0": ["diverged"] for b in range(3) for i in range(12)}
    search = simulate(
        spec=job({"algorithm": "hyperband"}, limits={"max_consecutive_failed_trials": 3}), failures=failures
    )
    with pytest.raises(SearchFailedError, match="3 trials failed in a row"):
        search.run()
    assert len(search.executor.requests) == 3


def test_a_search_that_may_stop_goes_by_brackets(simulate):
    """Where a rule may end the search, a bracket starts when those before it have nothing to start."""
    search = simulate(spec=job({"algorithm": "hyperband"}, stop={"target": 99.0}))
    search.run()
    order = [request.bracket for request in search.executor.requests]
    assert order == sorted(order, reverse=True)
