"""Trials of several trainings: seeds and folds. Real training, real checkpoints."""

import json
import statistics
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from structlog.testing import capture_logs

from job.data.folds import stratified_folds
from job.models import BUILDER_CLASSES
from job.records import TrialRequest
from job.spec.sections import WeightedObjective
from job.stop_request import TrainingPausedError
from job.target import Target
from job.training import engine, progress
from job.training.checkpoint import checkpoints_of
from job.training.kept_engines import KeptEngines
from job.training.rows import DeviceRows
from job.training.stopping import EarlyStopping
from job.training.trial import TrialSetting, run_trial
from job.training.trial_setting import ExecutionPlace

THREE_CLASSES = Target("classification", ("a", "b", "c"))
VALUES = {"units": 8, "learning_rate": 0.01, "dropout": 0.3, "batch_size": 16}
FOLDS = 3
PLACES = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


@pytest.fixture
def rows(dataset):
    """All rows but the test split's."""
    return dataset.prepared_train_and_validation, dataset.train_and_validation.y


@pytest.fixture
def single(dataset, tmp_path):
    """Trials of one training on a validation split."""
    return TrialSetting(
        hypermodel=BUILDER_CLASSES["mlp"]({}, input_shape=(4, 4), target=THREE_CLASSES),
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="val_accuracy",
        direction="max",
        checkpoints=tmp_path / "checkpoints",
    )


@pytest.fixture
def folded(single, rows):
    """Two seeds on three folds each."""
    placed = DeviceRows.place(*rows)
    return replace(
        single,
        train=placed,
        validation=placed,
        executions=2,
        folds=stratified_folds(np.asarray(rows[1]), FOLDS, seed=0),
        kept=KeptEngines(),
    )


def request(name, *, from_epoch=0, to_epoch=2, parent=None):
    return TrialRequest(
        trial_id=name,
        hyperparameters=VALUES,
        iteration=0,
        bracket=0,
        index=0,
        rung=0 if parent is None else 1,
        parent=parent,
        from_epoch=from_epoch,
        to_epoch=to_epoch,
        seed=5,
    )


def run(wanted, setting):
    record = run_trial(wanted, setting)
    assert record.error is None
    return record


def arrays_of(path):
    with np.load(path) as entries:
        arrays = {name: entries[name] for name in entries.files}
    return arrays, json.loads(bytes(arrays.pop("state"))) | {"logs": []}


def assert_same_checkpoints(folder, one, other):
    """Of both trials there are checkpoints of the same trainings, which hold the same."""
    pairs = zip(checkpoints_of(folder, one), checkpoints_of(folder, other), strict=True)
    for first, second in pairs:
        assert first.name.removeprefix(one) == second.name.removeprefix(other)
        (arrays, state), (other_arrays, other_state) = arrays_of(first), arrays_of(second)
        assert state == other_state
        assert arrays.keys() == other_arrays.keys()
        assert all(np.array_equal(arrays[name], other_arrays[name]) for name in arrays)


def test_every_training_goes_on_after_promotion(folded):
    """Each seed and fold of a promoted trial ends as if it had been trained straight through."""
    first = run(request("first"), folded)
    second = run(request("second", from_epoch=2, to_epoch=5, parent="first"), folded)
    whole = run(request("whole", to_epoch=5), folded)
    assert [(one.index, one.fold) for one in second.executions] == PLACES
    for low, high, straight in zip(first.executions, second.executions, whole.executions, strict=True):
        assert (*low.epochs, *high.epochs) == straight.epochs
    assert (second.score, second.deviation, second.best_epoch) == (whole.score, whole.deviation, whole.best_epoch)
    assert_same_checkpoints(folded.checkpoints, "second", "whole")
    # Models of folds are never published: of these only what goes on is kept.
    assert [path.name for path in checkpoints_of(folded.checkpoints, "whole")] == [
        f"whole.e{index}f{fold}.last.npz" for index, fold in PLACES
    ]


