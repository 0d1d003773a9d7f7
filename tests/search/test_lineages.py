"""Lineages over rungs: with XLA, mixed precision, `model.fit`, early stopping and callbacks. Real training."""

import json
from dataclasses import replace
from typing import ClassVar

import keras
import numpy as np
import pytest
from small_nets import StatefulNet
from structlog.testing import capture_logs

from job.data import Rescaling
from job.models import publishable_model, signature_of
from job.records import TrialRequest
from job.target import Target
from job.training.checkpoint import read_state
from job.training.engine import computing_in
from job.training.rows import DeviceRows
from job.training.stopping import EarlyStopping
from job.training.trial import TrialSetting, best_checkpoint, build_model, last_checkpoint, run_trial

THREE_CLASSES = Target("classification", ("a", "b", "c"))
RUNGS = ((0, 2), (2, 4), (4, 10))
VALUES = {"units": 16, "learning_rate": 0.01}


class Normalised(StatefulNet):
    """Dense layers with moving averages."""

    dropout: ClassVar = 0


class Eager(Normalised):
    compilation: ClassVar = {"run_eagerly": True}


class OwnFit(Normalised):
    """Overrides `fit`, as KerasTuner's guide has it for tuning how a model is trained."""

    def fit(self, hp, model, *args, **kwargs):
        assert hp.get("units") == VALUES["units"]
        # Keras would shuffle in an order of its own, which no checkpoint holds.
        return model.fit(*args, shuffle=False, **kwargs)


@pytest.fixture
def setting(dataset, tmp_path):
    return TrialSetting(
        hypermodel=Normalised({}, input_shape=(4, 4), target=THREE_CLASSES),
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="val_loss",
        direction="min",
        checkpoints=tmp_path / "checkpoints",
    )


def request_for(rung, *, index=0, rungs=RUNGS, values=VALUES):
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
        seed=11,
    )


def train_both_ways(setting, rungs=RUNGS):
    """The records of a lineage rung by rung, and of the same one straight through."""
    records = [run_trial(request_for(rung, rungs=rungs), setting) for rung in range(len(rungs))]
    whole = run_trial(request_for(0, index=1, rungs=((0, rungs[-1][1]),)), setting)
    assert [record.error for record in (*records, whole)] == [None] * (len(rungs) + 1)
    return records, whole


def arrays_of(path):
    with np.load(path) as entries:
        return {name: entries[name] for name in entries.files}


def assert_equal_lineages(setting, records, whole):
    """Epochs, score and every variable in both checkpoints are equal to the last bit."""
    assert [logs for record in records for logs in record.executions[0].epochs] == list(whole.executions[0].epochs)
    assert (records[-1].score, records[-1].best_epoch) == (whole.score, whole.best_epoch)
    for kind in (last_checkpoint, best_checkpoint):
        first, second = (arrays_of(kind(setting.checkpoints, record.trial_id)) for record in (records[-1], whole))
        assert first.keys() == second.keys()
        states = [json.loads(bytes(arrays["state"])) | {"logs": []} for arrays in (first, second)]
        assert states[0] == states[1]
        assert max(np.abs(first[name] - second[name]).max() for name in first if name != "state") == 0


def engines(events):
    return {(event["engine"], event["xla"]) for event in events if event["event"] == "engine chosen"}


@pytest.mark.parametrize(
    ("changes", "engine"),
    [
        pytest.param({"compile_mode": "always"}, ("loop", True), id="XLA"),
        pytest.param({"precision": "mixed_bfloat16"}, ("loop", False), id="mixed_bfloat16"),
        pytest.param({"precision": "mixed_float16"}, ("loop", False), id="mixed_float16"),
        pytest.param({"hypermodel": Eager}, ("fit", False), id="eager"),
        pytest.param({"hypermodel": OwnFit}, ("fit", False), id="HyperModel.fit"),
    ],
)
def test_a_promoted_trial_continues_to_the_last_bit(setting, changes, engine):
    """Rung by rung or straight through ends with the same variables, whatever trains it and in which precision."""
    if "hypermodel" in changes:
        changes = {"hypermodel": changes["hypermodel"]({}, input_shape=(4, 4), target=THREE_CLASSES)}
    changed = replace(setting, **changes)
    with capture_logs() as events:
        records, whole = train_both_ways(changed)
    assert engines(events) == {engine}
    assert_equal_lineages(changed, records, whole)


