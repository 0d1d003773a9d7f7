"""Whole numbers may be classes as well as ratings: a model of the user's own says which, before the search."""

import numpy as np
import pytest

from job.data import ObjectPins, load_dataset
from job.errors import ModelCodeError
from job.own_code import CodeSource, fetch_code
from job.search.own_check import checked_plan
from job.search.trial_plan import trial_plan
from job.spec import JobSpec
from job.training.fork_server import end_fork_server

MODEL = """\
import keras

def build_model(hp):
    model = keras.Sequential([keras.layers.Dense(hp.Int("units", 2, 4)), keras.layers.Dense({outputs})])
    model.compile("adam", {loss}, metrics={metrics})
    return model
"""
SPARSE = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"


@pytest.fixture(scope="module", autouse=True)
def _ended():
    yield
    end_fork_server()


@pytest.fixture
def decided(tmp_path, monkeypatch):
    """The plan and the data set after the check, of a model for these labels."""
    monkeypatch.chdir(tmp_path)

    def run(y, outputs, loss, metrics="[]", **sections):
        np.savez("rows.npz", x=np.random.default_rng(0).normal(size=(len(y), 3)), y=y)
        (tmp_path / "model.py").write_text(MODEL.format(outputs=outputs, loss=loss, metrics=metrics))
        data = {"source": "rows.npz"} | sections.pop("data", {})
        spec = JobSpec.model_validate({"data": data, "model": {"source": "model.py"}, **sections})
        dataset = load_dataset(spec.data, seed=0, scratch=tmp_path, own_model=True)
        code = fetch_code(CodeSource.of(spec.model), tmp_path / "code", ObjectPins())
        return checked_plan(trial_plan(spec, dataset, tmp_path, code), dataset)

    return run


RATINGS = np.arange(60) % 5 + 1


def test_a_loss_of_numbers_and_one_output_make_ratings_numbers_to_predict(decided):
    """They are what they were, and the log and the report say who decided."""
    plan, dataset = decided(RATINGS, 1, "'mse'")
    assert plan.target.task == dataset.target.task == "regression"
    assert plan.objective == "val_loss"
    assert dataset.target.mean == pytest.approx(dataset.train.y.mean())
    assert set(dataset.train.y.tolist()) == {1, 2, 3, 4, 5}
    assert "the model has a loss of numbers (data.task)" in dataset.notes[-1]


def test_a_loss_of_classes_makes_many_numbers_classes(decided):
    """Too many for the labels alone to tell; classes are named by their numbers."""
    plan, dataset = decided(np.arange(90) * 7 % 45 * 2, 90, SPARSE, "['accuracy']")
    assert plan.target.task == "classification"
    assert plan.objective == "val_accuracy"
    assert dataset.target.class_names == tuple(str(2 * number) for number in range(45))
    assert sum(dataset.class_counts(dataset.train).values()) == dataset.train.rows


def test_an_accuracy_makes_a_loss_of_numbers_one_of_classes(decided):
    """Signs learned by least squares are told apart all the same."""
    plan, _ = decided(np.arange(60) % 2 * 2 - 1, 1, "'mse'", "['accuracy']")
    assert plan.target.class_values == (-1.0, 1.0)
    assert plan.objective == "val_accuracy"


@pytest.mark.parametrize("sections", [{"data": {"task": "classification"}}, {"training": {"class_weight": "balanced"}}])
def test_what_the_spec_says_no_model_overrules(decided, sections):
    """One output does not tell five classes apart."""
    with pytest.raises(ModelCodeError, match=r"expected \(rows, 5\): there are 5 classes"):
        decided(RATINGS, 1, "'mse'", **sections)
