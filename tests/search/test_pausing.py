"""Training that is stopped anywhere and taken up again ends as if it had not been. Real training, real checkpoints."""

import json
from dataclasses import replace
from itertools import count
from typing import ClassVar

import keras
import numpy as np
import pytest

from job.models import BuiltInHyperModel
from job.records import TrialRequest
from job.spaces import MLP
from job.stop_request import TrainingPausedError
from job.target import Target
from job.training import progress
from job.training.checkpoint import read_state
from job.training.rows import DeviceRows
from job.training.stopping import EarlyStopping
from job.training.trial import TrialSetting, best_checkpoint, last_checkpoint, run_trial

THREE_CLASSES = Target("classification", ("a", "b", "c"))
EPOCHS = 4
# The first epoch under way, its end, inside the second, the very last pause before the end.
PAUSES = (1, 2, 9, 17, 30)


class Stateful(BuiltInHyperModel):
    """A net whose training has all kinds of state: Adam's, moving averages, and a seed generator's."""

    declaration: ClassVar = MLP
    compilation: ClassVar = {}
    dropout: ClassVar = 0.3

    def build_from(self, values):
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input(self._input_shape),
                layers.Flatten(),
                layers.Dense(values["units"], activation="relu"),
                layers.BatchNormalization(momentum=0.5),
                *([layers.Dropout(self.dropout)] if self.dropout else []),
                layers.Dense(self._target.outputs),
            ]
        )
        model.compile(
            optimizer=keras.optimizers.Adam(values["learning_rate"]),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            **self.compilation,
        )
        return model


class Dense(Stateful):
    dropout: ClassVar = 0


class Eager(Stateful):
    compilation: ClassVar = {"run_eagerly": True}


@pytest.fixture
def setting(dataset, tmp_path, monkeypatch):
    # One step at a time, so that a pause can come after any of them.
    monkeypatch.setattr("job.training.pace.Pace._SECONDS", 0.0)
    monkeypatch.setattr("job.training.pace.Pace._FIRST", 1)
    return TrialSetting(
        hypermodel=Stateful({}, input_shape=(4, 4), target=THREE_CLASSES),
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="val_accuracy",
        direction="max",
        checkpoints=tmp_path / "checkpoints",
    )


def request(name, *, from_epoch=0, to_epoch=EPOCHS, parent=None):
    return TrialRequest(
        trial_id=name,
        hyperparameters={"units": 8, "learning_rate": 0.01, "batch_size": 16},
        iteration=0,
        bracket=0,
        index=0,
        rung=0 if parent is None else 1,
        parent=parent,
        from_epoch=from_epoch,
        to_epoch=to_epoch,
        seed=5,
    )


def run_with_pauses(wanted, setting, monkeypatch, pauses):
    """Run a trial, stopping it at its `pauses[k]`-th chance in its k-th start; returns the record and the starts."""
    starts = 0
    for pause in (*pauses, None):
        chances = count(1)
        with monkeypatch.context() as patch:
            patch.setattr(progress, "stop_requested", lambda: next(chances) == pause)  # noqa: B023 - used at once
            starts += 1
            try:
                return run_trial(wanted, setting), starts
            except TrainingPausedError:
                assert last_checkpoint(setting.checkpoints, wanted.trial_id).exists()
    raise AssertionError


def arrays_of(path):
    with np.load(path) as entries:
        arrays = {name: entries[name] for name in entries.files}
    return arrays, json.loads(bytes(arrays.pop("state")))


def assert_same(setting, one, other):
    assert one.status == other.status == "completed", one.error
    assert one.executions == other.executions
    assert (one.score, one.best_epoch) == (other.score, other.best_epoch)
    for kind in (last_checkpoint, best_checkpoint):
        (first, first_state), (second, second_state) = (
            arrays_of(kind(setting.checkpoints, record.trial_id)) for record in (one, other)
        )
        assert first_state["epoch"] == second_state["epoch"]
        assert first.keys() == second.keys()
        assert max(np.abs(first[name] - second[name]).max() for name in first) == 0


