"""The `fit` of a HyperModel of the user's own, called as KerasTuner's guides have it: once for a stretch of epochs."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from job.training.epochs import scalar_metrics
from job.training.rows import DeviceRows, Nested, gathered

# What `fit` is handed by name, if it takes that; the rest is rows.
_SETTINGS = frozenset(
    {"validation_data", "callbacks", "epochs", "initial_epoch", "batch_size", "verbose", "sample_weight"}
)
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Stretch:
    """Epochs that one call trains: `first` (from 0) to before `last`.

    Attributes:
        seed: of the lineage; what the call draws is a function of it and of `first`.
        after_epoch: told of the metrics of each epoch that the call reports to its callbacks.
    """

    seed: int
    first: int
    last: int
    after_epoch: Callable[[dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a call has come to.

    Attributes:
        number: what it returned, if that is a number.
        logs: the metrics of each epoch that a History holds, in order; of a dictionary the only ones.
        reported: how many epochs it has reported to its callbacks.
    """

    number: float | None
    logs: tuple[dict[str, float], ...]
    reported: int


@dataclass(frozen=True, slots=True)
class OwnFit:
    """The `fit` of a HyperModel that overrides it, for one model.

    Attributes:
        call: takes what `Model.fit` takes.
        parameters: those that its author has given it, after `hp` and `model`.
    """

    call: Callable[..., Any]
    parameters: Mapping[str, inspect.Parameter]

    def train(
        self, model: keras.Model, train: DeviceRows, validation: DeviceRows | None, batch_size: int, stretch: Stretch
    ) -> FitResult:
        """Call it once, with arrays; where it names one place for rows, with batches of them."""
        # What it draws must not depend on which epochs this process has trained before.
        digest = hashlib.sha256(f"{stretch.seed} {stretch.first}".encode()).digest()
        keras.utils.set_random_seed(int.from_bytes(digest[:4], "big"))
        reporting = _Reporting(model, stretch)
        settings: dict[str, Any] = {
            "callbacks": [reporting],
            "epochs": stretch.last,
            "initial_epoch": stretch.first,
            "verbose": 0,
        }
        if validation is not None:
            settings["validation_data"] = _arrays(validation)
        if "batch_size" in self.parameters:
            settings["batch_size"] = batch_size
        rows = _arrays(train)
        if len(rows) > _PAIR:
            settings["sample_weight"] = rows[_PAIR]
        given, named = self._rows(rows, train, batch_size)
        model.stop_training = False
        result = self.call(*given, **named, **{name: value for name, value in settings.items() if self._takes(name)})
        return _result_of(result, reporting.epochs)

    def _rows(
        self, rows: tuple[Nested, ...], train: DeviceRows, batch_size: int
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = dict(zip(("x", "y"), rows, strict=False))
        if named.keys() & self.parameters.keys():
            return (), {name: part for name, part in named.items() if self._takes(name)}
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        places = [one for one in self.parameters.values() if one.kind in kinds and one.name not in _SETTINGS]
        takes_any = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in self.parameters.values())
        if len(places) == 1 and not takes_any:
            # One thing that holds it all, as a tf.data.Dataset would.
            from job.training.fit import Batches  # noqa: PLC0415 - that module imports this one

            return (Batches(train, train.in_order(np.arange(train.count)), batch_size),), {}
        return rows[:_PAIR], {}

    def _takes(self, name: str) -> bool:
        takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in self.parameters.values())
        return takes_any or name in self.parameters


def _arrays(rows: DeviceRows) -> tuple[Nested, ...]:
    chosen = slice(None) if rows.numbers is None else rows.numbers
    return rows.batch(gathered, chosen)


class _Reporting(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no annotations
    """Hands on what is reported at the end of each epoch, by `Model.fit` or by a loop of the user's own."""

    def __init__(self, model: keras.Model, stretch: Stretch) -> None:
        super().__init__()
        self.set_model(model)
        self.epochs = 0
        self._stretch = stretch

    @property
    def model(self) -> keras.Model:
        """Loops of one's own may set it, as older versions of Keras let them."""
        return self._model

    @model.setter
    def model(self, model: keras.Model) -> None:
        self._model = model

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        del epoch
        self.epochs += 1
        self._stretch.after_epoch(scalar_metrics(logs or {}))


def _result_of(result: Any, reported: int) -> FitResult:  # noqa: ANN401 - whatever the user's code returns
    history = getattr(result, "history", result)
    if isinstance(history, Mapping):
        columns = {name: np.ravel(value) for name, value in history.items() if np.size(value)}
        count = max((len(column) for column in columns.values()), default=0)
        rows = ({name: column[min(k, len(column) - 1)] for name, column in columns.items()} for k in range(count))
        return FitResult(None, tuple(scalar_metrics(row) for row in rows), reported)
    if result is not None and not isinstance(result, str) and np.size(result) == 1:
        return FitResult(float(np.asarray(result).item()), (), reported)
    return FitResult(None, (), reported)
