"""One trial: continued training to the last bit, checkpoints, and how trials fail. Real training on 108 rows."""

import json
from dataclasses import replace
from typing import ClassVar

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from small_nets import StatefulNet

from job.errors import ModelCodeError, StateConflictError
from job.models.builders import MlpHyperModel
from job.records import TrialRequest
from job.seeds import derive_seed
from job.target import Target
from job.training.checkpoint import LineageState, restore_checkpoint, take_checkpoint
from job.training.epochs import DeviceRows
from job.training.trial import (
    TrialSetting,
    best_checkpoint,
    better,
    build_model,
    last_checkpoint,
    run_trial,
)

THREE_CLASSES = Target("classification", ("a", "b", "c"))
RUNGS = ((0, 2), (2, 4), (4, 10))
VALUES = {"units": 16, "learning_rate": 0.01}


class NormalisedDropout(StatefulNet):
    """Drops more."""

    dropout: ClassVar = 0.4


class RaisesInBuild(NormalisedDropout):
    """A builder that raises what it is told to."""

    error: Exception

    def build_from(self, values):  # noqa: ARG002 - the signature is the builders'
        raise self.error


@pytest.fixture
def setting(dataset, tmp_path):
    return TrialSetting(
        hypermodel=NormalisedDropout({}, input_shape=(4, 4), target=THREE_CLASSES),
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="val_accuracy",
        direction="max",
        checkpoints=tmp_path / "checkpoints",
    )


def request_for(rung, *, index=0, seed=11, values=VALUES, rungs=RUNGS):
    from_epoch, to_epoch = rungs[rung]
    return TrialRequest(
        trial_id=f"h0-b2-i{index:03d}-r{rung}",
        hyperparameters=values,
        iteration=0,
        bracket=2,
        index=index,
        rung=rung,
        parent=f"h0-b2-i{index:03d}-r{rung - 1}" if rung else None,
        from_epoch=from_epoch,
        to_epoch=to_epoch,
        seed=seed,
    )


def straight_through(*, seed=11):
    """The same lineage in one go, as a configuration of its own."""
    return request_for(0, index=1, seed=seed, rungs=((0, 10),))


