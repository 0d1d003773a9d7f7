"""Engines that outlive their trial give the next one the answer that a new engine would. Real training."""

from dataclasses import replace

import numpy as np
import pytest

from job.models.builders import MlpHyperModel
from job.records import TrialRequest
from job.target import Target
from job.training import kept_engines
from job.training.epochs import CompiledEpochs
from job.training.kept_engines import KeptEngines
from job.training.rows import DeviceRows
from job.training.trial import TrialSetting, last_checkpoint, run_trial

THREE_CLASSES = Target("classification", ("a", "b", "c"))


@pytest.fixture
def setting(dataset, tmp_path):
    return TrialSetting(
        hypermodel=MlpHyperModel({}, input_shape=(4, 4), target=THREE_CLASSES),
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="val_accuracy",
        direction="max",
        checkpoints=tmp_path / "new",
    )


@pytest.fixture
def made(monkeypatch):
    """How many engines were made."""
    engines = []
    make = CompiledEpochs.__init__

    def counted(self, *args, **kwargs):
        engines.append(self)
        make(self, *args, **kwargs)

    monkeypatch.setattr(CompiledEpochs, "__init__", counted)
    return engines


def request(number, *, units=8, learning_rate=0.01, dropout=0.2, rung=0):
    return TrialRequest(
        trial_id=f"t{number}-r{rung}",
        hyperparameters={"units": units, "learning_rate": learning_rate, "dropout": dropout},
        iteration=0,
        bracket=0,
        index=number,
        rung=rung,
        parent=f"t{number}-r{rung - 1}" if rung else None,
        from_epoch=2 * rung,
        to_epoch=2 * rung + 2,
        seed=number,
    )


REQUESTS = [
    request(1),
    request(2, learning_rate=0.1),
    request(1, rung=1),
    request(3, units=4),
    request(2, learning_rate=0.1, rung=1),
    request(4, units=4, learning_rate=0.001),
]


@pytest.mark.parametrize("compile_mode", ["never", "always"])
def test_a_kept_engine_trains_as_a_new_one_would(setting, tmp_path, made, compile_mode):
    """Trials of the same graph share one engine, and every record and weight is what it is without."""
    requests = [replace(r, hyperparameters=r.hyperparameters | {"dropout": 0.0}) for r in REQUESTS[:3]]
    requests = requests if compile_mode == "always" else REQUESTS
    setting = replace(setting, compile_mode=compile_mode)
    new = [run_trial(one, setting) for one in requests]
    assert len(made) == len(requests)
    made.clear()
    sharing = replace(setting, checkpoints=tmp_path / "kept", kept=KeptEngines())
    kept = [run_trial(one, sharing) for one in requests]
    assert len(made) == (1 if compile_mode == "always" else 2)
    times = {"seconds": 0}
    assert [record.model_copy(update=times) for record in kept] == [record.model_copy(update=times) for record in new]
    for one in requests:
        paths = [last_checkpoint(folder.checkpoints, one.trial_id) for folder in (setting, sharing)]
        with np.load(paths[0]) as first, np.load(paths[1]) as second:
            assert first.files == second.files
            assert all(np.array_equal(first[name], second[name]) for name in first.files)


def test_only_so_many_engines_are_kept(setting, made, monkeypatch):
    """The engine used longest ago goes first, by number and by size."""
    monkeypatch.setattr(kept_engines, "_COUNT", 2)
    setting = replace(setting, kept=KeptEngines())
    for number, units in enumerate((2, 3, 2, 4, 2, 3)):
        run_trial(request(number, units=units), setting)
    assert len(made) == 4
    monkeypatch.setattr(kept_engines, "_BYTES", 1)
    made.clear()
    setting = replace(setting, kept=KeptEngines())
    for number, units in enumerate((3, 3, 2, 3), start=6):
        run_trial(request(number, units=units), setting)
    assert len(made) == 3