def test_the_score_is_the_mean_of_each_trainings_best(folded):
    """So is the best epoch, rounded; the deviation is the sample's."""
    record = run(request("trial", to_epoch=4), folded)
    bests = [max(logs["val_accuracy"] for logs in one.epochs) for one in record.executions]
    epochs = [
        next(k for k, logs in enumerate(one.epochs, 1) if logs["val_accuracy"] == best)
        for one, best in zip(record.executions, bests, strict=True)
    ]
    assert len(set(bests)) > 1
    assert record.score == statistics.fmean(bests)
    assert record.deviation == statistics.stdev(bests)
    assert abs(record.best_epoch - statistics.fmean(epochs)) <= 0.5


def test_the_first_of_several_seeds_is_the_configurations_own(single):
    """A trial's first training is that of a trial of one; the others start from other weights."""
    alone = run(request("alone"), single)
    several = run(request("several"), replace(single, executions=3))
    assert several.executions[0] == alone.executions[0]
    assert len({json.dumps(one.epochs) for one in several.executions}) == 3
    names = [path.name for path in checkpoints_of(single.checkpoints, "several")]
    assert names == [f"several.e{index}.{kind}.npz" for index in range(3) for kind in ("best", "last")]
    assert [path.name for path in checkpoints_of(single.checkpoints, "alone")] == ["alone.best.npz", "alone.last.npz"]
    assert alone.deviation is None


@pytest.mark.parametrize("fits", [pytest.param(False, id="loop"), pytest.param(True, id="fit")])
def test_rows_by_number_are_the_same_as_copies(folded, rows, monkeypatch, fits):
    """A fold of resident rows, taken by their numbers, trains to the same bits as its rows in arrays of their own."""
    if fits:
        choice = engine.EngineChoice("fit", "the test wants it")
        monkeypatch.setattr(engine, "choose_engine", lambda *_, **__: choice)
    wanted = replace(folded, executions=1, kept=None)
    with capture_logs() as events:
        record = run(request("by-number"), wanted)
    assert {e["engine"] for e in events if e["event"] == "engine chosen"} <= {"fit" if fits else "loop"}
    x, y = (np.asarray(part) for part in rows)
    for fold in range(FOLDS):
        train, validation = folded.folds.train(fold), folded.folds.validation(fold)
        copied = replace(
            wanted,
            train=DeviceRows.place(x[train], y[train]),
            validation=DeviceRows.place(x[validation], y[validation]),
        )
        seeded = replace(request(f"copied-{fold}"), seed=ExecutionPlace(0, fold, is_only=False).seed(5))
        assert run(seeded, replace(copied, folds=None)).executions[0].epochs == record.executions[fold].epochs


def test_folds_share_compiled_epochs(folded, monkeypatch):
    """Folds and seeds of one graph are traced once per size of fold, and come out the same."""
    made = []
    original = engine.CompiledEpochs
    monkeypatch.setattr(engine, "CompiledEpochs", lambda *args: made.append(args) or original(*args))
    apart = run(request("apart"), replace(folded, kept=None))
    assert len(made) == len(PLACES)
    made.clear()
    shared = run(request("shared"), folded)
    sizes = {(len(folded.folds.train(fold)), len(folded.folds.validation(fold))) for fold in range(FOLDS)}
    assert len(made) == len(sizes) < len(PLACES)
    assert shared.executions == apart.executions
    assert_same_checkpoints(folded.checkpoints, "shared", "apart")


