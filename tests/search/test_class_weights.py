"""What the rows of each class count: in training alone, together with the weights of the rows. Real training."""

from dataclasses import replace

import numpy as np
import pytest

from job import stages
from job.data import Rows, load_dataset
from job.data.class_weights import class_weights
from job.errors import SpecError
from job.search.executors import open_executor
from job.search.trial_plan import trial_plan
from job.spec import DataSpec, JobSpec
from job.training.rows import place_rows

SEARCH = {"algorithm": "random", "max_trials": 2, "max_epochs": 5}


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """Two classes that overlap, of which one has one row in ten."""
    generator = np.random.default_rng(0)
    names = np.where(np.arange(600) % 10 == 0, "rare", "usual")
    x = generator.normal(size=(600, 2)) + 1.2 * (names == "rare")[:, None]
    folder = tmp_path_factory.mktemp("rare")
    np.savez(folder / "rows.npz", x=x, y=names)
    return load_dataset(DataSpec(source=str(folder / "rows.npz")), seed=0, scratch=folder)


def tuned(dataset, folder, class_weight):
    spec = JobSpec.model_validate(
        {
            "search": SEARCH,
            "resources": {"executor": "inline"},
            "space": {"units": 8, "learning_rate": [0.1, 0.05]},
            "training": {"class_weight": class_weight, "metrics": ["recall"]},
        }
    )
    plan = trial_plan(spec, dataset, folder)
    with open_executor(spec, plan, log_fields={}) as executor:
        result = stages.search(spec, plan, executor, known={}, store_record=lambda _: None, console=None)
    return plan, result, stages.evaluate(plan, stages.retrain(spec, dataset, plan, result), dataset)


def test_balanced_weights_are_scikit_learns(rare):
    """Inverse to a class's share of the training rows."""
    from sklearn.utils.class_weight import compute_class_weight  # noqa: PLC0415

    expected = compute_class_weight("balanced", classes=np.arange(2), y=rare.train.y)
    assert class_weights("balanced", rare) == pytest.approx(dict(enumerate(expected)))


def test_balanced_weights_share_out_the_weights_of_rows(rare):
    """A class whose rows count double needs half as much."""
    weights = np.where(rare.train_and_validation.y == 0, 2.0, 1.0).astype(np.float32)
    weighted = replace(rare, train_and_validation=replace(rare.train_and_validation, sample_weight=weights))
    found = class_weights("balanced", weighted)
    counted = [weights[: rare.train_rows][rare.train.y == number].sum() * found[number] for number in (0, 1)]
    assert counted[0] == pytest.approx(counted[1])
    assert sum(counted) == pytest.approx(weights[: rare.train_rows].sum())


def test_weights_by_name_are_those_of_the_class(rare):
    """What is not named counts 1."""
    assert class_weights({"usual": 0.5}, rare) == {rare.class_names.index("usual"): 0.5}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"unusual": 2.0}, "has no class unusual; it has rare and usual"),
        ({"rare": 0.0, "usual": 0.0}, "expected a class that counts more than 0"),
    ],
)
def test_weights_that_fit_no_class_are_refused(rare, tmp_path, asked, message):
    """Before the search, as an error of the spec."""
    spec = JobSpec.model_validate({"training": {"class_weight": asked}})
    with pytest.raises(SpecError, match=message) as caught:
        trial_plan(spec, rare, tmp_path)
    assert caught.value.problems[0].path == "training.class_weight"


def test_what_only_the_data_tells_is_wrong_is_an_error_of_the_spec(tmp_path):
    """Objective, metrics and class weights of a classification, on what turns out to be numbers."""
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(60, 2)), y=np.linspace(0, 1, 60))
    data = {"source": str(tmp_path / "rows.npz")}
    numbers = load_dataset(DataSpec(**data), seed=0, scratch=tmp_path)
    wrong = {"search": {"objective": "val_accuracy"}, "training": {"metrics": ["auc"]}}
    with pytest.raises(SpecError) as caught:
        trial_plan(JobSpec.model_validate({"data": data} | wrong), numbers, tmp_path)
    assert [problem.path for problem in caught.value.problems] == ["search.objective", "training.metrics[0]"]
    assert "make a regression (data.task), which logs loss" in caught.value.message
    with pytest.raises(SpecError, match="make a regression"):
        trial_plan(JobSpec.model_validate({"data": data, "training": {"class_weight": "balanced"}}), numbers, tmp_path)


def test_weights_of_rows_and_classes_multiply():
    """A row counts its own weight times that of its class."""
    rows = Rows(np.zeros((4, 1), np.float32), np.array([0, 1, 0, 1]), np.float32([1, 2, 3, 4]))
    placed = place_rows(rows, class_weight={1: 10.0})
    assert placed.sample_weight.numpy().tolist() == [1, 20, 3, 40]


def test_balanced_training_finds_the_rare_class(rare, tmp_path):
    """More of its rows are found than without weights; the validation loss is unweighted, and so comparable."""
    plain_plan, plain, plain_evaluation = tuned(rare, tmp_path / "plain", "none")
    plan, balanced, evaluation = tuned(rare, tmp_path / "balanced", "balanced")
    assert plain_plan.class_weight is None
    assert plan.open().validation.sample_weight is None
    found = [one.report["per_class"]["rare"]["recall"] for one in (plain_evaluation, evaluation)]
    assert found[1] > found[0]
    assert balanced.best.executions[0].epochs[0]["loss"] != plain.best.executions[0].epochs[0]["loss"]
