"""What is varied around the best: one hyperparameter at a time, by its neighbours."""

import keras_tuner
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.layout import is_variation, trial_record
from job.search.neighbours import neighbours_of


def space_of(declare):
    space = keras_tuner.HyperParameters()
    declare(space)
    return space


def values_near(declare, centre):
    """The values tried for `x` around a centre."""
    return [one.value for one in neighbours_of(space_of(declare), {"x": centre})]


@pytest.mark.parametrize(
    ("declare", "centre", "expected"),
    [
        pytest.param(lambda hp: hp.Choice("x", ["a", "b", "c"]), "b", ["a", "c"], id="choice"),
        pytest.param(lambda hp: hp.Choice("x", list("abcdefgh")), "h", ["a", "b", "c", "d"], id="long choice"),
        pytest.param(lambda hp: hp.Choice("x", [9, 1, 8, 2, 3, 7, 6]), 7, [9, 8, 3, 6], id="ordered: the nearest"),
        pytest.param(lambda hp: hp.Choice("x", [1e-2, 1e-3, 1e-4]), 1e-2, [1e-3, 1e-4], id="learning rates"),
        pytest.param(lambda hp: hp.Boolean("x"), True, [False], id="boolean"),
        pytest.param(lambda hp: hp.Fixed("x", 3), 3, [], id="fixed"),
        pytest.param(lambda hp: hp.Int("x", 1, 4), 2, [1, 3], id="a step"),
        pytest.param(lambda hp: hp.Int("x", 32, 512, step=32), 96, [32, 160], id="a tenth of 16 values"),
        pytest.param(lambda hp: hp.Int("x", 32, 512, step=32), 512, [448], id="the upper end"),
        pytest.param(lambda hp: hp.Int("x", 32, 512, step=32), 480, [416, 512], id="near the upper end"),
        pytest.param(lambda hp: hp.Int("x", 1, 1000, sampling="log"), 100, [50, 200], id="whole, log"),
        pytest.param(lambda hp: hp.Int("x", 1, 1000, sampling="log"), 1, [2], id="the next whole number"),
        pytest.param(lambda hp: hp.Int("x", 8, 64, step=2, sampling="log"), 16, [8, 32], id="doubling"),
        pytest.param(lambda hp: hp.Float("x", 0.0, 1.0), 0.5, [0.4, 0.6], id="a tenth of the range"),
        pytest.param(lambda hp: hp.Float("x", 0.0, 1.0), 0.0, [0.1], id="the lower end"),
        pytest.param(lambda hp: hp.Float("x", 0.0, 1.0), 0.95, [0.85, 1.0], id="cut at the end"),
        pytest.param(lambda hp: hp.Float("x", 1e-5, 1.0, sampling="log"), 1e-2, [0.003162, 0.03162], id="log"),
        pytest.param(lambda hp: hp.Float("x", 1.0, 10.0, sampling="reverse_log"), 10.0, [9.741], id="reverse log"),
        pytest.param(lambda hp: hp.Float("x", 0.0, 0.5, step=0.25), 0.25, [0.0, 0.5], id="stepped"),
        pytest.param(lambda hp: hp.Float("x", 2.0, 2.0), 2.0, [], id="a single value"),
    ],
)
def test_neighbours_by_kind_of_entry(declare, centre, expected):
    """Other choices, the nearest where they are ordered; of ranges a tenth or a step away on their own scale."""
    found = values_near(declare, centre)
    assert found == expected
    assert [type(value) for value in found] == [type(centre)] * len(found)


@given(st.data())
def test_neighbours_of_ranges_are_in_the_range(data):
    """They differ from the centre, stand on either side of it where there is room, and are within the bounds."""
    sampling = data.draw(st.sampled_from(["linear", "log", "reverse_log"]))
    low = data.draw(st.floats(1e-6, 1e3))
    high = data.draw(st.floats(low, 1e4))
    centre = data.draw(st.floats(low, high))
    found = values_near(lambda hp: hp.Float("x", low, high, sampling=sampling), centre)
    assert all(low <= value <= high and value != centre for value in found)
    assert found == sorted(set(found))
    assert len(found) <= 2


def conditional(hp):
    hp.Int("units", 1, 3)
    hp.Choice("optimizer", ["adam", "sgd"])
    with hp.conditional_scope("optimizer", "sgd"):
        hp.Float("momentum", 0.0, 1.0, step=0.5, default=0.5)


def test_what_a_change_switches_on_has_its_default():
    """What it switches off is left out, and what is off around the best is not varied."""
    found = list(neighbours_of(space_of(conditional), {"units": 2, "optimizer": "adam"}))
    assert [(one.trial_id, one.name, one.value) for one in found] == [
        ("s-units-0", "units", 1),
        ("s-units-1", "units", 3),
        ("s-optimizer-0", "optimizer", "sgd"),
    ]
    assert found[1].hyperparameters == {"units": 3, "optimizer": "adam"}
    assert found[2].hyperparameters == {"units": 2, "optimizer": "sgd", "momentum": 0.5}

    found = list(neighbours_of(space_of(conditional), {"units": 1, "optimizer": "sgd", "momentum": 1.0}))
    assert [(one.name, one.value) for one in found] == [("units", 2), ("optimizer", "adam"), ("momentum", 0.5)]
    assert found[1].hyperparameters == {"units": 1, "optimizer": "adam"}
    assert found[2].hyperparameters == {"units": 1, "optimizer": "sgd", "momentum": 0.5}


def test_ids_may_stand_in_keys_and_differ():
    """Names with signs that a key or a file name cannot take are respelt; two that come out alike are told apart."""
    space = keras_tuner.HyperParameters()
    for name in ("a b", "a/b", "größe"):
        space.Boolean(name)
    ids = [one.trial_id for one in neighbours_of(space, {"a b": True, "a/b": True, "größe": True})]
    assert ids == ["s-a-b-0", "s-a-b-1-0", "s-gr-e-0"]
    assert all(is_variation(one) for one in ids)
    assert trial_record(ids[0]) == "sensitivity/s-a-b-0.json"
    assert trial_record("h0-b0-i000-r0") == "trials/h0-b0-i000-r0.json"
