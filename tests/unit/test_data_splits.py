"""Which rows are drawn for a split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.data.splits import Draw, UndrawableError, allocate, draw_random, draw_stratified

FRACTIONS = st.floats(0.01, 0.95)
SEEDS = st.integers(0, 2**63 - 1)
# Up to six classes of up to forty rows, some of them rare, in any order.
LABELS = st.lists(st.integers(0, 5), min_size=2, max_size=240).map(lambda values: np.array(values, dtype=np.int64))
ROWS = 1797


def assert_partition(draw: Draw, rows: int) -> None:
    assert np.array_equal(np.sort(np.concatenate([draw.kept, draw.drawn])), np.arange(rows))
    assert (np.diff(draw.kept) > 0).all()
    assert (np.diff(draw.drawn) > 0).all()


def drawable(labels, fraction) -> bool:
    count = round(fraction * len(labels))
    return 0 < count <= len(labels) - len(np.unique(labels))


@given(LABELS, FRACTIONS, SEEDS)
def test_a_stratified_draw_is_a_partition_of_the_exact_size(labels, fraction, seed):
    """Every row is in exactly one part, and the part drawn has round(fraction * rows) rows."""
    if not drawable(labels, fraction):
        with pytest.raises(UndrawableError):
            draw_stratified(labels, fraction, seed=seed, purpose="test")
        return
    draw = draw_stratified(labels, fraction, seed=seed, purpose="test")
    assert_partition(draw, len(labels))
    assert len(draw.drawn) == round(fraction * len(labels))


@given(LABELS, FRACTIONS, SEEDS)
def test_every_class_keeps_a_row(labels, fraction, seed):
    """Whatever is drawn, each class that has rows keeps at least one of them."""
    if drawable(labels, fraction):
        draw = draw_stratified(labels, fraction, seed=seed, purpose="test")
        assert set(labels[draw.kept]) == set(labels)


@given(st.lists(st.integers(20, 400), min_size=1, max_size=30), FRACTIONS)
def test_classes_give_in_proportion_within_one_row(counts, fraction):
    """A class of twenty rows or more gives its share, rounded up or down."""
    counts = np.array(counts, dtype=np.int64)
    total = max(1, round(fraction * int(counts.sum())))
    given_rows = allocate(counts, total)
    assert given_rows.sum() == total
    assert (np.abs(given_rows - total * counts / counts.sum()) < 1).all()


def test_rare_classes_are_not_fatal():
    """Where a hundred classes have a single row each, the others give what these cannot."""
    labels = np.concatenate([np.zeros(100, dtype=np.int64), np.arange(1, 101)])
    draw = draw_stratified(labels, 0.2, seed=0, purpose="test")
    assert len(draw.drawn) == 40
    assert set(labels[draw.drawn]) == {0}


def test_a_draw_that_cannot_leave_every_class_a_row_is_refused():
    """Ten rows of eight classes cannot give five: the message has the numbers."""
    labels = np.array([0, 0, 0, 1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(UndrawableError, match=r"5 of 10 rows cannot be drawn.*each of the 8 classes keeps one"):
        draw_stratified(labels, 0.5, seed=0, purpose="test")


@given(st.integers(2, 500), FRACTIONS, SEEDS)
def test_a_random_draw_is_a_partition_of_the_exact_size(rows, fraction, seed):
    """Every row is in exactly one part, and the part drawn has round(fraction * rows) rows."""
    count = round(fraction * rows)
    if not 0 < count < rows:
        with pytest.raises(UndrawableError, match=f"of {rows} rows is {count}"):
            draw_random(rows, fraction, seed=seed, purpose="test")
        return
    draw = draw_random(rows, fraction, seed=seed, purpose="test")
    assert_partition(draw, rows)
    assert len(draw.drawn) == count


@given(SEEDS)
def test_a_draw_depends_on_seed_and_purpose_alone(seed):
    """The same arguments draw the same rows; another seed or purpose draws others."""
    labels = np.arange(ROWS) % 10
    first = draw_stratified(labels, 0.1, seed=seed, purpose="test").drawn
    assert np.array_equal(first, draw_stratified(labels, 0.1, seed=seed, purpose="test").drawn)
    assert not np.array_equal(first, draw_stratified(labels, 0.1, seed=seed + 1, purpose="test").drawn)
    assert not np.array_equal(first, draw_stratified(labels, 0.1, seed=seed, purpose="validation").drawn)


def test_draws_never_change():
    """A seed draws the rows that it drew when this was written, whatever NumPy's version."""
    assert draw_random(20, 0.25, seed=0, purpose="test").drawn.tolist() == [2, 5, 7, 10, 12]
    assert draw_stratified(np.arange(20) % 4, 0.2, seed=7, purpose="validation").drawn.tolist() == [6, 13, 16, 19]


def test_every_row_is_drawn_equally_often():
    """Over two thousand seeds each of twenty rows is drawn in a tenth of the draws, within five deviations."""
    times = np.zeros(20)
    for seed in range(2000):
        times[draw_random(20, 0.1, seed=seed, purpose="test").drawn] += 1
    assert np.abs(times - 200).max() < 5 * np.sqrt(2000 * 0.1 * 0.9)
