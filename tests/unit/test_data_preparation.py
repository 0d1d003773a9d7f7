"""What is done to rows before the trained core sees them. That Keras's layers do the same is tested with the models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.data.preparation import Rescaling, choose_preparation, layout_notes, pixel_hint
from job.errors import DataError

IMAGE = (3, 4, 4)


def image(dtype, low, high):
    x = np.full(IMAGE, low, dtype=dtype)
    x[1, 2, 3] = high
    return x


@pytest.mark.parametrize(
    ("origin", "train", "divisor"),
    [
        pytest.param("images", image(np.uint8, 0, 200), 255.0, id="image files"),
        pytest.param("images", image(np.uint16, 0, 65000), 65535.0, id="image files of 16 bits"),
        pytest.param("images", image(np.uint16, 0, 4000), 4095.0, id="image files of 16 bits that use 12"),
        pytest.param("images", image(np.uint16, 0, 200), 255.0, id="image files of 16 bits that use 8"),
        pytest.param("images", image(np.float64, 0, 16), 16.0, id="digits"),
        pytest.param("images", image(np.uint8, 0, 1), None, id="binary masks"),
        pytest.param("images", image(np.float32, 0, 1), None, id="scaled already"),
        pytest.param("images", image(np.float32, -1, 3), None, id="standardised already"),
        pytest.param("images", np.array([[0.0, 900.0]]), None, id="a built-in table"),
        pytest.param("arrays", image(np.uint8, 0, 200), 255.0, id="bytes with height and width"),
        pytest.param("arrays", image(np.uint8, 0, 200)[..., None], 255.0, id="bytes with channels"),
        pytest.param("arrays", image(np.uint8, 0, 200)[..., None, None], None, id="videos"),
        pytest.param("arrays", np.array([[0, 9], [7, 3]], dtype=np.uint8), None, id="tokens"),
        pytest.param("arrays", image(np.int64, 0, 200), None, id="bytes as wider integers"),
        pytest.param("arrays", image(np.uint16, 0, 4095), None, id="twelve bits"),
        pytest.param("arrays", image(np.float32, 0, 254.5), None, id="floats up to 254.5"),
        pytest.param("arrays", image(np.bool_, 0, 1), None, id="booleans"),
        pytest.param("arrays", np.array([[0, 900]]), None, id="a table of integers"),
        pytest.param("own", image(np.uint8, 0, 200), None, id="for code of one's own"),
    ],
)
def test_auto_divides_only_what_is_surely_pixels(origin, train, divisor):
    """Files and sets of images, and bytes with height and width for a built-in builder; with its reason."""
    preparation, reason = choose_preparation("auto", train, origin)
    assert preparation == Rescaling(divisor, train.shape[1:], train.dtype.name)
    assert "rescale: auto" in reason


@pytest.mark.parametrize(
    ("train", "asked"),
    [
        (image(np.int64, 0, 200), "data.rescale: 255"),
        (image(np.uint16, 0, 4095), "data.rescale: 4095"),
        (image(np.uint16, 0, 65000), "data.rescale: 65535"),
        (image(np.float32, 0, 16), "data.rescale: 16"),
        (np.array([[0, 9], [7, 3]], dtype=np.uint8), "data.rescale: 255"),
    ],
)
def test_what_may_be_pixels_is_said_with_what_to_set(train, asked):
    """Nothing that looks like pixels is left alone in silence; a table of numbers is no such thing."""
    _, reason = choose_preparation("auto", train, "own")
    assert asked in reason
    assert pixel_hint(np.array([[0.0, 900.0]])) is None


def test_channels_that_come_first_are_said():
    """Keras's layers would take them for rows of pixels."""
    assert "channels first" in layout_notes((3, 32, 32))[0]
    assert layout_notes((32, 32, 3)) == layout_notes((8, 8)) == layout_notes((3, 3, 3)) == ()


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
