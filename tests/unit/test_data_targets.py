"""What targets are for, and how those of a regression are read, split and scaled."""

from pathlib import Path

import numpy as np
import pytest

from job.data import load_dataset
from job.data.arrays import SourceArray
from job.data.targets import decide_task, encode_targets, read_numbers, scale_notes, with_scale
from job.errors import DataError
from job.spec import DataSpec, JobSpec
from job.spec.objectives import leaning_task
from job.target import Target

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(150.0, 77.0, 200)


def source(values):
    return SourceArray("rows.npz", "y", np.asarray(values), Path("y.npy"))


@pytest.mark.parametrize(
    ("values", "task"),
    [
        pytest.param(np.arange(60) % 10, "classification", id="ten digits"),
        pytest.param((np.arange(60) % 3).astype(np.float32), "classification", id="whole floats"),
        pytest.param(np.array(["a", "b"] * 30), "classification", id="strings"),
        pytest.param(np.array([True, False] * 30), "classification", id="booleans"),
        pytest.param(np.eye(3)[np.arange(60) % 3], "classification", id="one-hot rows"),
        pytest.param(np.arange(500) % 100, "classification", id="a hundred classes from 0"),
        pytest.param(1 + np.arange(500) % 100, "classification", id="a hundred classes from 1"),
        pytest.param(np.delete(np.arange(500), [7, 107, 207, 307, 407]) % 100, "classification", id="a missing class"),
        pytest.param(np.arange(500) % 100.0, "regression", id="floats of few rows each"),
        pytest.param(NUMBERS, "regression", id="floats"),
        pytest.param(NUMBERS.astype(np.float32).reshape(-1, 1), "regression", id="a column of floats"),
        pytest.param(NUMBERS.round(), "regression", id="whole floats with gaps"),
        pytest.param(NUMBERS.round().astype(int), "regression", id="whole numbers with gaps"),
        pytest.param(np.arange(500), "regression", id="a row each"),
        pytest.param(18 + np.arange(5000) % 70, "regression", id="ages"),
    ],
)
def test_the_task_follows_the_targets(values, task):
    """Where nothing is asked, the kind and the variety of the targets decide."""
    assert decide_task(source(values), "auto") == task


@pytest.mark.parametrize("asked", ["classification", "regression"])
def test_a_task_that_is_asked_for_is_taken(asked):
    """Whole numbers may be either."""
    assert decide_task(source(np.arange(60) % 10), asked) == asked


@pytest.mark.parametrize("leaning", ["classification", "regression"])
def test_whole_numbers_follow_what_else_is_said(leaning):
    """They may be ratings as well as classes; strings, one-hot rows and fractions are what they are."""
    for values in (np.arange(60) % 10, np.arange(60.0).reshape(-1, 1), np.arange(60) % 2 * 2 - 1):
        assert decide_task(source(values), "auto", leaning) == leaning
        assert decide_task(source(values), "regression", leaning) == "regression"
    assert decide_task(source(["a", "b"]), "auto", leaning) == "classification"
    assert decide_task(source(np.eye(3)), "auto", leaning) == "classification"
    assert decide_task(source([0.5, 1.0, 2.0]), "auto", leaning) == "regression"


LOSS = {"name": "val_loss", "direction": "min"}


@pytest.mark.parametrize(
    ("sections", "task"),
    [
        ({}, None),
        ({"search": {"objective": "val_loss"}}, None),
        ({"search": {"objective": "val_mae"}}, "regression"),
        ({"search": {"objective": {"name": "val_rmse", "direction": "min"}}}, "regression"),
        ({"training": {"metrics": ["r2"]}}, "regression"),
        ({"search": {"objective": "val_accuracy"}}, "classification"),
        ({"search": {"objective": [LOSS, {"name": "val_f1_score", "direction": "max"}]}}, "classification"),
        ({"training": {"class_weight": "balanced"}}, "classification"),
        ({"data": {"source": "x.npz", "split": "stratified"}}, "classification"),
        ({"search": {"objective": "val_mae"}, "model": {"source": "model.py"}}, None),
    ],
)
def test_a_spec_leans_to_the_task_that_its_fields_are_of(sections, task):
    """Of a model of one's own its output and loss say more."""
    spec = JobSpec.model_validate({"data": {"source": "x.npz"}} | sections)
    assert leaning_task(spec) == task


def test_strings_are_no_numbers_to_predict():
    """The message says what was asked for, and of which type the targets are."""
    with pytest.raises(DataError, match=r"has dtype <U1: a regression \(data.task\) needs numbers"):
        decide_task(source(["a", "b"]), "regression")


