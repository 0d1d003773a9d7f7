"""One epoch by `model.fit`: for what the compiled loop cannot take."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from job.training.epochs import build_variables, scalar_metrics
from job.training.rows import DeviceRows, Nested


class FitEpochs:
    """Trains and validates one compiled Keras model, an epoch per call; see CompiledEpochs.

    Args:
        model: compiled; its variables are built here.
        train, validation: the rows; they may stay in files.
        batch_size: rows per step, for both; the last batch may be smaller.
        xla: whether Keras compiles each step with XLA.
        fit: instead of the model's own `fit`; takes the same arguments.
    """

    def __init__(  # noqa: PLR0913 - one more than the compiled loop's, of which callers give three by name
        self,
        model: keras.Model,
        train: DeviceRows,
        validation: DeviceRows | None,
        batch_size: int,
        *,
        xla: bool = False,
        fit: Callable[..., Any] | None = None,
    ) -> None:
        self.model = model
        self.xla = xla and not model.run_eagerly
        model.jit_compile = self.xla
        self._train = train.on_host()
        self._validation = None if validation is None else validation.on_host()
        self._batch_size = batch_size
        self._has_own_fit = fit is not None
        self._fit = model.fit if fit is None else fit
        build_variables(model, self._train, batch_size)

    def train(
        self,
        order: npt.NDArray[np.int64],
        *,
        first_step: int = 0,
        between: Callable[[int], None] | None = None,
    ) -> dict[str, float]:
        """Train one epoch over the rows in this order; returns the metrics as `fit` logs them. See CompiledEpochs.

        A `fit` of the user's own trains whole epochs: what it does inside one is not known.
        """
        numbers = self._train.in_order(order)
        batches = _Batches(self._train, numbers[first_step * self._batch_size :], self._batch_size)
        settings: dict[str, Any] = {"epochs": 1, "shuffle": False, "verbose": 0}
        if between is not None and not self._has_own_fit:
            settings["callbacks"] = [_Between(between, first_step)]
        with _metrics_going_on(self.model) if first_step else nullcontext():
            result = self._fit(batches, **settings)
        history = getattr(result, "history", result)
        return scalar_metrics({name: np.ravel(value)[-1] for name, value in history.items()})

    def validate(self) -> dict[str, float]:
        """Metrics over the validation rows, named `val_…`; empty without validation rows."""
        if self._validation is None:
            return {}
        batches = _Batches(
            self._validation, self._validation.in_order(np.arange(self._validation.count)), self._batch_size
        )
        logs = scalar_metrics(self.model.evaluate(batches, verbose=0, return_dict=True))
        return {f"val_{name}": value for name, value in logs.items()}


class _Between(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no annotations
    """Tells after each batch but the last how many steps of the epoch are done."""

    def __init__(self, between: Callable[[int], None], first_step: int) -> None:
        super().__init__()
        self._between = between
        self._first_step = first_step

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        del logs
        if batch + 1 < self.params["steps"]:
            self._between(self._first_step + batch + 1)


@contextmanager
def _metrics_going_on(model: keras.Model) -> Iterator[None]:
    """`fit` begins by resetting the metrics, which hold the first part of this epoch."""
    model.reset_metrics = lambda: None
    try:
        yield
    finally:
        del model.reset_metrics


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no annotations
    """Rows gathered batch by batch, so that files larger than memory are read as they are needed."""

    def __init__(self, rows: DeviceRows, order: npt.NDArray[np.int64], batch_size: int) -> None:
        super().__init__()
        self._rows = rows
        self._order = order
        self._batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._batch_size)

    def __getitem__(self, number: int) -> tuple[Nested, ...]:
        chosen = self._order[number * self._batch_size : (number + 1) * self._batch_size]
        return self._rows.batch(lambda leaf, rows: leaf[rows], chosen)
