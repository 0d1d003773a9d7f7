"""What a configuration's trainings came to, read off the records of its rungs."""

import math

from hypothesis import given
from hypothesis import strategies as st

from job.records import Execution, TrialRecord, execution_bests, mean_and_deviation

METRIC = "val_accuracy"


def record(rung, from_epoch, executions, *, index=0):
    """A rung of a lineage; `executions` are lists of scores, one per epoch."""
    return TrialRecord(
        trial_id=f"h0-b1-i{index:03d}-r{rung}",
        hyperparameters={},
        iteration=0,
        bracket=1,
        index=index,
        rung=rung,
        parent=None,
        from_epoch=from_epoch,
        to_epoch=from_epoch + 2,
        status="completed",
        score=0.5,
        best_epoch=1,
        executions=tuple(
            Execution(index=number // 2, fold=number % 2, epochs=tuple({METRIC: s, "n": float(number)} for s in scores))
            for number, scores in enumerate(executions)
        ),
        seconds=1.0,
        worker="w",
    )


def test_each_training_has_a_best_epoch_over_all_rungs():
    """Its own rung's or a lower one's; ties go to the earlier; other lineages and higher rungs do not count."""
    trials = [
        record(1, 2, [[0.6, 0.9], [0.2, 0.1], []]),
        record(0, 0, [[0.5, 0.9], [0.3, 0.2], [0.7]]),
        record(2, 4, [[1.0], [1.0], [1.0]]),
        record(0, 0, [[1.0], [1.0], [1.0]], index=1),
    ]
    found = execution_bests(trials, trials[0], METRIC, "max")
    assert [(one.index, one.fold, one.score, one.epoch) for one in found] == [
        (0, 0, 0.9, 2),
        (0, 1, 0.3, 1),
        (1, 0, 0.7, 1),
    ]
    assert [one.logs["n"] for one in found] == [0.0, 1.0, 2.0]
    assert [one.score for one in execution_bests(trials, trials[1], METRIC, "min")] == [0.5, 0.2, 0.7]


def test_what_is_no_number_is_no_best():
    """A NaN, and an epoch without the metric, are passed over."""
    trial = record(0, 0, [[math.nan, 0.4], [math.nan]])
    assert [(one.fold, one.score) for one in execution_bests([trial], trial, METRIC, "max")] == [(0, 0.4)]
    assert execution_bests([trial], trial, "val_f1", "max") == []


@given(st.floats(-1e300, 1e300))
def test_a_single_value_is_its_own_mean(value):
    """To the last bit, and without a deviation: a trial of one execution scores as it always has."""
    assert mean_and_deviation([value]) == (value, None)


def test_the_deviation_is_the_samples():
    """Divided by one less than the number of values."""
    mean, deviation = mean_and_deviation([1.0, 2.0, 6.0])
    assert (mean, round(deviation, 9)) == (3.0, round(math.sqrt(7), 9))