def checkpoint_arrays(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_same_checkpoint(one, other):
    """Every variable of model and optimizer is equal to the last bit, and so is the lineage's state.

    But for the logs, which are of the rung alone.
    """
    first, second = checkpoint_arrays(one), checkpoint_arrays(other)
    assert first.keys() == second.keys()
    # Four layers' variables and a seed, and two moments of each trainable one: nothing was left out.
    assert len(first) > 20
    states = [json.loads(bytes(arrays["state"])) | {"logs": []} for arrays in (first, second)]
    assert states[0] == states[1]
    assert max(np.abs(first[name] - second[name]).max() for name in first if name != "state") == 0


def epochs_of(*records):
    return [logs for record in records for logs in record.executions[0].epochs]


def test_a_promoted_trial_continues_to_the_last_bit(setting):
    """2 -> 4 -> 10 epochs through checkpoints equal 10 straight ones: weights, optimizer, seeds and metrics."""
    records = [run_trial(request_for(rung), setting) for rung in range(3)]
    whole = run_trial(straight_through(), setting)
    assert [record.status for record in records] == ["completed"] * 3
    assert [len(epochs_of(record)) for record in records] == [2, 2, 6]
    assert epochs_of(*records) == epochs_of(whole)
    assert (records[-1].score, records[-1].best_epoch) == (whole.score, whole.best_epoch)
    folder = setting.checkpoints
    assert_same_checkpoint(last_checkpoint(folder, records[-1].trial_id), last_checkpoint(folder, whole.trial_id))
    assert_same_checkpoint(best_checkpoint(folder, records[-1].trial_id), best_checkpoint(folder, whole.trial_id))


def test_a_lost_checkpoint_costs_time_only(setting):
    """Where the parent's checkpoints are gone, training anew from epoch 0 gives the same weights, score and epochs."""
    records = [run_trial(request_for(rung), setting) for rung in range(3)]
    names = [(kind, kind(setting.checkpoints, records[-1].trial_id)) for kind in (last_checkpoint, best_checkpoint)]
    kept = {kind: path.rename(path.with_suffix(".kept")) for kind, path in names}
    for record in records[:2]:
        last_checkpoint(setting.checkpoints, record.trial_id).unlink()
        best_checkpoint(setting.checkpoints, record.trial_id).unlink()
    again = run_trial(request_for(2), setting)
    assert without_time(again) == without_time(records[-1])
    for kind, path in names:
        assert_same_checkpoint(path, kept[kind])


def without_time(record):
    return record.model_copy(update={"seconds": 0.0})


def test_another_seed_is_another_training(setting):
    """The seed decides on initial weights, dropout and the order of rows: other seeds log other losses."""
    request = request_for(0)
    first, second = (run_trial(replace(request, seed=seed), setting) for seed in (11, 12))
    assert epochs_of(first) != epochs_of(second)


def test_the_record_says_what_happened(setting):
    """A completed trial's record has its address, its epochs' metrics, and the best score with its epoch."""
    record = run_trial(request_for(0), setting)
    assert (record.trial_id, record.iteration, record.bracket, record.index, record.rung) == (
        "h0-b2-i000-r0",
        0,
        2,
        0,
        0,
    )
    assert (record.from_epoch, record.to_epoch, record.parent) == (0, 2, None)
    assert (record.failure, record.error) == (None, None)
    scores = [logs["val_accuracy"] for logs in epochs_of(record)]
    assert record.score == max(scores)
    assert record.best_epoch == scores.index(max(scores)) + 1
    assert all(set(logs) == {"loss", "accuracy", "val_loss", "val_accuracy"} for logs in epochs_of(record))
    assert record.seconds > 0


def test_the_best_checkpoint_holds_the_best_epoch(setting):
    """Training to the best epoch and no further ends with the weights of the best checkpoint."""
    whole = run_trial(straight_through(), setting)
    best = whole.best_epoch
    assert 1 < best < 10
    up_to_best = run_trial(request_for(0, index=2, rungs=((0, best),)), setting)
    assert_same_checkpoint(
        best_checkpoint(setting.checkpoints, whole.trial_id),
        last_checkpoint(setting.checkpoints, up_to_best.trial_id),
    )


def test_a_rung_that_does_not_improve_inherits_the_best_checkpoint(setting):
    """Where the parent's epochs stay the best, its best checkpoint is the promoted trial's too, and outlives it."""
    # No learning: every epoch's loss on the validation rows is equal, so the first stays the best.
    values = VALUES | {"learning_rate": 0.0}
    still = replace(
        setting,
        hypermodel=MlpHyperModel({}, input_shape=(4, 4), target=THREE_CLASSES),
        objective="val_loss",
        direction="min",
    )
    parent = run_trial(request_for(0, values=values), still)
    child = run_trial(request_for(1, values=values), still)
    assert (child.score, child.best_epoch) == (parent.score, parent.best_epoch) == (parent.score, 1)
    inherited = best_checkpoint(still.checkpoints, child.trial_id)
    expected = checkpoint_arrays(best_checkpoint(still.checkpoints, parent.trial_id))
    best_checkpoint(still.checkpoints, parent.trial_id).unlink()
    assert bytes(checkpoint_arrays(inherited)["state"]) == bytes(expected["state"])


def test_a_diverged_trial_has_failed(setting):
    """An absurd learning rate makes the loss NaN or infinite: the trial fails as diverged, with no score."""
    record = run_trial(request_for(0, values=VALUES | {"learning_rate": 1e30}), setting)
    assert (record.status, record.failure, record.score, record.best_epoch) == ("failed", "diverged", None, None)
    assert "after epoch" in record.error
    assert not last_checkpoint(setting.checkpoints, record.trial_id).exists()


def raising(setting, error):
    hypermodel = RaisesInBuild({}, input_shape=(4, 4), target=THREE_CLASSES)
    hypermodel.error = error
    return replace(setting, hypermodel=hypermodel)


def test_an_exception_while_building_is_in_the_record(setting):
    """What the builder raises fails the trial, and its type and text are in the record."""
    record = run_trial(request_for(0), raising(setting, ValueError("units must be even")))
    assert (record.status, record.failure, record.score) == ("failed", "error", None)
    assert record.error == "ValueError: units must be even"
    assert record.executions[0].epochs == ()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (StateConflictError("not the trial's affair"), StateConflictError),
        (keras_tuner.errors.FatalError("stop it all"), ModelCodeError),
        (keras_tuner.errors.FatalTypeError("stop it all"), ModelCodeError),
    ],
)
def test_what_is_not_the_trials_own_affair_is_raised(setting, error, raised):
    """The job's own errors and KerasTuner's FatalError, which is of the model's code, end the search."""
    with pytest.raises(raised, match=str(error)):
        run_trial(request_for(0), raising(setting, error))