@pytest.mark.parametrize("pauses", [(3, 1, 4), (8,), (12,)])
def test_a_trial_stopped_in_any_of_its_trainings_goes_on_there(folded, monkeypatch, pauses):
    """What was trained is not trained again, and record and checkpoints are those of an uninterrupted trial."""
    whole = run(request("whole"), folded)
    with capture_logs() as events:
        for pause in pauses:
            chances = count(1)
            with monkeypatch.context() as patch:
                patch.setattr(progress, "stop_requested", lambda: next(chances) == pause)  # noqa: B023 - used at once
                with pytest.raises(TrainingPausedError):
                    run_trial(request("paused"), folded)
        paused = run(request("paused"), folded)
    assert paused.executions == whole.executions
    assert (paused.score, paused.deviation, paused.best_epoch) == (whole.score, whole.deviation, whole.best_epoch)
    assert_same_checkpoints(folded.checkpoints, "paused", "whole")
    assert sum(event["event"] == "epoch finished" for event in events) == 2 * len(PLACES)


def test_a_lost_checkpoint_costs_time_only(folded):
    """Where one training's checkpoint is gone, that one is trained anew, to the same end."""
    run(request("first"), folded)
    second = request("second", from_epoch=2, to_epoch=3, parent="first")
    whole = run(second, folded)
    for path in checkpoints_of(folded.checkpoints, "second"):
        path.unlink()
    (folded.checkpoints / "first.e1f0.last.npz").unlink()
    again = run(second, folded)
    assert again.executions == whole.executions


def test_each_training_stops_early_by_itself(folded):
    """Those that have stopped keep their score in higher rungs, while the others go on."""
    stopping = replace(folded, early_stopping=EarlyStopping(1))
    whole = run(request("whole", to_epoch=6), stopping)
    lengths = [len(one.epochs) for one in whole.executions]
    assert len(set(lengths)) > 1
    run(request("first"), stopping)
    second = run(request("second", from_epoch=2, to_epoch=6, parent="first"), stopping)
    assert [len(one.epochs) for one in second.executions] == [max(0, length - 2) for length in lengths]
    assert (second.score, second.best_epoch) == (whole.score, whole.best_epoch)


def test_a_failed_training_fails_the_trial(folded):
    """The record has what was trained until then, and no score."""
    record = run_trial(request("slow"), replace(folded, timeout=0.0))
    assert (record.status, record.failure, record.score, record.deviation) == ("failed", "timed_out", None, None)
    assert [(one.index, one.fold) for one in record.executions] == [(0, 0)]


def test_class_weights_do_not_weigh_what_is_scored_on(folded, rows):
    """Folds are trained on weighted rows and scored on the same ones, where classes count alike."""
    weighted = DeviceRows.place(*rows, class_weight={0: 5.0, 1: 0.1})
    apart = replace(folded, executions=1, kept=None, train=weighted, validation=weighted.with_weights(None))
    both = replace(apart, validation=weighted)
    scored, wrongly = run(request("scored"), apart), run(request("wrongly"), both)
    losses = [
        [one.epochs[0][name] for one in record.executions]
        for record in (scored, wrongly)
        for name in ("loss", "val_loss")
    ]
    assert losses[0] == losses[2]
    assert losses[1] != losses[3]


TERMS = (
    WeightedObjective(name="val_loss", direction="min", weight=0.5),
    WeightedObjective(name="val_accuracy", direction="max", weight=2.0),
)


def test_a_weighted_sum_decides(single):
    """It is logged after every epoch, and the least is the score."""
    composed = replace(single, objective="objective", direction="min", terms=TERMS)
    record = run(request("composed", to_epoch=3), composed)
    sums = [0.5 * logs["val_loss"] - 2.0 * logs["val_accuracy"] for logs in record.executions[0].epochs]
    assert [logs["objective"] for logs in record.executions[0].epochs] == pytest.approx(sums, abs=1e-12)
    assert record.score == min(logs["objective"] for logs in record.executions[0].epochs)


def test_a_sum_of_what_is_not_logged_says_what_is(single):
    """The record's error names the missing metric and those that there are."""
    term = WeightedObjective(name="val_f1", direction="max")
    record = run_trial(request("composed"), replace(single, objective="objective", terms=(*TERMS, term)))
    assert record.error == "ValueError: the model does not log val_f1, but accuracy, loss, val_accuracy, val_loss"
