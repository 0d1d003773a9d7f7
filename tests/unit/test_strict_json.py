"""Values for every JSON reader."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.strict_json import strict_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_any_value_becomes_strict_json(value):
    """No NaN or infinity is left, however deep."""
    json.loads(json.dumps(strict_json(value)), parse_constant=pytest.fail)


def test_finite_values_stay_as_they_are():
    """Only what JSON lacks is changed, into words that a float reads back."""
    assert strict_json({"a": [1, 2.5, "x", None, True]}) == {"a": [1, 2.5, "x", None, True]}
    assert math.isnan(float(strict_json(math.nan)))
    assert float(strict_json(-math.inf)) == -math.inf