def test_numbers_to_predict_are_float32_in_their_own_unit():
    """Columns are flattened; nothing is scaled yet; what was given apart is read alike."""
    encoded = encode_targets("regression", source(NUMBERS.reshape(-1, 1)), [None, source(np.arange(3))])
    assert encoded.target == Target("regression")
    assert encoded.train.dtype == np.float32
    assert np.array_equal(encoded.train, NUMBERS.astype(np.float32))
    assert encoded.others[0] is None
    assert encoded.others[1].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, np.nan, np.nan], r"target nan of row 1 is missing \(NaN\); 2 such targets"),
        ([1.5, 2.0, np.inf], "target inf of row 2 is above 1e\\+17, too large to train on"),
        ([1.5, -1e30], "target -1e\\+30 of row 1 is above 1e\\+17"),
        ([[1.5, 2.5]], r"shape \(1, 2\): one number to predict per row is expected"),
        (["a"], "has dtype <U1: numbers to predict"),
    ],
)
def test_targets_that_are_no_numbers_are_refused(values, message):
    """The message names the array, the row and what is wrong with it."""
    with pytest.raises(DataError, match=message):
        read_numbers(source(values))


def test_the_scale_is_that_of_the_training_rows():
    """Mean and standard deviation; a constant has a scale of 1; classes have none."""
    target = with_scale(Target("regression"), np.float32([1, 2, 3, 6]))
    assert (target.mean, target.scale) == (3.0, pytest.approx(np.std([1, 2, 3, 6])))
    assert with_scale(Target("regression"), np.float32([0.1] * 7)).scale == 1.0
    classes = Target("classification", ("a", "b"))
    assert with_scale(classes, np.float32([0, 1])) is classes


@pytest.mark.parametrize("unit", [1e-30, 1e16])
def test_targets_whose_squares_are_no_float32_are_refused(unit):
    """The advice is to change the unit."""
    with pytest.raises(DataError, match="cannot be trained on in float32"):
        with_scale(Target("regression"), np.float32([unit, 3 * unit]))


def test_targets_far_from_zero_are_remarked_upon():
    """float32 has seven digits: seconds since 1970 lose all that distinguishes them."""
    assert "subtract a constant" in scale_notes(Target("regression", mean=1.6e9, scale=100.0))[0]
    assert not scale_notes(Target("regression", mean=150.0, scale=77.0))


@pytest.fixture
def numbers_file(tmp_path):
    np.savez(tmp_path / "rows.npz", x=RNG.normal(size=(200, 3)), y=NUMBERS)
    return str(tmp_path / "rows.npz")


def test_a_regression_is_split_at_random_and_scaled_by_training_rows(tmp_path, numbers_file):
    """No row is lost, and the scale knows nothing of the other splits."""
    dataset = load_dataset(DataSpec(source=numbers_file), seed=0, scratch=tmp_path)
    assert {name: split.rows for name, split in dataset.splits.items()} == {"train": 144, "validation": 36, "test": 20}
    everything = np.concatenate([split.y for split in dataset.splits.values()])
    assert np.array_equal(np.sort(everything), np.sort(NUMBERS.astype(np.float32)))
    assert dataset.target.task == "regression"
    assert dataset.target.class_names is None
    assert dataset.target.mean == pytest.approx(dataset.train.y.astype(np.float64).mean())
    assert dataset.target.scale == pytest.approx(dataset.train.y.astype(np.float64).std())
    assert np.load(dataset.files.y).dtype == np.float32


def test_auto_draws_as_a_task_needs_it(tmp_path, numbers_file):
    """The default is random for numbers and stratified for classes."""
    asked = load_dataset(DataSpec(source=numbers_file, split="random"), seed=0, scratch=tmp_path / "random")
    default = load_dataset(DataSpec(source=numbers_file), seed=0, scratch=tmp_path / "default")
    assert np.array_equal(asked.test.y, default.test.y)
    stratified = load_dataset(DataSpec(split="stratified"), seed=0, scratch=tmp_path / "stratified")
    digits = load_dataset(DataSpec(), seed=0, scratch=tmp_path / "digits")
    assert np.array_equal(stratified.test.y, digits.test.y)


def test_numbers_cannot_be_stratified(tmp_path, numbers_file):
    """Asked for in so many words, it is an error, not something else instead."""
    with pytest.raises(DataError, match="split: stratified needs classes"):
        load_dataset(DataSpec(source=numbers_file, split="stratified"), seed=0, scratch=tmp_path)


def test_whole_numbers_are_remarked_upon(tmp_path):
    """They may be either: the log says what they were taken for."""
    dataset = load_dataset(DataSpec(), seed=0, scratch=tmp_path)
    assert "the 10 different targets of digits: array 'y' are classes (data.task)" in dataset.notes


def test_the_profile_says_how_numbers_are_distributed(tmp_path, numbers_file):
    """Over all splits, as classes are counted."""
    profile = load_dataset(DataSpec(source=numbers_file), seed=0, scratch=tmp_path).profile()
    assert profile["task"] == "regression"
    assert profile["targets"]["minimum"] == pytest.approx(NUMBERS.min(), rel=1e-6)
    assert profile["targets"]["median"] == pytest.approx(np.median(NUMBERS), rel=1e-6)
