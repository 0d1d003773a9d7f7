"""The oracle through KerasTuner's own interface, with a simulated objective."""

import math
import random
from collections import Counter

import keras_tuner
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_tuner.engine.trial import Trial, TrialStatus

from job.schedule import hyperband_schedule
from job.search.oracle import HyperbandOracle
from job.seeds import derive_seed

METRIC = "val_accuracy"


def space():
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 32, 512, step=32)
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    return hp


def five_points():
    hp = keras_tuner.HyperParameters()
    hp.Choice("units", [1, 2, 3, 4, 5])
    return hp


def make_oracle(*, seed=0, hp=None, max_epochs=10, factor=3, direction="max", **schedule):
    return HyperbandOracle(
        keras_tuner.Objective(METRIC, direction),
        hyperband_schedule(max_epochs, factor, **schedule),
        hp or space(),
        seed,
    )


def dice(seed):
    """Repeatable chance."""
    return random.Random(seed)  # noqa: S311 - a test's draws, no secret


def simulated(values, epoch):
    """An objective in tenths, so that ties are common, and as often as not worse after an epoch than before."""
    configuration = sorted((name, value) for name, value in values.items() if not name.startswith("tuner/"))
    return derive_seed(0, repr(configuration), epoch) % 11 / 10


def end(oracle, trial, metric=simulated):
    """Report the trial's epochs, and end it; a metric of None is a trial that failed."""
    values = trial.hyperparameters.values
    trial.status = TrialStatus.COMPLETED
    for epoch in range(values["tuner/initial_epoch"] + 1, values["tuner/epochs"] + 1):
        reported = metric(values, epoch)
        if reported is None:
            trial.status = TrialStatus.FAILED
        else:
            oracle.update_trial(trial.trial_id, {METRIC: reported}, step=epoch)
    oracle.end_trial(trial)


def search(oracle, *, tuners=1, chance=None, metric=simulated):
    """Run a whole search with several tuners whose trials end in random order; the trials as they were created."""
    chance = chance or dice(0)
    created = []
    while True:
        for tuner in map(str, range(tuners)):
            if tuner in oracle.ongoing_trials:
                continue
            trial = oracle.create_trial(tuner)
            if trial.status != TrialStatus.RUNNING:
                break
            created.append(trial)
        if not oracle.ongoing_trials:
            assert trial.status == TrialStatus.STOPPED
            return created
        end(oracle, chance.choice(list(oracle.ongoing_trials.values())), metric)


def tuner_values(trial):
    values = trial.hyperparameters.values
    return tuple(values[f"tuner/{name}"] for name in ("bracket", "round", "initial_epoch", "epochs"))


def outcome(oracle):
    """All that a search has found, whatever its order."""
    return {
        trial.trial_id: (trial.hyperparameters.values, trial.status, trial.score, trial.best_step)
        for trial in oracle.trials.values()
    }


def test_is_a_keras_tuner_oracle():
    """The oracle passes for KerasTuner's Hyperband oracle."""
    assert isinstance(make_oracle(), keras_tuner.oracles.HyperbandOracle)


def test_ten_epochs_by_factor_three_are_thirty_trials():
    """10/3 runs 12, 4, 2, then 6, 2, then 4 trials: 30 trials, 120 epochs, and ids that are their addresses."""
    oracle = make_oracle()
    created = search(oracle)
    assert Counter(map(tuner_values, created)) == {
        (2, 0, 0, 2): 12,
        (2, 1, 2, 4): 4,
        (2, 2, 4, 10): 2,
        (1, 0, 0, 4): 6,
        (1, 1, 4, 10): 2,
        (0, 0, 0, 10): 4,
    }
    assert len(created) == 30
    assert sum(epochs - initial for _, _, initial, epochs in map(tuner_values, created)) == 120
    first_rungs = {
        f"h0-b{bracket}-i{index:03d}-r0" for bracket, size in ((2, 12), (1, 6), (0, 4)) for index in range(size)
    }
    assert {trial.trial_id for trial in created if trial.trial_id.endswith("r0")} == first_rungs
    assert list(oracle.shortfalls()) == []


def test_runs_as_many_trials_and_epochs_as_stock_keras_tuner(tmp_path):
    """KerasTuner's own oracle gives as many trials to each stretch of epochs."""
    stock = keras_tuner.oracles.HyperbandOracle(
        objective=keras_tuner.Objective(METRIC, "max"), max_epochs=10, factor=3, hyperparameters=space(), seed=1
    )
    stock.verbose = 0
    stock._set_project_dir(tmp_path, "stock")  # noqa: SLF001 - what a tuner calls; it has no public name
    stretches = [Counter(tuner_values(trial)[2:] for trial in search(one)) for one in (stock, make_oracle())]
    assert stretches[0] == stretches[1]