def test_loss_scaling_is_part_of_a_checkpoint(setting):
    """The dynamic loss scale and its step counter are restored: a lineage does not start to search for a scale anew."""
    changed = replace(setting, precision="mixed_float16")
    run_trial(request_for(0), changed)
    with computing_in("mixed_float16"):
        optimizer = build_model(changed.hypermodel, VALUES, 11).optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    arrays = arrays_of(last_checkpoint(changed.checkpoints, request_for(0).trial_id))
    scalars = [array for name, array in arrays.items() if name != "state" and array.shape == ()]
    steps = 2 * -(-setting.train.count // 32)
    # The scaler counts steps for itself, besides Adam.
    assert sum(np.issubdtype(array.dtype, np.integer) and array == steps for array in scalars) == 2
    assert sum(array == optimizer.initial_scale for array in scalars) == 1


def test_a_model_of_mixed_precision_is_published_in_float32(setting, tmp_path):
    """The published model takes the source's rows and answers in float32, near what full precision answers."""
    preparation = Rescaling(255.0, (4, 4), "uint8")
    answers = []
    raw = np.random.default_rng(0).integers(0, 256, (5, 4, 4)).astype(np.uint8)
    for precision in ("float32", "mixed_float16"):
        with computing_in(precision):
            core = build_model(setting.hypermodel, VALUES, 3)
        model = publishable_model(core, preparation)
        assert signature_of(model, None, "logits").outputs[0].dtype == "float32"
        model.save(tmp_path / f"{precision}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{precision}.keras", safe_mode=True)
        answers.append(loaded(raw).numpy())
        assert answers[-1].dtype == np.float32
    assert core.outputs[0].dtype == "float16"
    np.testing.assert_allclose(answers[0], answers[1], rtol=0.02, atol=0.02)


# Nothing is learned, so that no epoch improves on the first.
STILL = VALUES | {"learning_rate": 0.0}


class StillNet(Normalised):
    """Without moving averages: what does not learn does not change."""

    def build_from(self, values):
        model = keras.Sequential([keras.Input(self._input_shape), keras.layers.Flatten(), keras.layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(values["learning_rate"]), loss, metrics=["accuracy"])
        return model


@pytest.mark.parametrize("patience", [1, 2, 4, 20])
def test_early_stopping_over_rungs_equals_straight_training(setting, patience):
    """A lineage stops after the same epoch whether it is promoted on its way or not, and ends with the same state."""
    stopping = replace(setting, early_stopping=EarlyStopping(patience, min_delta=0.02))
    records, whole = train_both_ways(stopping)
    assert_equal_lineages(stopping, records, whole)


def test_a_lineage_that_stopped_trains_no_further(setting):
    """Promoted, it keeps its score and checkpoints, records no epochs, and does not even build its model."""
    stopping = replace(
        setting,
        hypermodel=StillNet({}, input_shape=(4, 4), target=THREE_CLASSES),
        early_stopping=EarlyStopping(2),
    )
    records = [run_trial(request_for(rung, values=STILL), stopping) for rung in (0, 1)]
    with capture_logs() as events:
        records.append(run_trial(request_for(2, values=STILL), stopping))
    assert [len(record.executions[0].epochs) for record in records] == [2, 1, 0]
    assert {(record.score, record.best_epoch, record.status) for record in records} == {
        (records[0].score, 1, "completed")
    }
    assert engines(events) == set()
    for kind in (last_checkpoint, best_checkpoint):
        kept, parents = (arrays_of(kind(stopping.checkpoints, record.trial_id)) for record in records[:0:-1])
        assert kept.keys() == parents.keys()
        assert all(np.array_equal(kept[name], parents[name]) for name in kept)
    state = read_state(last_checkpoint(stopping.checkpoints, records[2].trial_id))
    assert (state.epoch, state.stalled, state.stopped) == (3, 2, True)


def test_a_stopped_lineage_whose_checkpoint_is_lost_stops_again(setting):
    """Trained anew it stops at the same epoch, with the same score, and records no epochs of the higher rung."""
    stopping = replace(
        setting,
        hypermodel=StillNet({}, input_shape=(4, 4), target=THREE_CLASSES),
        early_stopping=EarlyStopping(1),
    )
    first, second = (run_trial(request_for(rung, values=STILL), stopping) for rung in (0, 1))
    for record in (first, second):
        last_checkpoint(stopping.checkpoints, record.trial_id).unlink()
    again = run_trial(request_for(1, values=STILL), stopping)
    assert again.executions == second.executions
    assert (again.score, again.best_epoch) == (second.score, second.best_epoch)


def test_an_unreadable_checkpoint_costs_time_only(setting):
    """A parent's checkpoint cut short, as by a power failure, is reported, and the lineage trained anew."""
    records, whole = train_both_ways(setting)
    path = last_checkpoint(setting.checkpoints, records[1].trial_id)
    path.write_bytes(path.read_bytes()[:100])
    last_checkpoint(setting.checkpoints, records[2].trial_id).unlink()
    with capture_logs() as events:
        again = run_trial(request_for(2), setting)
    assert [event["event"] for event in events if event["log_level"] == "warning"] == ["checkpoint not used"]
    assert_equal_lineages(setting, [*records[:2], again], whole)


class Watching(keras.callbacks.Callback):
    """Notes what it is told, and ends training after a given epoch."""

    def __init__(self, notes, last_epoch=None):
        super().__init__()
        self.notes = notes
        self.last_epoch = last_epoch

    def on_train_begin(self, logs=None):
        self.notes.append(("train begin", logs))

    def on_epoch_begin(self, epoch, logs=None):
        self.notes.append(("epoch begin", epoch, logs))

    def on_epoch_end(self, epoch, logs=None):
        self.notes.append(("epoch end", epoch, logs))
        if epoch == self.last_epoch:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.notes.append(("train end", logs))


@pytest.mark.parametrize("hypermodel", [Normalised, Eager], ids=["loop", "fit"])
def test_callbacks_see_every_epoch(setting, hypermodel):
    """Callbacks are called around the trial and each of its epochs, numbered as in `fit`, with all metrics."""
    notes = []
    watched = replace(
        setting,
        hypermodel=hypermodel({}, input_shape=(4, 4), target=THREE_CLASSES),
        callbacks=lambda request: [Watching(notes)] if request.rung else [],
    )
    run_trial(request_for(0), watched)
    assert notes == []
    epochs = run_trial(request_for(1), watched).executions[0].epochs
    assert [note[0] for note in notes] == [
        "train begin",
        *("epoch begin", "epoch end") * 2,
        "train end",
    ]
    assert [note[1] for note in notes if len(note) == 3] == [2, 2, 3, 3]
    assert [note[2] for note in notes if note[0] == "epoch end"] == list(epochs)
    assert notes[-1][1] == epochs[-1]
    assert set(epochs[0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}


@pytest.mark.parametrize("hypermodel", [Normalised, Eager], ids=["loop", "fit"])
def test_a_callback_may_stop_a_lineage(setting, hypermodel):
    """`model.stop_training` ends the trial as completed, and a promotion goes no further either."""
    stopped = replace(
        setting,
        hypermodel=hypermodel({}, input_shape=(4, 4), target=THREE_CLASSES),
        callbacks=lambda _: [Watching([], last_epoch=0)],
    )
    records = [run_trial(request_for(rung), stopped) for rung in (0, 1)]
    assert [len(record.executions[0].epochs) for record in records] == [1, 0]
    assert [record.status for record in records] == ["completed", "completed"]


def test_a_callback_may_change_the_learning_rate(setting):
    """What a callback assigns to the optimizer holds from the next epoch on, and is promoted with it."""

    class Freeze(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras's signature
            if epoch == 1:
                self.model.optimizer.learning_rate = 0.0

    frozen = replace(setting, callbacks=lambda _: [Freeze()])
    records, whole = train_both_ways(frozen)
    assert_equal_lineages(frozen, records, whole)
    kernels = [
        arrays_of(last_checkpoint(setting.checkpoints, record.trial_id))["0"] for record in (records[0], records[2])
    ]
    assert np.array_equal(*kernels)


def test_an_objective_that_is_not_logged_says_what_is(setting):
    """The record's error names the metric and those that there are."""
    record = run_trial(request_for(0), replace(setting, objective="val_f1"))
    assert record.failure == "error"
    assert record.error == "ValueError: the model does not log val_f1, but accuracy, loss, val_accuracy, val_loss"
