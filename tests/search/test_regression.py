"""A regression, from an array of numbers to the published model and its scores. Real training."""

import json

import keras
import numpy as np
import pytest

from job import stages
from job.data import load_dataset
from job.evaluation import evaluate
from job.models import BUILDER_CLASSES, publishable_model
from job.search.executors import open_executor
from job.search.trial_plan import trial_plan
from job.spec import DataSpec, JobSpec
from job.target import Target
from job.training.compilation import choose_compilation
from job.training.engine import computing_in
from job.training.epochs import CompiledEpochs, epoch_order
from job.training.rows import DeviceRows

MEAN, SCALE = 20_000.0, 5000.0
SPEC = {
    "model": {"builder": "mlp"},
    "space": {"units": [16, 32], "learning_rate": [0.03, 0.01]},
    "search": {"algorithm": "random", "max_trials": 3, "max_epochs": 8},
    "training": {"metrics": ["r2"]},
    "resources": {"executor": "inline"},
}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """Prices that depend on three inputs, one of them as a square, with a little noise."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 3)).astype(np.float32)
    y = MEAN + SCALE * (x[:, 0] - 0.5 * x[:, 1] ** 2 + 0.1 * generator.normal(size=400))
    folder = tmp_path_factory.mktemp("numbers")
    np.savez(folder / "rows.npz", x=x, y=y)
    return load_dataset(DataSpec(source=str(folder / "rows.npz")), seed=0, scratch=folder)


@pytest.fixture(scope="module")
def tuned(numbers, tmp_path_factory):
    """A search's result, the retrained model and its evaluation."""
    spec = JobSpec.model_validate(SPEC)
    plan = trial_plan(spec, numbers, tmp_path_factory.mktemp("scratch"))
    with open_executor(spec, plan, log_fields={}) as executor:
        result = stages.search(spec, plan, executor, known={}, store_record=lambda _: None, console=None)
    trained = stages.retrain(spec, numbers, plan, result)
    return result, trained, stages.evaluate(plan, trained, numbers)


def built(target, builder="mlp", **values):
    shape = (8, 8) if builder == "cnn" else (3,)
    hypermodel = BUILDER_CLASSES[builder]({}, input_shape=shape, target=target)
    constants = hypermodel.declaration.constants()
    return hypermodel.build_from(constants | {"units": 8, "learning_rate": 0.01, "l2": 0.0} | values)


@pytest.mark.parametrize("builder", BUILDER_CLASSES)
def test_every_builder_answers_with_one_number_in_the_targets_unit(builder):
    """An untrained model guesses about the mean, not about 0."""
    model = built(Target("regression", mean=MEAN, scale=SCALE), builder)
    assert model.output_shape == (None, 1)
    assert type(model.layers[-1]).__name__ == "Rescaling"
    answers = model.predict(np.zeros((2, *model.input_shape[1:]), np.float32), verbose=0)
    assert answers == pytest.approx(np.full((2, 1), MEAN))
    assert isinstance(model.loss, keras.losses.MeanSquaredError)