def test_a_promoted_trial_names_its_own_bracket_and_its_parent():
    """A promoted trial keeps its parent's hyperparameters and bracket, whatever bracket is being opened meanwhile."""
    oracle = make_oracle()
    for trial in search(oracle, tuners=8, chance=dice(1)):
        bracket, rung, initial, _ = tuner_values(trial)
        values = dict(trial.hyperparameters.values)
        if rung == 0:
            assert "tuner/trial_id" not in values
            continue
        assert values["tuner/trial_id"] == trial.trial_id.removesuffix(f"r{rung}") + f"r{rung - 1}"
        parent = oracle.get_trial(values["tuner/trial_id"])
        assert tuner_values(parent)[:2] == (bracket, rung - 1)
        assert tuner_values(parent)[3] == initial
        assert oracle.user_hyperparameters(parent) == oracle.user_hyperparameters(trial)
        assert set(oracle.user_hyperparameters(trial)) == {"units", "learning_rate"}


@given(st.sampled_from([2, 8]), st.randoms(use_true_random=False), st.sampled_from(["min", "max"]))
@settings(max_examples=15, deadline=None)
def test_the_number_of_tuners_does_not_matter(tuners, chance, direction):
    """With 1, 2 or 8 tuners and any order of ends, trials, scores and the ranking of the best are the same."""
    alone = make_oracle(direction=direction)
    search(alone)
    together = make_oracle(direction=direction)
    search(together, tuners=tuners, chance=chance)
    assert outcome(together) == outcome(alone)
    ranking = [trial.trial_id for trial in alone.get_best_trials(30)]
    assert [trial.trial_id for trial in together.get_best_trials(30)] == ranking
    scores = [trial.score for trial in alone.get_best_trials(30)]
    assert scores == sorted(scores, reverse=direction == "max")


def test_first_rungs_do_not_depend_on_scores():
    """What the first rungs try is the same for another objective and for trials that fail."""

    def first_rungs(metric):
        trials = search(make_oracle(), metric=metric)
        return {t.trial_id: t.hyperparameters.values for t in trials if t.trial_id.endswith("r0")}

    expected = first_rungs(simulated)
    assert first_rungs(lambda values, epoch: -simulated(values, epoch)) == expected
    assert first_rungs(lambda values, _: None if values["units"] > 256 else 0.5) == expected


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")  # KerasTuner's tracker looks for the best of all NaN
def test_one_failure_in_five_leaves_later_rungs_as_planned(value):
    """One in five first-rung trials that fails, or whose objective is NaN or infinite, costs no promotion."""

    def metric(values, epoch):
        failing = values["tuner/round"] == 0 and derive_seed(0, repr(values)) % 5 == 0
        return value if failing else simulated(values, epoch)

    oracle = make_oracle()
    created = search(oracle, tuners=4, metric=metric)
    failed = [trial for trial in created if trial.status == TrialStatus.FAILED]
    assert 2 <= len(failed) <= 8
    assert all(trial.score is None for trial in failed)
    assert Counter(tuner_values(trial)[:2] for trial in created) == {
        (2, 0): 12,
        (2, 1): 4,
        (2, 2): 2,
        (1, 0): 6,
        (1, 1): 2,
        (0, 0): 4,
    }
    assert list(oracle.shortfalls()) == []
    assert not {trial.trial_id for trial in failed} & {t.trial_id for t in oracle.get_best_trials(30 - len(failed))}


