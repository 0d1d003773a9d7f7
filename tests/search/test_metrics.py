"""The metrics of built-in classifiers agree with scikit-learn's, and stay out of what is published."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from job.data import Split
from job.evaluation import _auc, _by_class, evaluate
from job.models import BUILDER_CLASSES, publishable_model
from job.models.metrics import metrics_of
from job.spec.metrics import METRICS, askable_metrics
from job.target import Target
from job.training.epochs import CompiledEpochs, epoch_order
from job.training.rows import DeviceRows

ASKABLE = askable_metrics("classification")
CLASSES = {2: Target("classification", ("no", "yes")), 7: Target("classification", tuple("abcdefg"))}


def drawn(classes, rows=300):
    generator = np.random.default_rng(classes)
    y = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[y]
    return y, logits.astype(np.float32)


def expected(y, logits):
    classes = logits.shape[1]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicted, average = logits.argmax(axis=1), "binary" if classes == 2 else "macro"
    return {
        "precision": reference.precision_score(y, predicted, average=average),
        "recall": reference.recall_score(y, predicted, average=average),
        "f1_score": reference.f1_score(y, predicted, average=average),
        "auc": reference.roc_auc_score(y, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr"),
        "cross_entropy": reference.log_loss(y, probabilities),
        "top_5_accuracy": reference.top_k_accuracy_score(y, logits, k=5) if classes > 5 else 1.0,
    }


def test_every_declared_metric_is_made():
    """What a spec may name can be built, under that name."""
    for task, target in (("classification", CLASSES[7]), ("regression", Target("regression"))):
        made = metrics_of(target, askable_metrics(task))
        names = [metric if isinstance(metric, str) else metric.name for metric in made]
        assert names == [metric.name for metric in METRICS[task] if metric.name != "loss"]


@pytest.mark.parametrize("classes", CLASSES)
def test_metrics_over_batches_are_those_of_scikit_learn(classes):
    """Precision, recall and F1 to float32's last bits; the curve's area to what 200 thresholds see of it."""
    y, logits = drawn(classes)
    want = expected(y, logits)
    for metric in metrics_of(CLASSES[classes], ASKABLE)[1:]:
        for start in range(0, len(y), 64):
            metric.update_state(y[start : start + 64, None], logits[start : start + 64])
        tolerance = 0.01 if metric.name == "auc" else 1e-6
        assert float(metric.result()) == pytest.approx(want[metric.name], abs=tolerance), metric.name
        metric.reset_state()
        assert float(metric.result()) == 0


@pytest.mark.parametrize("classes", CLASSES)
def test_rows_count_by_their_weights(classes):
    """As often as their weight says, if that is a whole number."""
    y, logits = drawn(classes)
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    want = expected(np.repeat(y, weights), np.repeat(logits, weights, axis=0))
    for metric in metrics_of(CLASSES[classes], ASKABLE)[1:]:
        metric.update_state(y, logits, sample_weight=weights.astype(np.float32))
        tolerance = 0.01 if metric.name == "auc" else 1e-6
        assert float(metric.result()) == pytest.approx(want[metric.name], abs=tolerance), metric.name


def test_classes_that_do_not_occur_do_not_count():
    """The mean is over those that are in the targets; a class that is only predicted lowers the others' recall."""
    y, logits = np.array([0, 1, 1, 2]), np.eye(7, dtype=np.float32)[[0, 1, 5, 2]]
    for metric in metrics_of(CLASSES[7], ["precision", "recall", "f1_score"])[1:]:
        metric.update_state(y, logits)
        assert float(metric.result()) == pytest.approx(expected_of_few(y, logits.argmax(1), metric.name))


def expected_of_few(y, predicted, name):
    score = getattr(reference, f"{name.removesuffix('_score')}_score")
    return score(y, predicted, labels=np.unique(y), average="macro", zero_division=0)


@given(st.data(), st.integers(3, 6))
def test_means_over_classes_are_scikit_learns_over_those_that_occur(data, classes):
    """In the search and in the report, whichever classes targets and predictions have."""
    rows = data.draw(st.integers(2, 12))
    codes = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)
    y, predicted = np.array(data.draw(codes)), np.array(data.draw(codes))
    logits = np.eye(classes, dtype=np.float32)[predicted]
    target = Target("classification", tuple("abcdef")[:classes])
    reported = _by_class(Split(np.zeros((rows, 1)), y), logits)
    for metric in metrics_of(target, ["precision", "recall", "f1_score"])[1:]:
        metric.update_state(y, logits)
        want = expected_of_few(y, predicted, metric.name)
        assert float(metric.result()) == pytest.approx(want, abs=1e-6), metric.name
        assert reported[metric.name] == pytest.approx(want, abs=1e-12), metric.name


