"""The tutorial's script on bare KerasTuner: search, retrain the best, evaluate. Run by `tutorial.py`.

Source: TensorFlow, "Introduction to the Keras Tuner"; its defaults are left alone (threads, verbosity, callbacks). With
`--draws`, Hyperband tries given configurations where it would draw its own; nothing else changes.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np
from first_rungs import SEARCHED, FirstRungs, first_rungs

_DROPOUT = 0.2


def _dense(units: int) -> list[keras.Layer]:
    return [keras.layers.Flatten(), keras.layers.Dense(units, activation="relu")]


def _dropout(units: int) -> list[keras.Layer]:
    return [*_dense(units), keras.layers.Dropout(_DROPOUT)]


def _conv(units: int) -> list[keras.Layer]:
    return [
        keras.layers.Reshape((28, 28, 1)),
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        *_dense(units),
    ]


HIDDEN_LAYERS: dict[str, Callable[[int], list[keras.Layer]]] = {"dense": _dense, "dropout": _dropout, "conv": _conv}


def model_builder(case: str) -> Callable[[kt.HyperParameters], keras.Model]:
    """The tutorial's `model_builder`, with the case's hidden layers."""

    def build(hp: kt.HyperParameters) -> keras.Model:
        units = hp.Int("units", min_value=32, max_value=512, step=32)
        learning_rate = hp.Choice("learning_rate", values=[1e-2, 1e-3, 1e-4])
        model = keras.Sequential([keras.Input((28, 28)), *HIDDEN_LAYERS[case](units), keras.layers.Dense(10)])
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    return build


class GivenDraws(kt.oracles.HyperbandOracle):
    """KerasTuner's Hyperband, but for where a bracket's first rung draws a new configuration: it takes a given one.

    Args:
        draws: by bracket number, which counts the bracket's promotions as KerasTuner's `bracket_num` does: the
            configurations of its first rung, in order.
        settings: KerasTuner's own arguments.
    """

    def __init__(self, draws: FirstRungs, **settings: Any) -> None:  # noqa: ANN401 - whatever KerasTuner takes
        super().__init__(**settings)
        self._draws = draws
        self._next_draw: dict[str, Any] = {}

    def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        first_rung = bracket["rounds"][0]
        self._next_draw = self._draws[bracket["bracket_num"]][len(first_rung)]
        return super()._random_trial(trial_id, bracket)

    def _random_values(self) -> dict[str, Any]:
        return dict(self._next_draw)


class GivenHyperband(kt.Hyperband):
    """KerasTuner's Hyperband tuner with this oracle; its own `__init__` does nothing else but make one."""

    def __init__(self, oracle: GivenDraws, hypermodel: Callable[..., keras.Model], **settings: Any) -> None:  # noqa: ANN401 - likewise
        kt.Tuner.__init__(self, oracle=oracle, hypermodel=hypermodel, **settings)


def make_tuner(case: str, draws: FirstRungs | None, *, epochs: int, seed: int, folder: str) -> kt.Hyperband:
    """The tutorial's tuner; with given configurations where there are some."""
    search = {"objective": "val_accuracy", "max_epochs": epochs, "factor": 3, "seed": seed}
    place = {"directory": folder, "project_name": "intro_to_kt", "overwrite": True}
    if draws is None:
        return kt.Hyperband(model_builder(case), **search, **place)
    return GivenHyperband(GivenDraws(draws, **search), model_builder(case), **place)


def main() -> None:
    """Run the script and write what it found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="what fashion_mnist.write_splits wrote")
    parser.add_argument("--case", choices=HIDDEN_LAYERS, required=True)
    parser.add_argument("--epochs", type=int, required=True, help="max_epochs")
    parser.add_argument("--seed", type=int, required=True, help="of KerasTuner's sampling; 0 is none")
    parser.add_argument("--draws", type=Path, help="what draws.py wrote; without it KerasTuner draws its own")
    parser.add_argument("--result", type=Path, required=True, help="the JSON file to write")
    arguments = parser.parse_args()
    with np.load(arguments.data) as data:
        x = {split: data[f"x_{split}"].astype("float32") / 255.0 for split in ("train", "validation", "test")}
        y = {split: data[f"y_{split}"] for split in x}
    with tempfile.TemporaryDirectory(prefix="bare-keras-tuner-") as folder:
        draws = None if arguments.draws is None else first_rungs(json.loads(arguments.draws.read_text()))
        tuner = make_tuner(arguments.case, draws, epochs=arguments.epochs, seed=arguments.seed, folder=folder)
        tuner.search(x["train"], y["train"], validation_data=(x["validation"], y["validation"]))
        best = tuner.get_best_hyperparameters(num_trials=1)[0]
        trials = list(tuner.oracle.trials.values())
    model = tuner.hypermodel.build(best)
    # The job's retraining sees these rows for as many epochs, too.
    model.fit(
        np.concatenate([x["train"], x["validation"]]),
        np.concatenate([y["train"], y["validation"]]),
        epochs=arguments.epochs,
    )
    test = model.evaluate(x["test"], y["test"], return_dict=True)
    epochs = [_epochs(trial) for trial in trials]
    unit_epochs = sum(trial.hyperparameters.get("units") * count for trial, count in zip(trials, epochs, strict=True))
    result = {
        "trials": len(trials),
        "epochs": sum(epochs),
        "unit_epochs": unit_epochs,
        "mean_units": unit_epochs / sum(epochs),
        "best_score": max(trial.score for trial in trials if trial.score is not None),
        "test_accuracy": test["accuracy"],
        "best_hyperparameters": {name: best.get(name) for name in SEARCHED},
        "first_rungs": _tried_first(trials),
    }
    arguments.result.write_text(json.dumps(result), encoding="utf-8")


def _tried_first(trials: Iterable[kt.engine.trial.Trial]) -> FirstRungs:
    """By bracket, the configurations of its first rung in the order in which they were tried."""
    found: FirstRungs = {}
    for trial in trials:
        values = trial.hyperparameters.values
        if values["tuner/round"] == 0:
            found.setdefault(values["tuner/bracket"], []).append(values)
    return first_rungs(found)


def _epochs(trial: kt.engine.trial.Trial) -> int:
    """Epochs that a trial trained: a promoted one starts where its parent stopped."""
    values = trial.hyperparameters.values
    return int(values["tuner/epochs"] - values["tuner/initial_epoch"])


if __name__ == "__main__":
    main()
