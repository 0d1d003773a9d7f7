"""How quantities, cron lines and images are read."""

from fractions import Fraction
from itertools import islice

import pytest
from manifests.values import image_parts, quantity
from recipes.cron import parse_cron


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0),
        (2, 2),
        ("500m", Fraction(1, 2)),
        ("1.5", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("4Gi", 4 * 2**30),
        ("1.5Ki", 1536),
        ("2k", 2000),
        ("3M", 3_000_000),
        ("1E", 10**18),
        ("1e3", 1000),
        ("2E2", 200),
        ("7u", Fraction(7, 10**6)),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(written, value):
    """A suffix is a power of 1000 or 1024, or an exponent."""
    assert quantity(written) == value


@pytest.mark.parametrize("written", ["", "4GB", "4 Gi", "4gi", "Gi", "1..5", "-1", "1e", True, None])
def test_what_is_no_quantity_is_an_error(written):
    """Anything else raises ValueError; a negative amount of a resource is none either."""
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(written)


@pytest.mark.parametrize(
    ("line", "starts"),
    [
        ("17 2 * * *", ["2024-01-01 02:17", "2024-01-02 02:17"]),
        ("*/30 22 * * mon", ["2024-01-01 22:00", "2024-01-01 22:30", "2024-01-08 22:00"]),
        ("0 0 29 feb ?", ["2024-02-29 00:00", "2028-02-29 00:00"]),
        ("5,10-12/2 1 1 * *", ["2024-01-01 01:05", "2024-01-01 01:10", "2024-01-01 01:12", "2024-02-01 01:05"]),
        ("0 6 13 * FRI", ["2024-01-05 06:00", "2024-01-12 06:00", "2024-01-13 06:00"]),
        ("50/5 0 1 1 *", ["2024-01-01 00:50", "2024-01-01 00:55", "2025-01-01 00:50"]),
    ],
)
def test_cron_lines_start_when_cron_would(line, starts):
    """Lists, ranges, steps and names; two restricted day fields are joined by `or`."""
    found = islice(parse_cron(line).starts(), len(starts))
    assert [start.strftime("%Y-%m-%d %H:%M") for start in found] == starts


@pytest.mark.parametrize(
    "line",
    ["", "* * * *", "0 2 * * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 7", "5-1 * * * *",
     "*/0 * * * *", "a * * * *", "-1 * * * *", "1,,2 * * * *", "TZ=Europe/Berlin 0 2 * * *"],
)  # fmt: skip
def test_what_is_no_cron_line_is_an_error(line):
    """Kubernetes takes five fields, Sunday as 0 alone, and no time zone before them."""
    with pytest.raises(ValueError, match=r"instead of|is no|is not within"):
        parse_cron(line)


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("tuning-job", ("tuning-job", "")),
        ("tuning-job:0.1.0", ("tuning-job", "0.1.0")),
        ("registry:5000/team/tuning-job", ("registry:5000/team/tuning-job", "")),
        ("registry:5000/tuning-job:0.1.0-gpu", ("registry:5000/tuning-job", "0.1.0-gpu")),
        ("tuning-job@sha256:abc", ("tuning-job", "@sha256:abc")),
        ("tuning-job:0.1.0@sha256:abc", ("tuning-job", "0.1.0")),
    ],
)
def test_images_have_a_name_and_a_tag(image, parts):
    """A port is not a tag."""
    assert image_parts(image) == parts
