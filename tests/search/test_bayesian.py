"""Bayesian proposals: what each depends on, and that they are better than chance."""

import math

import keras_tuner
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.search import bayesian
from job.search.bayesian import BayesianProposals

OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")
INITIAL = 3


def space():
    hp = keras_tuner.HyperParameters()
    hp.Choice("optimizer", ["adam", "sgd"])
    with hp.conditional_scope("optimizer", ["sgd"]):
        hp.Float("momentum", 0.0, 0.9)
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    return hp


def proposals(*, lag=2, seed=0, objective=OBJECTIVE, hp=None, **more):
    return BayesianProposals(objective, hp or space(), seed, lag=lag, num_initial_points=INITIAL, **more)


def score_of(values):
    """Best at a learning rate of 0.01."""
    return -abs(math.log10(values["learning_rate"]) + 2)


def search(source, count, score=score_of):
    """The values of the first trials, each proposed from the scores that it may see."""
    before = []
    for index in range(count):
        scores = [score(values) for values in before[: max(0, index - source.lag)]]
        before.append(source.propose(index, before, scores))
    return before


def test_a_proposal_repeats_itself():
    """The same seed, index and records give the same values, whatever the object has proposed before."""
    before = search(proposals(lag=9), 6)
    scores = [score_of(values) for values in before[:4]]
    expected = proposals().propose(6, before, scores)
    used = proposals()
    for _ in range(2):
        assert used.propose(6, before, scores) == expected
    assert set(map(type, expected.values())) <= {str, int, float}


def test_scores_change_proposals_only_after_the_lag():
    """Trials up to num_initial_points + lag are the same whatever the scores; then they are not."""
    good, bad = (search(proposals(), 9, score) for score in (score_of, lambda values: -score_of(values)))
    assert good[: INITIAL + 2] == bad[: INITIAL + 2]
    assert good[INITIAL + 2 :] != bad[INITIAL + 2 :]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_proposals_gather_around_the_optimum(direction):
    """After its random points the search comes closer to the best learning rate than they did."""
    objective = keras_tuner.Objective("val_accuracy", direction)
    sign = 1 if direction == "max" else -1
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    tried = search(proposals(objective=objective, lag=0, hp=hp), 10, lambda values: sign * score_of(values))
    distances = [-score_of(values) for values in tried]
    assert min(distances[INITIAL:]) < min(distances[:INITIAL])
    assert min(distances[INITIAL:]) < 0.1


def test_failed_trials_are_no_points():
    """Until enough trials have completed, points are random, however many have failed."""
    before = search(proposals(lag=9), 8)
    random_points = proposals().propose(8, before, [])
    assert proposals().propose(8, before, [None] * 6) == random_points
    assert proposals().propose(8, before, [None] * 4 + [0.5, 0.6]) == random_points
    assert proposals().propose(8, before, [None] * 3 + [0.5, 0.6, 0.7]) != random_points


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=6, max_size=6), st.integers(0, 2**63 - 1))
@settings(max_examples=8, deadline=None)
def test_any_scores_give_a_legal_proposal(scores, seed):
    """Equal, huge or missing scores still give values of the space, of the active entries alone."""
    before = search(proposals(seed=seed), 3) * 2
    values = proposals(seed=seed).propose(6, before, scores)
    assert 1e-4 <= values["learning_rate"] <= 1e-1
    assert values["optimizer"] in {"adam", "sgd"}
    assert ("momentum" in values) == (values["optimizer"] == "sgd")


def test_points_are_not_tried_twice():
    """Of six points each is proposed once, and then none."""
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 1, 6)
    tried = search(proposals(hp=hp), 7, lambda values: 0.0 if values is None else values["units"] / 10)
    assert sorted(values["units"] for values in tried[:6]) == [1, 2, 3, 4, 5, 6]
    assert tried[6] is None


def test_known_values_are_not_worked_out_again(monkeypatch):
    """What an earlier start proposed is taken from its records, without fitting anything."""
    before = search(proposals(), 7)
    known = {f"h0-b0-i{index:03d}-r0": values for index, values in enumerate(before)}
    monkeypatch.setattr(bayesian.BayesianProposals, "_optimum", lambda *_: pytest.fail("worked out"))
    assert search(proposals(known=known), 7) == before
