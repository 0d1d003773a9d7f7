"""How much worse than the search's own model a retrained one may be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.records import RowScores
from job.training.tolerance import shortfall

NUMBERS = st.floats(-1e3, 1e3)
SCALES = st.sampled_from([1e-3, 1.0, 1e4])


@pytest.mark.parametrize(
    ("found", "passes"), [(1.0, True), (0.95, True), (0.94, False), (0.53, False), (math.nan, False)]
)
def test_a_share_of_what_was_gained_may_be_missing(found, passes):
    """Of an accuracy that rose from 0.5 to 1, a tenth of the rise may be missing; what is no number never passes."""
    scores, winner, untrained = (RowScores(train=score, validation=1.0) for score in (found, 1.0, 0.5))
    assert (shortfall(scores, winner, untrained, "max", 0.1) is None) is passes


@given(winner=NUMBERS, gain=st.floats(1, 1e3), share=st.floats(-1, 1), scale=SCALES)
def test_the_scale_of_a_loss_does_not_matter(winner, gain, share, scale):
    """The same share of the gain is allowed or not, whatever the unit of the loss, in either direction."""
    missing = share if abs(share - 0.1) > 0.01 else 0.5

    def passes(sign, direction):
        found, best, untrained = (
            RowScores(validation=sign * scale * score) for score in (winner + missing * gain, winner, winner + gain)
        )
        return shortfall(found, best, untrained, direction, 0.1) is None

    assert passes(1, "min") == passes(-1, "max") == (missing <= 0.1)