@pytest.mark.parametrize(
    ("change", "pause"),
    [
        *(pytest.param({}, pause, id=f"loop-{pause}") for pause in PAUSES),
        *(pytest.param({"hypermodel": Dense, "compile_mode": "always"}, pause, id=f"XLA-{pause}") for pause in (1, 9)),
        *(pytest.param({"hypermodel": Eager}, pause, id=f"fit-{pause}") for pause in (7, 9)),
    ],
)
def test_a_paused_trial_goes_on_to_the_last_bit(setting, monkeypatch, change, pause):
    """Stopped inside an epoch or between two, a trial taken up again has the same epochs, scores and variables."""
    if "hypermodel" in change:
        change = change | {"hypermodel": change["hypermodel"]({}, input_shape=(4, 4), target=THREE_CLASSES)}
    setting = replace(setting, **change)
    whole = run_trial(request("whole"), setting)
    paused, starts = run_with_pauses(request("paused"), setting, monkeypatch, (pause,))
    assert starts == (2 if pause <= paused_chances(setting) else 1)
    assert_same(setting, paused, whole)


def paused_chances(setting):
    """How often a trial of EPOCHS epochs can pause: after each step, the last of an epoch counting once."""
    return EPOCHS * -(-setting.train.count // 16)


def test_pauses_in_a_promoted_trial_keep_what_its_parent_did(setting, monkeypatch):
    """A promoted trial that is stopped three times equals one that is not, and its record has its own epochs only."""
    run_trial(request("parent", to_epoch=2), setting)
    wanted = {"from_epoch": 2, "to_epoch": 6, "parent": "parent"}
    whole = run_trial(request("whole", **wanted), setting)
    paused, starts = run_with_pauses(request("paused", **wanted), setting, monkeypatch, (3, 8, 5))
    assert starts == 4
    assert len(paused.executions[0].epochs) == 4
    assert_same(setting, paused, whole)


def test_an_early_stopped_trial_that_was_not_recorded_is_not_trained_on(setting, monkeypatch):
    """Stopped between its early stopping and its record, a trial keeps its epochs and its score."""
    setting = replace(setting, early_stopping=EarlyStopping(patience=1, min_delta=10.0))
    whole = run_trial(request("whole"), setting)
    trained = len(whole.executions[0].epochs)
    assert trained < EPOCHS
    steps = -(-setting.train.count // 16)
    paused, _ = run_with_pauses(request("paused"), setting, monkeypatch, (trained * steps,))
    assert read_state(last_checkpoint(setting.checkpoints, "paused")).stopped
    assert paused.executions == whole.executions
    assert paused.score == whole.score


def test_checkpoints_of_a_trial_under_way_are_written_as_time_passes(setting, monkeypatch):
    """Every `checkpoint_interval` the state is written, without a stop."""
    written = []
    write = progress.ProgressFiles._write  # noqa: SLF001 - what is counted

    def counted(self, checkpoint):
        written.append((checkpoint.state.epoch, checkpoint.state.step))
        write(self, checkpoint)

    monkeypatch.setattr(progress.ProgressFiles, "_write", counted)
    run_trial(request("trial"), replace(setting, checkpoint_interval=0.0))
    assert len(written) == paused_chances(setting)
    assert (1, 0) in written
    assert (1, 3) in written


@pytest.mark.parametrize("damage", ["truncated", "foreign", "of another lineage"])
def test_a_checkpoint_that_cannot_be_trusted_is_not_used(setting, monkeypatch, damage):
    """A torn, foreign or misplaced checkpoint of a trial under way costs time and changes nothing."""
    whole = run_trial(request("whole"), setting)
    chances = count(1)
    with monkeypatch.context() as patch:
        patch.setattr(progress, "stop_requested", lambda: next(chances) == 9)
        with pytest.raises(TrainingPausedError):
            run_trial(request("damaged"), setting)
    path = last_checkpoint(setting.checkpoints, "damaged")
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "foreign":
        path.write_bytes(b"something else")
    else:
        other = replace(request("other", to_epoch=2), seed=6)
        run_trial(other, setting)
        last_checkpoint(setting.checkpoints, "other").replace(path)
    assert_same(setting, run_trial(request("damaged"), setting), whole)