def test_the_area_of_classes_that_do_not_occur_does_not_count():
    """Neither in the search nor in the report is it a half."""
    y, logits = np.array([0, 1, 1, 2, 0]), np.eye(7, dtype=np.float32)[[0, 1, 5, 2, 2]]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    want = np.mean([reference.roc_auc_score(y == code, shares[:, code]) for code in np.unique(y)])
    (metric,) = metrics_of(CLASSES[7], ["auc"])[1:]
    metric.update_state(y, logits)
    assert _auc(Split(np.zeros((5, 1)), y), logits) == pytest.approx(want)
    assert float(metric.result()) == pytest.approx(want, abs=0.01)


@pytest.fixture
def model():
    hypermodel = BUILDER_CLASSES["linear"]({}, input_shape=(4, 4), target=Target("classification", ("a", "b", "c")),
                                           metrics=ASKABLE)  # fmt: skip
    return hypermodel.build_from(hypermodel.declaration.constants() | {"learning_rate": 0.01, "l2": 0.0})


def test_the_cross_entropy_is_the_loss_without_penalties(dataset):
    """So that models with different penalties can be told apart by it."""
    hypermodel = BUILDER_CLASSES["linear"]({}, input_shape=(4, 4), target=Target("classification", ("a", "b", "c")),
                                           metrics=["cross_entropy"])  # fmt: skip
    model = hypermodel.build_from(hypermodel.declaration.constants() | {"learning_rate": 0.01, "l2": 0.5})
    logs = model.evaluate(dataset.prepared_validation, dataset.validation.y, verbose=0, return_dict=True)
    penalty = 0.5 * np.square(model.trainable_variables[0].numpy()).sum()
    assert penalty > 0.1
    assert logs["cross_entropy"] == pytest.approx(logs["loss"] - penalty, abs=1e-5)


@pytest.mark.parametrize("compile_mode", ["never", "always"])
def test_asked_metrics_are_logged_every_epoch(model, dataset, compile_mode):
    """In the compiled loop, with XLA and without, of training and validation rows."""
    rows = DeviceRows.place(dataset.prepared_train, dataset.train.y)
    validation = DeviceRows.place(dataset.prepared_validation, dataset.validation.y)
    engine = CompiledEpochs(model, rows, validation, 32, compile_mode)
    logs = engine.train(epoch_order(0, 0, rows.count)) | engine.validate()
    assert logs.keys() == {prefix + name for prefix in ("", "val_") for name in ("loss", "accuracy", *ASKABLE)}
    predicted = model.predict(dataset.prepared_validation, verbose=0).argmax(axis=1)
    assert logs["val_f1_score"] == pytest.approx(expected_of_few(dataset.validation.y, predicted, "f1_score"), abs=1e-6)


def test_a_published_model_has_keras_own_metrics_alone(model, dataset, tmp_path):
    """Precision and its like are computed from its predictions instead, for the test split."""
    published = publishable_model(model, dataset.preparation)
    published.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    logs = loaded.evaluate(dataset.test.x, dataset.test.y, verbose=0, return_dict=True)
    assert logs.keys() == {"loss", "accuracy", "cross_entropy", "top_5_accuracy"}
    scores = evaluate(published, dataset, ASKABLE).scores
    predicted = published.predict(dataset.test.x, verbose=0).argmax(axis=1)
    assert scores.keys() == {"loss", "accuracy", *ASKABLE}
    assert scores["recall"] == pytest.approx(expected_of_few(dataset.test.y, predicted, "recall"))
    weights = np.arange(1, dataset.test.rows + 1, dtype=np.float32)
    weighted = evaluate(published, replace(dataset, test=replace(dataset.test, sample_weight=weights)), ASKABLE).scores
    right = predicted == dataset.test.y
    assert weighted["accuracy"] == pytest.approx((right * weights).sum() / weights.sum())
    assert weighted["f1_score"] != scores["f1_score"]