def test_a_trial_that_the_code_gives_up_has_failed_for_good(setting):
    """KerasTuner's FailedTrialError says that trying again is no use."""
    record = run_trial(request_for(0), raising(setting, keras_tuner.errors.FailedTrialError("too large")))
    assert (record.status, record.failure, record.score) == ("failed", "given_up", None)
    assert record.error.endswith("FailedTrialError: too large")


def test_a_trial_that_takes_too_long_has_failed(setting):
    """Past limits.trial_timeout the trial fails as timed out, and the message names the limit."""
    record = run_trial(request_for(0), replace(setting, timeout=1e-9))
    assert (record.status, record.failure, record.score) == ("failed", "timed_out", None)
    assert "limits.trial_timeout" in record.error


def test_an_objective_that_is_not_logged_fails_the_trial(setting):
    """A metric that the model does not report is named in the record."""
    record = run_trial(request_for(0), replace(setting, objective="val_auc"))
    assert (record.status, record.failure) == ("failed", "error")
    assert "val_auc" in record.error


def test_a_checkpoint_of_another_architecture_is_refused(setting, tmp_path):
    """Variables of other shapes, or fewer of them, are never assigned."""
    model = build_model(setting.hypermodel, VALUES, 0)
    path = tmp_path / "other.npz"
    take_checkpoint(build_model(setting.hypermodel, VALUES | {"units": 8}, 0), LineageState(epoch=2)).write(path)
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(ValueError, match=r"other\.npz holds a model of another architecture"):
        restore_checkpoint(path, model)
    assert all((variable.numpy() == kept).all() for variable, kept in zip(model.variables, before, strict=True))
    mlp = MlpHyperModel({}, input_shape=(4, 4), target=THREE_CLASSES)
    take_checkpoint(build_model(mlp, VALUES, 0), LineageState(epoch=2)).write(path)
    with pytest.raises(ValueError, match="another architecture"):
        restore_checkpoint(path, model)


def test_a_checkpoint_brings_back_the_state(setting, tmp_path):
    """Epoch, best score and best epoch come back as they were saved, and no temporary file is left."""
    model = build_model(setting.hypermodel, VALUES, 0)
    state = LineageState(epoch=4, best_score=0.1 + 0.2, best_epoch=3)
    take_checkpoint(model, state).write(tmp_path / "folder" / "some.npz")
    assert restore_checkpoint(tmp_path / "folder" / "some.npz", model) == state
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["some.npz"]


def test_equal_seeds_build_equal_models(setting):
    """Initial weights are a function of the seed, also of one beyond 32 bits."""
    seeds = (0, 1, derive_seed(0, "lineage", 0, 2, 5))
    assert seeds[2] > 2**32
    kernels, again = (
        [build_model(setting.hypermodel, VALUES, seed).layers[1].kernel.numpy().tobytes() for seed in seeds]
        for _ in range(2)
    )
    assert kernels == again
    assert len(set(kernels)) == 3


@pytest.mark.parametrize(
    ("score", "than", "direction", "expected"),
    [(0.5, None, "max", True), (0.6, 0.5, "max", True), (0.5, 0.5, "max", False), (0.4, 0.5, "min", True)],
)
def test_only_a_better_score_is_better(score, than, direction, expected):
    """Any score beats none, and an equal one is not better."""
    assert better(score, than, direction) is expected


def test_tensorboard_files_hold_every_epochs_metrics(setting, tmp_path):
    """The event file of a trial has each metric at each epoch, as TensorBoard reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - slow

    folder = tmp_path / "tensorboard"
    logging = replace(setting, tensorboard=folder)
    records = [run_trial(request_for(rung), logging) for rung in (0, 1)]
    for record in records:
        events = EventAccumulator(str(folder / record.trial_id)).Reload()
        assert set(events.Tags()["tensors"]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        for name in events.Tags()["tensors"]:
            assert events.SummaryMetadata(name).plugin_data.plugin_name == "scalars"
            written = {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(name)}
            logged = enumerate(epochs_of(record), start=record.from_epoch + 1)
            assert written == {epoch: float(np.float32(logs[name])) for epoch, logs in logged}


def test_a_record_survives_json(setting):
    """What a trial leaves is read back equal from its JSON, metrics to the last bit."""
    record = run_trial(request_for(0), setting)
    assert type(record).model_validate_json(record.to_json()) == record
    assert json.loads(record.to_json())["executions"][0]["epochs"] == epochs_of(record)
