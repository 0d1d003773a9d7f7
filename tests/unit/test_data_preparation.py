"""What is done to rows before the trained core sees them. That Keras's layers do the same is tested with the models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.data.preparation import Rescaling, choose_preparation
from job.errors import DataError

IMAGE = (3, 4, 4)


def image(dtype, low, high):
    x = np.full(IMAGE, low, dtype=dtype)
    x[1, 2, 3] = high
    return x


@pytest.mark.parametrize(
    ("train", "divisor"),
    [
        pytest.param(image(np.uint8, 0, 200), 255.0, id="bytes"),
        pytest.param(np.array([[0, 9], [7, 3]], dtype=np.uint8), 255.0, id="flattened bytes"),
        pytest.param(image(np.uint8, 0, 1), None, id="binary masks"),
        pytest.param(image(np.bool_, 0, 1), None, id="booleans"),
        pytest.param(image(np.float64, 0, 16), 16.0, id="digits"),
        pytest.param(image(np.int64, 0, 200), 255.0, id="bytes as wider integers"),
        pytest.param(image(np.int64, 0, 100), 100.0, id="integers of another range"),
        pytest.param(image(np.uint16, 0, 4095), 4095.0, id="twelve bits"),
        pytest.param(image(np.float32, 0, 254.5), 254.5, id="floats up to 254.5"),
        pytest.param(image(np.float32, 0, 1), None, id="scaled already"),
        pytest.param(image(np.float32, -1, 3), None, id="standardised already"),
        pytest.param(np.array([[0.0, 900.0]]), None, id="a table"),
        pytest.param(np.array([[0, 900]]), None, id="a table of integers"),
    ],
)
def test_auto_brings_images_to_the_unit_interval_and_leaves_tables_alone(train, divisor):
    """The divisor follows from dtype, rank and range of the training rows, and comes with its reason."""
    preparation, reason = choose_preparation("auto", train)
    assert preparation == Rescaling(divisor, train.shape[1:], train.dtype.name)
    assert reason.startswith("inputs are left as they are" if divisor is None else f"inputs are divided by {divisor:g}")
    if divisor is not None:
        prepared = preparation.prepare(train)
        assert prepared.min() >= 0
        assert prepared.max() <= 1


def test_the_spec_overrules_auto():
    """A number is the divisor, and none is none."""
    train = image(np.uint8, 0, 200)
    assert choose_preparation(127.5, train)[0].divisor == 127.5
    assert choose_preparation("none", train)[0].divisor is None


@pytest.mark.parametrize("divisor", [1e-45, 1e300])
def test_a_divisor_beyond_float32_is_refused(divisor):
    """A divisor whose reciprocal is 0 or infinite in float32 is a DataError."""
    with pytest.raises(DataError, match=r"data\.rescale"):
        choose_preparation(divisor, image(np.float32, 0, 1))


@given(st.integers(0, 255))
def test_prepared_bytes_are_multiplied_in_float32(value):
    """Preparation computes float32(x) * float32(1 / divisor), which differs from x / divisor in the last bit."""
    prepared = Rescaling(255.0, (1,), "uint8").prepare(np.array([[value]], dtype=np.uint8))
    assert prepared.dtype == np.float32
    assert prepared[0, 0] == np.float32(value) * np.float32(1 / 255)


def test_rescaling_leaves_no_negative_zero():
    """Keras adds an offset of 0, which turns -0.0 into 0.0; preparation does too."""
    prepared = Rescaling(2.0, (1,), "float32").prepare(np.array([[-0.0]], dtype=np.float32))
    assert not np.signbit(prepared).any()


def test_preparation_leaves_the_rows_themselves_alone():
    """The rows that are prepared keep their values."""
    rows = np.array([[8.0]], dtype=np.float32)
    Rescaling(2.0, (1,), "float32").prepare(rows)
    assert rows[0, 0] == 8.0