@pytest.mark.parametrize("direction", ["min", "max"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_last_epoch_that_is_not_finite_fails_the_trial(direction, value):
    """A finite epoch before it, its own or its parent's, does not save a trial that ended with NaN or infinity."""

    def metric(values, epoch):
        return value if values["tuner/round"] == 1 and epoch == values["tuner/epochs"] else simulated(values, epoch)

    oracle = make_oracle(direction=direction)
    created = search(oracle, metric=metric)
    assert {tuner_values(t)[1] for t in created if t.status == TrialStatus.FAILED} == {1}
    assert [(short.bracket, short.rung, short.actual) for short in oracle.shortfalls()] == [(2, 2, 0)]


def test_a_trial_without_its_objective_has_failed():
    """A trial that ends as completed and reported nothing counts as failed."""
    oracle = make_oracle()
    trial = oracle.create_trial("0")
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)
    assert oracle.get_trial(trial.trial_id).status == TrialStatus.FAILED


@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_score_is_the_best_of_the_lineage(direction):
    """A trial's score is the best objective of all epochs of its configuration, with the epoch it was reached at."""
    best_of = max if direction == "max" else min
    oracle = make_oracle(direction=direction)
    inherited = 0
    for trial in search(oracle):
        values = trial.hyperparameters.values
        scores = {epoch: simulated(values, epoch) for epoch in range(1, values["tuner/epochs"] + 1)}
        assert trial.score == best_of(scores.values())
        assert scores[trial.best_step] == trial.score
        inherited += trial.best_step <= values["tuner/initial_epoch"]
    assert inherited > 0


def test_zero_is_a_seed():
    """Seed 0 repeats itself and differs from other seeds; KerasTuner takes it for no seed."""
    found = [outcome_of_seed(seed) for seed in range(8)]
    assert outcome_of_seed(0) == found[0]
    assert found[0] not in found[1:]


def outcome_of_seed(seed):
    oracle = make_oracle(seed=seed)
    search(oracle)
    assert oracle.seed == seed
    return outcome(oracle)


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    """A search, `save` and `reload` leave no file in the project's or the current folder."""
    monkeypatch.chdir(tmp_path)
    oracle = make_oracle()
    oracle._set_project_dir(tmp_path, "project")  # noqa: SLF001 - what a tuner calls; it has no public name
    before = outcome_after_search(oracle)
    oracle.save()
    oracle.reload()
    assert outcome(oracle) == before
    assert list(tmp_path.iterdir()) == []


def outcome_after_search(oracle):
    search(oracle)
    return outcome(oracle)


def test_a_space_of_five_points_is_halved_in_proportion():
    """Five points are tried once each: 5, 2 and 1 trials of 12, 4 and 2, and nothing in the other brackets."""
    oracle = make_oracle(hp=five_points())
    created = search(oracle, tuners=2)
    assert Counter(tuner_values(trial)[:2] for trial in created) == {(2, 0): 5, (2, 1): 2, (2, 2): 1}
    assert sorted(t.hyperparameters.values["units"] for t in created if t.trial_id.endswith("r0")) == [1, 2, 3, 4, 5]
    shortfalls = list(oracle.shortfalls())
    assert [(s.bracket, s.rung, s.planned, s.actual) for s in shortfalls] == [
        (2, 0, 12, 5),
        (2, 1, 4, 2),
        (2, 2, 2, 1),
        (1, 0, 6, 0),
        (1, 1, 2, 0),
        (0, 0, 4, 0),
    ]
    assert {short.reason for short in shortfalls} == {"the space has no more unused points"}


def test_all_first_rungs_may_run_at_once():
    """As in KerasTuner, 22 tuners start all first rungs; the next one waits, and stops once nothing is left."""
    oracle = make_oracle()
    created = [oracle.create_trial(str(tuner)) for tuner in range(22)]
    assert {trial.status for trial in created} == {TrialStatus.RUNNING}
    assert {tuner_values(trial)[1] for trial in created} == {0}
    assert oracle.create_trial("waits").status == TrialStatus.IDLE
    for trial in created:
        end(oracle, trial)
    rest = search(oracle, tuners=3)
    assert len(rest) == 8
    assert oracle.create_trial("late").status == TrialStatus.STOPPED


def test_a_tuner_with_a_trial_under_way_gets_that_one():
    """As in KerasTuner, asking again with the same tuner id does not start another trial."""
    oracle = make_oracle()
    trial = oracle.create_trial("tuner0")
    assert oracle.create_trial("tuner0") is trial
    end(oracle, trial)
    assert oracle.create_trial("tuner0").trial_id != trial.trial_id


def test_a_trial_may_come_back_as_a_copy():
    """What ends a trial may be a copy of it, as from another process; entries that it added are not tuned."""
    oracle = make_oracle()
    trial = oracle.create_trial("0")
    oracle.update_trial(trial.trial_id, {METRIC: 0.5}, step=1)
    copy = Trial.from_state(trial.get_state())
    copy.hyperparameters.Choice("late", ["a", "b"])
    copy.status = TrialStatus.COMPLETED
    oracle.end_trial(copy)
    assert oracle.get_trial(trial.trial_id).score == 0.5
    assert not oracle.ongoing_trials
    assert "late" not in oracle.create_trial("0").hyperparameters.values


def test_every_trial_is_let_go_once():
    """By the end of a search every trial's checkpoints are told to be discardable, each once."""
    oracle = make_oracle()
    created = search(oracle, tuners=4)
    told = oracle.take_discardable()
    assert sorted(told) == sorted(trial.trial_id for trial in created)
    assert oracle.take_discardable() == []


def test_iterations_repeat_the_brackets_with_other_configurations():
    """A second iteration runs the same brackets on configurations of its own."""
    oracle = make_oracle(max_epochs=4, factor=2, iterations=2)
    created = search(oracle, tuners=3)
    by_iteration = [[t for t in created if t.trial_id.startswith(f"h{number}-")] for number in (0, 1)]
    assert Counter(map(tuner_values, by_iteration[0])) == Counter(map(tuner_values, by_iteration[1]))
    configurations = [
        {tuple(oracle.user_hyperparameters(trial).items()) for trial in trials} for trials in by_iteration
    ]
    assert not configurations[0] & configurations[1]
