"""Cross-validation: which rows each fold is trained and scored on."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.data import load_dataset
from job.data.folds import FoldFile, folds_in_time, grouped_folds, random_folds, stratified_folds
from job.data.splits import UndrawableError
from job.errors import DataError
from job.spec import DataSpec

COUNTS = st.integers(2, 6)
SEEDS = st.integers(0, 5)


def assert_is_a_cross_validation(folds, rows):
    """Every row is scored on once, and each fold is trained on all others."""
    scored = np.concatenate([folds.validation(fold) for fold in range(folds.count)])
    assert sorted(scored) == list(range(rows))
    for fold in range(folds.count):
        assert sorted([*folds.train(fold), *folds.validation(fold)]) == list(range(rows))
        assert min(len(folds.train(fold)), len(folds.validation(fold))) > 0


@given(COUNTS, st.integers(0, 50), SEEDS)
def test_random_folds_are_even(count, more, seed):
    """Sizes differ by one row at most, and every row is scored on once."""
    rows = count + more
    folds = random_folds(rows, count, seed=seed)
    assert_is_a_cross_validation(folds, rows)
    assert np.ptp(np.bincount(folds.block, minlength=count)) <= 1
    assert np.array_equal(folds.block, random_folds(rows, count, seed=seed).block)


def test_another_seed_draws_other_folds():
    """Folds depend on the seed."""
    assert not np.array_equal(random_folds(100, 5, seed=0).block, random_folds(100, 5, seed=1).block)


@given(COUNTS, st.lists(st.integers(0, 20), min_size=1, max_size=5), SEEDS)
def test_stratified_folds_have_every_class_in_proportion(count, more, seed):
    """Of each class, as of all rows, folds differ by one row at most."""
    labels = np.repeat(np.arange(len(more)), [count + extra for extra in more])
    labels = np.random.default_rng(seed).permutation(labels)
    folds = stratified_folds(labels, count, seed=seed)
    assert_is_a_cross_validation(folds, len(labels))
    for rows in (labels >= 0, *(labels == one for one in range(len(more)))):
        assert np.ptp(np.bincount(folds.block[rows], minlength=count)) <= 1


def test_a_class_with_too_few_rows_is_named():
    """Stratified folds need a row of each class for each of them."""
    with pytest.raises(UndrawableError, match=r"3 folds need 3 rows of each class, class 1 has 2"):
        stratified_folds(np.array([0, 0, 0, 1, 1]), 3, seed=0)
    with pytest.raises(UndrawableError, match=r"4 folds need 4 rows, there are 3"):
        random_folds(3, 4, seed=0)


@given(COUNTS, st.lists(st.integers(1, 9), min_size=6, max_size=15), SEEDS)
def test_no_group_is_divided(count, sizes, seed):
    """All rows of a group are scored on by the same fold; a fold exceeds the smallest by one group at most."""
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = grouped_folds(groups, count, seed=seed)
    assert_is_a_cross_validation(folds, len(groups))
    assert all(len(set(folds.block[groups == group])) == 1 for group in range(len(sizes)))
    assert np.ptp(np.bincount(folds.block, minlength=count)) <= max(sizes)


def test_fewer_groups_than_folds_are_refused():
    """Each fold is scored on a group at least; numbers that no row has are none."""
    with pytest.raises(UndrawableError, match="3 folds need 3 groups, there are 2"):
        grouped_folds(np.array([0, 0, 5]), 3, seed=0)


@given(COUNTS, st.lists(st.integers(0, 30), min_size=8, max_size=60))
def test_folds_in_time_learn_from_the_past_alone(count, times):
    """Each fold is scored on what is later than all that it was trained on, and on no moment twice."""
    times = np.array(times)
    if len(set(times.tolist())) <= count:
        with pytest.raises(UndrawableError, match="different times"):
            folds_in_time(times, count)
        return
    folds = folds_in_time(times, count)
    ends = []
    for fold in range(count):
        train, validation = times[folds.train(fold)], times[folds.validation(fold)]
        assert train.max() < validation.min()
        assert len(train) == (times < validation.min()).sum()
        ends.append((validation.min(), validation.max()))
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert ends[-1][1] == times.max()


def test_stretches_of_time_are_even():
    """Where every row has a time of its own, stretches differ by one row at most."""
    folds = folds_in_time(np.arange(100)[::-1], 4)
    assert [len(folds.validation(fold)) for fold in range(4)] == [20] * 4
    assert len(folds.train(0)) == 20


def test_a_fold_file_says_the_same(tmp_path):
    """What is written is read."""
    folds = folds_in_time(np.arange(10), 2)
    opened = FoldFile.write(tmp_path / "folds.npy", folds).open()
    assert (opened.count, opened.in_time) == (2, True)
    assert np.array_equal(opened.block, folds.block)


@pytest.fixture
def load(tmp_path):
    def loaded(arrays, **spec):
        np.savez(tmp_path / "rows.npz", **arrays)
        return load_dataset(DataSpec(source=str(tmp_path / "rows.npz"), **spec), seed=0, scratch=tmp_path / "scratch")

    return loaded


def rows_of(count, first=0):
    return np.arange(first, first + count, dtype=np.float32)[:, None], np.arange(count) % 2


def test_with_folds_no_validation_rows_are_kept_apart(load):
    """All rows but the test split's are training rows, which the folds divide."""
    x, y = rows_of(100)
    dataset = load({"x": x, "y": y}, folds=4)
    assert [split.rows for split in dataset.splits.values()] == [90, 0, 10]
    assert dataset.files.open_train().x.shape == (90, 1)
    folds = dataset.files.folds.open()
    assert_is_a_cross_validation(folds, 90)
    labels = dataset.files.open().y
    assert all(np.ptp(np.bincount(labels[folds.validation(fold)])) <= 1 for fold in range(4))
    assert dataset.files.rows_per_training == round(90 * 3 / 4)


def test_validation_rows_of_the_file_are_divided_as_well(load):
    """x_validation joins the training rows, and the log says so."""
    (x, y), (other_x, other_y) = rows_of(50), rows_of(30, first=1000)
    dataset = load({"x": x, "y": y, "x_validation": other_x, "y_validation": other_y}, folds=3, split="random")
    assert [split.rows for split in dataset.splits.values()] == [75, 0, 5]
    assert (dataset.train.x >= 1000).sum() == 30
    assert any("divides the validation rows as well" in note for note in dataset.notes)


def test_too_few_rows_for_folds_are_a_data_error(load):
    """The message names the file, the number of folds and the class; the advice, what can be done."""
    x, y = rows_of(40)
    y = np.where(np.arange(40) < 3, 1, 0)
    with pytest.raises(DataError, match=r"rows\.npz: data\.folds 5 is not possible: 5 folds need 5 rows of each") as e:
        load({"x": x, "y": y}, folds=5)
    assert "data.split: random" in e.value.advice
    assert load({"x": x, "y": y}, folds=5, split="random").files.folds.count == 5
