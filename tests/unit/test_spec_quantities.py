"""Durations and sizes as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.spec.quantities import format_duration, format_size, parse_duration, parse_size

MILLISECONDS_OF_TEN_YEARS = 10 * 366 * 86_400_000


@given(st.integers(min_value=1, max_value=MILLISECONDS_OF_TEN_YEARS))
def test_a_duration_reads_back_as_it_was(milliseconds):
    """Formatting and parsing a duration of whole milliseconds gives the same duration."""
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(min_value=1, max_value=2**60))
def test_a_size_reads_back_as_it_was(size):
    """Formatting and parsing a size loses no byte."""
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("20m", 1200),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        (45, 45),
        (0.5, 0.5),
        ("45", 45),
        (" 2h ", 7200),
    ],
)
def test_durations_as_people_write_them(text, seconds):
    """Units add up; a bare number counts seconds."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "2 hours", "h", "1h30", "-2h", 0, -1, "0s", "0.1ms", True, None, [1], "1w", 1e300]
)
def test_what_is_no_duration_is_refused(text):
    """Nothing, less than a millisecond, unknown units and overflow are errors that say what is expected."""
    with pytest.raises(ValueError, match="expected a duration such as 90s, 20m, 2h or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MiB", 512 * 1024**2),
        ("16MB", 16000000),
        ("1.5KiB", 1536),
        ("5gib", 5 * 1024**3),
        ("7B", 7),
        (1024, 1024),
        ("1024", 1024),
        ("16 MiB", 16 * 1024**2),
    ],
)
def test_sizes_as_people_write_them(text, size):
    """MiB counts in 1024s, MB in 1000s; a bare number counts bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "12XB", "MiB", "-5MiB", 0, -5, True, 1.5, "0.1B", "0.1KiB", None, "1e3"])
def test_what_is_no_size_is_refused(text):
    """Nothing, parts of bytes and unknown units are errors that say what is expected."""
    with pytest.raises(ValueError, match="expected a size such as 512MiB or 16MB"):
        parse_size(text)
