"""Every algorithm through the real driver: the same records with any number of workers, any order, any restart."""

import keras_tuner
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job.errors import StateConflictError
from job.search.algorithms import make_oracle
from job.spec import JobSpec
from job.spec.validation import validate_document

CHANCES = st.randoms(use_true_random=False)
# Few initial points: most of the Bayesian proposals come from its model.
SEARCHES = {
    "hyperband": {"algorithm": "hyperband"},
    "random": {"algorithm": "random", "max_trials": 25, "max_epochs": 3},
    "grid": {"algorithm": "grid", "max_epochs": 3},
    "bayesian": {"algorithm": "bayesian", "max_trials": 8, "max_epochs": 3, "lag": 2, "num_initial_points": 2},
}
PLANNED = {"hyperband": (30, 120), "random": (25, 75), "grid": (48, 144), "bayesian": (8, 24)}
SOME_FAIL = {"h0-b0-i001-r0": ["diverged"], "h0-b0-i003-r0": ["error"], "h0-b2-i004-r0": ["error", "error"]}


def job(search, **sections):
    return validate_document({"search": search, "limits": {"max_consecutive_failed_trials": 99}} | sections)


@pytest.fixture(scope="module", params=list(SEARCHES))
def algorithm(request):
    return request.param


@pytest.fixture(scope="module")
def expected(algorithm, simulate):
    """What one worker finds."""
    return simulate(spec=job(SEARCHES[algorithm]), failures=SOME_FAIL).run()


def test_runs_as_planned(algorithm, expected):
    """Each algorithm runs the trials and epochs that its spec plans, and says which it is."""
    totals = expected.totals
    planned = (totals.planned_trials, totals.planned_epochs)
    assert totals.algorithm == algorithm
    assert planned == PLANNED[algorithm]
    assert (totals.trials, totals.stopped_by, totals.shortfalls) == (planned[0], None, ())
    assert planned[0] == job(SEARCHES[algorithm]).planned().trials


def test_the_best_trial_has_the_best_score(expected):
    """The result's best is the first trial with the best score."""
    best = max(trial.score for trial in expected.trials if trial.score is not None)
    assert expected.best == next(trial for trial in expected.trials if trial.score == best)


@pytest.mark.parametrize("slots", [1, 2, 8])
@given(CHANCES)
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_workers_and_order_do_not_matter(algorithm, expected, simulate, slots, chance):
    """With 1, 2 or 8 workers, and whatever order trials end in, the result is the same; one checkpoint is left."""
    search = simulate(spec=job(SEARCHES[algorithm]), slots=slots, chance=chance, failures=SOME_FAIL)
    assert search.run() == expected
    assert search.executor.checkpoints == {expected.best.trial_id}


@given(st.data(), CHANCES, st.integers(1, 8))
@settings(max_examples=8, deadline=None)
def test_known_records_do_not_matter(algorithm, expected, simulate, data, chance, slots):
    """With any subset of the records known in advance only the others run, and the result is the same."""
    records = {trial.trial_id: trial for trial in expected.trials}
    known = {name: records[name] for name in data.draw(st.sets(st.sampled_from(sorted(records))))}
    search = simulate(spec=job(SEARCHES[algorithm]), known=known, slots=slots, chance=chance, failures=SOME_FAIL)
    assert search.run() == expected
    assert {request.trial_id for request in search.executor.requests} == records.keys() - known.keys()


@pytest.mark.parametrize("name", ["random", "grid", "bayesian"])
def test_straight_trials_are_one_rung(name, simulate):
    """Random, grid and Bayesian trials train from 0 to max_epochs; their ids count up, and no two are alike."""
    trials = simulate(spec=job(SEARCHES[name]), slots=3).run().trials
    assert [trial.trial_id for trial in trials] == [f"h0-b0-i{index:03d}-r0" for index in range(len(trials))]
    assert {(trial.parent, trial.from_epoch, trial.to_epoch) for trial in trials} == {(None, 0, 3)}
    assert len({repr(sorted(trial.hyperparameters.items())) for trial in trials}) == len(trials)


@pytest.mark.parametrize("name", ["random", "bayesian"])
def test_another_seed_tries_other_points(name, simulate):
    """The seed decides what is tried; 0 is a seed."""
    tried = [
        [trial.hyperparameters for trial in simulate(spec=job(SEARCHES[name], seed=seed)).run().trials]
        for seed in (0, 0, 1)
    ]
    assert tried[0] == tried[1] != tried[2]


@pytest.mark.parametrize("name", ["random", "grid"])
def test_a_record_of_another_search_is_a_conflict(name, simulate):
    """A known record with other hyperparameters than this search proposes ends it."""
    record = simulate(spec=job(SEARCHES[name])).run().trials[1]
    other = record.model_copy(update={"hyperparameters": {"units": 32, "learning_rate": 0.5}})
    with pytest.raises(StateConflictError, match="another search"):
        simulate(spec=job(SEARCHES[name]), known={record.trial_id: other}).run()


def test_random_search_draws_as_hyperband_does():
    """A random search's trials are Hyperband's addressed draws."""
    space = keras_tuner.HyperParameters()
    space.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    objective = keras_tuner.Objective("val_accuracy", "max")
    # One bracket, number 0.
    hyperband = {"algorithm": "hyperband", "max_epochs": 3, "min_epochs": 3}
    oracles = [make_oracle(JobSpec(search=one), objective, space, {}) for one in (hyperband, SEARCHES["random"])]
    tried = [
        [oracle.create_trial(str(n)).hyperparameters.values["learning_rate"] for n in range(2)] for oracle in oracles
    ]
    assert tried[0] == tried[1]


@pytest.mark.parametrize("name", ["random", "bayesian"])
def test_a_space_that_is_used_up_ends_the_search(name, simulate):
    """No point is tried twice: six points are six trials, and the shortfall is reported."""
    space = keras_tuner.HyperParameters()
    space.Choice("units", [1, 2, 3])
    space.Boolean("wide")
    result = simulate(spec=job(SEARCHES[name]), space=space, slots=4).run()
    assert len({repr(trial.hyperparameters) for trial in result.trials}) == result.totals.trials == 6
    planned = PLANNED[name][0]
    [short] = result.totals.shortfalls
    assert (short.planned, short.actual, short.reason) == (planned, 6, "the space has no more unused points")


def test_a_grid_lists_every_point_once(simulate):
    """A grid tries every combination in order; an entry whose condition does not hold multiplies nothing."""
    space = keras_tuner.HyperParameters()
    space.Choice("optimizer", ["adam", "sgd"])
    with space.conditional_scope("optimizer", ["sgd"]):
        space.Float("momentum", 0.0, 1.0, step=0.1)
    space.Int("units", 8, 32, step=2, sampling="log")
    spec = job({"algorithm": "grid", "max_trials": 100})
    trials = simulate(spec=spec, space=space).run().trials
    adam = [{"optimizer": "adam", "units": units} for units in (8, 16, 32)]
    sgd = [{"optimizer": "sgd", "momentum": 0.1 * n, "units": units} for n in range(11) for units in (8, 16, 32)]
    assert [trial.hyperparameters for trial in trials] == [*adam, *sgd]


def test_a_grid_may_be_cut_short(simulate):
    """With max_trials a grid tries that many of its points, the first ones."""
    grid = simulate(spec=job({"algorithm": "grid", "max_epochs": 3})).run().trials
    part = simulate(spec=job({"algorithm": "grid", "max_epochs": 3, "max_trials": 7})).run()
    assert part.trials == grid[:7]
    assert (part.totals.planned_trials, part.totals.shortfalls) == (7, ())
