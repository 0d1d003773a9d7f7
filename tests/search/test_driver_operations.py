"""The driver's work per trial does not grow with the number of trials: calls are counted, no clock is read."""

import sys
from pathlib import Path

import keras_tuner
import pytest

import job.search
from job.spec.validation import validate_document

OURS = (str(Path(job.search.__file__).parent), str(Path(keras_tuner.__file__).parent))
WINDOW = 100


class CallsByTrial:
    """How many functions of the search and of KerasTuner had been called when each trial ended."""

    def __init__(self):
        self.calls = 0
        self.at_ends = []

    def __call__(self, frame, event, _argument):
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            self.calls += 1
            if frame.f_code.co_name == "end_trial":
                self.at_ends.append(self.calls)

    def in_window(self, first):
        return self.at_ends[first + WINDOW] - self.at_ends[first]


def count_calls(search):
    counter = CallsByTrial()
    sys.setprofile(counter)
    try:
        search.run()
    finally:
        sys.setprofile(None)
    return counter


def endless():
    space = keras_tuner.HyperParameters()
    space.Int("units", 32, 512, step=32)
    space.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    return space


@pytest.mark.parametrize(
    ("search", "stop"),
    [
        pytest.param({"hyperband_iterations": 40}, {}, id="hyperband, whole iterations"),
        pytest.param({"hyperband_iterations": 40}, {"no_improvement": 5000}, id="hyperband, bracket by bracket"),
        pytest.param({"algorithm": "random", "max_trials": 1200}, {}, id="random"),
    ],
)
def test_work_per_trial_does_not_grow(simulate, search, stop):
    """A hundred trials near the end of 1,200 cost as many calls as a hundred near the beginning."""
    spec = validate_document({"search": search, "stop": stop})
    counter = count_calls(simulate(spec=spec, slots=64, space=endless()))
    assert len(counter.at_ends) == 1200
    early, late = counter.in_window(150), counter.in_window(1050)
    assert late < 1.5 * early
    assert late < 500 * WINDOW


def test_a_used_up_space_is_listed_once(simulate):
    """The last points of a space cost no more than its first: what is left of it is listed once, not for each."""
    space = keras_tuner.HyperParameters()
    space.Int("units", 1, 600)
    spec = validate_document({"search": {"algorithm": "random", "max_trials": 1000, "max_epochs": 1}})
    counter = count_calls(simulate(spec=spec, slots=4, space=space))
    assert len(counter.at_ends) == 600
    assert counter.in_window(499) < 20 * counter.in_window(0)


def test_iterations_without_points_are_passed_over(simulate):
    """Once a space is used up, the brackets that find none cost nothing when trials end."""
    spec = validate_document({"search": {"hyperband_iterations": 200}, "limits": {"max_consecutive_failed_trials": 99}})
    result = simulate(spec=spec, slots=8).run()
    configurations = {(trial.iteration, trial.bracket, trial.index) for trial in result.trials}
    assert len(configurations) == 48
    assert result.totals.planned_trials == 6000
    assert {short.reason for short in result.totals.shortfalls} == {"the space has no more unused points"}