def test_the_unit_of_the_target_changes_nothing_but_the_unit(numbers):
    """Trained on thousands or on units, predictions are the same but for the factor, whatever the penalties."""
    x, y = numbers.prepared_train, numbers.train.y
    found = []
    for factor in (1.0, 1024.0):
        target = Target("regression", mean=MEAN * factor, scale=SCALE * factor)
        keras.utils.set_random_seed(0)
        model = built(target, l2=0.01)
        model.fit(x, y * factor, epochs=2, verbose=0)
        found.append(model.predict(x, verbose=0) / factor)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_the_logged_metrics_are_in_the_targets_unit(numbers):
    """Loss is that of standardised targets; mean absolute error and root of the squared error are as they are."""
    target = numbers.target
    model = built(target)
    rows = DeviceRows.place(numbers.prepared_train, numbers.train.y)
    validation = DeviceRows.place(numbers.prepared_validation, numbers.validation.y)
    engine = CompiledEpochs(model, rows, validation, 32)
    engine.train(epoch_order(0, 0, rows.count))
    logs = engine.validate()
    errors = model.predict(numbers.prepared_validation, verbose=0)[:, 0] - numbers.validation.y
    assert logs["val_mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    assert logs["val_rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
    assert logs["val_loss"] == pytest.approx((errors**2).mean() / target.scale**2, rel=1e-4)


def test_a_search_finds_a_model_that_explains_the_targets(numbers, tuned):
    """By `val_rmse`, less being better; with R2 among the logged metrics, as asked for."""
    result, _, evaluation = tuned
    assert (result.totals.objective, result.totals.direction) == ("val_rmse", "min")
    assert result.best.score == min(trial.score for trial in result.trials)
    logged = {name for logs in result.best.executions[0].epochs for name in logs}
    assert logged == {p + name for p in ("", "val_") for name in ("loss", "mae", "rmse", "r2")}
    assert evaluation.scores["r2"] > 0.8
    assert result.best.score < numbers.target.scale / 2


def test_the_test_split_is_scored_in_the_targets_unit(numbers, tuned):
    """Errors, R2 and the distribution of residuals are those of the published model's predictions."""
    _, trained, evaluation = tuned
    predicted = trained.model.predict(numbers.test.x, verbose=0)[:, 0].astype(np.float64)
    residuals = numbers.test.y.astype(np.float64) - predicted
    scores, report = evaluation.scores, evaluation.report
    assert scores.keys() == {"loss", "mae", "rmse", "r2"}
    assert scores["mae"] == pytest.approx(np.abs(residuals).mean(), rel=1e-5)
    assert scores["rmse"] == pytest.approx(np.sqrt((residuals**2).mean()), rel=1e-5)
    assert scores["r2"] == pytest.approx(1 - residuals.var() / numbers.test.y.var() - residuals.mean() ** 2
                                         / numbers.test.y.var(), rel=1e-5)  # fmt: skip
    assert report["residuals"]["quantiles"]["0.5"] == pytest.approx(np.median(residuals))
    assert report["residuals"]["minimum"] == pytest.approx(residuals.min())
    assert list(report["residuals"]["quantiles"]) == ["0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99"]
    json.dumps(report, allow_nan=False)


def test_equal_targets_have_no_r2(numbers, tuned):
    """It is left out, not infinite."""
    from dataclasses import replace  # noqa: PLC0415

    constant = replace(numbers.test, y=np.full_like(numbers.test.y, 7))
    scores = evaluate(tuned[1].model, replace(numbers, test=constant)).scores
    assert scores.keys() == {"loss", "mae", "rmse"}


def test_the_published_model_is_keras_alone(numbers, tuned, tmp_path):
    """Loaded in safe mode it predicts and evaluates in the target's unit; metrics of this job's own stay behind."""
    _, trained, evaluation = tuned
    trained.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    logs = loaded.evaluate(numbers.test.x, numbers.test.y, verbose=0, return_dict=True)
    assert logs == pytest.approx({name: evaluation.scores[name] for name in logs}, rel=1e-5)
    assert logs.keys() == {"loss", "mae", "rmse"}
    config = json.dumps(json.loads(_config(tmp_path / "model.keras")))
    assert '"module": "job' not in config


def _config(path):
    import zipfile  # noqa: PLC0415

    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json")


def test_mixed_precision_answers_in_float32(numbers):
    """Sixteen bits hold no prices: the last layer computes in 32."""
    with computing_in("mixed_bfloat16"):
        model = built(Target("regression", mean=MEAN, scale=1.0))
    published = publishable_model(model, numbers.preparation)
    answers = published.predict(np.zeros((1, 3), np.float32), verbose=0)
    assert answers.dtype == np.float32
    assert answers[0, 0] == MEAN


def test_xla_takes_what_regression_adds():
    """Rescaling the output does not keep a dense model from being compiled."""
    model = built(Target("regression", mean=MEAN, scale=SCALE), units=512)
    assert choose_compilation(model, steps=5000, device="cpu").xla
