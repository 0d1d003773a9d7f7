"""Hyperband's arithmetic against the measured tables, and its laws for any setting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.schedule import hyperband_schedule

SETTINGS = {
    "max_epochs": st.integers(min_value=1, max_value=400),
    "factor": st.integers(min_value=2, max_value=10),
    "iterations": st.integers(min_value=1, max_value=3),
    "kind": st.sampled_from(["keras_tuner", "paper"]),
}


@pytest.mark.parametrize(
    ("max_epochs", "kind", "trials", "epochs"),
    [
        # KerasTuner 1.4.8, counted in searches of its own.
        (10, "keras_tuner", 30, 120),
        (30, "keras_tuner", 90, 576),
        (81, "keras_tuner", 211, 1767),
    ],
)
def test_keras_tuners_totals(max_epochs, kind, trials, epochs):
    """Trials and epochs equal those that KerasTuner runs."""
    schedule = hyperband_schedule(max_epochs, 3, kind=kind)
    assert (schedule.trials, schedule.epochs) == (trials, epochs)


@pytest.mark.parametrize(("max_epochs", "epochs"), [(10, 74), (30, 390), (81, 1581)])
def test_the_papers_totals(max_epochs, epochs):
    """Epochs equal those of Algorithm 1 with budgets rounded down and training continued."""
    assert hyperband_schedule(max_epochs, 3, kind="paper").epochs == epochs


def test_the_quickstarts_brackets():
    """Ten epochs by three: 12 trials to epoch 2, 4 to 4, 2 to 10; 6 to 4, 2 to 10; 4 to 10."""
    schedule = hyperband_schedule(10, 3)
    assert [
        [(rung.size, rung.from_epoch, rung.to_epoch) for rung in bracket.rungs] for bracket in schedule.brackets
    ] == [
        [(12, 0, 2), (4, 2, 4), (2, 4, 10)],
        [(6, 0, 4), (2, 4, 10)],
        [(4, 0, 10)],
    ]


def test_the_papers_table():
    """Eighty-one epochs by three: Table 1 of Li et al. (2018)."""
    schedule = hyperband_schedule(81, 3, kind="paper")
    assert [[(rung.size, rung.to_epoch) for rung in bracket.rungs] for bracket in schedule.brackets] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


@given(**SETTINGS, min_epochs=st.integers(min_value=1, max_value=400))
def test_rungs_shrink_and_epochs_grow(max_epochs, factor, iterations, kind, min_epochs):
    """Along a bracket sizes never rise, epochs always do, each rung goes on where the last stopped, to the end."""
    min_epochs = min(min_epochs, max_epochs)
    schedule = hyperband_schedule(max_epochs, factor, iterations=iterations, min_epochs=min_epochs, kind=kind)
    for bracket in schedule.brackets:
        assert bracket.number == len(bracket.rungs) - 1
        assert bracket.rungs[0].from_epoch == 0
        assert bracket.rungs[0].to_epoch >= min_epochs
        assert bracket.rungs[-1].to_epoch == max_epochs
        for lower, upper in zip(bracket.rungs, bracket.rungs[1:], strict=False):
            assert lower.size >= upper.size >= 1
            assert lower.from_epoch < lower.to_epoch == upper.from_epoch < upper.to_epoch


@given(**SETTINGS)
def test_totals_add_up_over_the_runs(max_epochs, factor, iterations, kind):
    """Trials, configurations and epochs are the sums over all brackets that run."""
    schedule = hyperband_schedule(max_epochs, factor, iterations=iterations, kind=kind)
    rungs = [rung for _, bracket in schedule.runs() for rung in bracket.rungs]
    assert schedule.trials == sum(rung.size for rung in rungs)
    assert schedule.configurations == sum(rung.size for rung in rungs if rung.from_epoch == 0)
    assert schedule.epochs == sum(rung.size * (rung.to_epoch - rung.from_epoch) for rung in rungs)


@pytest.mark.parametrize(
    ("setting"),
    [{"factor": 1}, {"iterations": 0}, {"min_epochs": 0}, {"min_epochs": 11}, {"max_epochs": 0}],
)
def test_a_setting_out_of_range_is_refused(setting):
    """Arguments out of their range are a ValueError."""
    with pytest.raises(ValueError, match="expected factor >= 2"):
        hyperband_schedule(**({"max_epochs": 10, "factor": 3} | setting))
