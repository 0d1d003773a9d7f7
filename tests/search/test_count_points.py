"""How many points a space has, counted without listing them: what a grid over the user's own space needs."""

import keras_tuner
import pytest

from job.search.sampling import count_points, points_of


def test_the_count_is_that_of_the_points_listed():
    """Conditions, one inside of another, and entries that share a name."""
    space = keras_tuner.HyperParameters()
    space.Choice("kind", ["a", "b", "c"])
    with space.conditional_scope("kind", ["a"]):
        space.Int("depth", 1, 3)
        space.Int("units", 4, 8)
        with space.conditional_scope("depth", [2, 3]):
            space.Choice("second", [1, 2])
    with space.conditional_scope("kind", ["b"]):
        space.Int("units", 10, 30, step=10)
    space.Float("rate", 0.0, 1.0, step=0.1)
    space.Fixed("constant", 3)
    assert count_points(space) == len(list(points_of(space))) == 11 * (5 * (1 + 2 + 2) + 3 + 1)


def test_a_large_space_is_counted_at_once():
    """No point is listed: there are more than could be."""
    space = keras_tuner.HyperParameters()
    for number in range(30):
        space.Int(f"entry{number}", 0, 99)
    assert count_points(space) == 100**30


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.5, 0.5)])
def test_a_continuous_entry_has_no_count(bounds):
    """Unless its bounds are the same value."""
    space = keras_tuner.HyperParameters()
    space.Float("rate", *bounds)
    assert count_points(space) == (1 if bounds[0] == bounds[1] else None)
