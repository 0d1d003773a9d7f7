"""One epoch by `model.fit`: for what the compiled loop cannot take."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from job.training.averaging import averaged, weights_kept
from job.training.epochs import build_variables, epoch_order, scalar_metrics
from job.training.own_fit import FitResult, OwnFit, Stretch
from job.training.rows import DeviceRows, Nested, gathered
from job.training.windows import WindowOrder, WindowReader, WindowShape, row_bytes_of

# Rows per step where a finished model is scored: nothing is learnt from a step, and each one takes time.
SCORED_ROWS = 1024


class FitEpochs:
    """Trains and validates one compiled Keras model, an epoch per call; see CompiledEpochs.

    Args:
        model: compiled; its variables are built here.
        train, validation: the rows; they may stay in files.
        batch_size: rows per step, for both; the last batch may be smaller.
        xla: whether Keras compiles each step with XLA.
        fit: of the user's own, instead of the model's.
        streamed: whether the rows are too large for memory, and read window after window (see `job.training.windows`).
            A `fit` of the user's own is handed mapped arrays.
    """

    def __init__(  # noqa: PLR0913 - one more than the compiled loop's, of which callers give three by name
        self,
        model: keras.Model,
        train: DeviceRows,
        validation: DeviceRows | None,
        batch_size: int,
        *,
        xla: bool = False,
        fit: OwnFit | None = None,
        streamed: bool = False,
    ) -> None:
        self.model = model
        self._streamed = streamed and fit is None
        self.xla = xla and not model.run_eagerly
        model.jit_compile = self.xla
        self._train = train.on_host()
        self._validation = None if validation is None else validation.on_host()
        self._batch_size = batch_size
        self._own_fit = fit
        build_variables(model, self._train, batch_size)

    def order(self, seed: int, epoch: int) -> npt.NDArray[np.int64] | WindowOrder:
        """The order in which a lineage sees the rows in its epoch `epoch` (from 0)."""
        if self._streamed:
            return WindowOrder(self._shape_of(self._train), seed, epoch)
        return epoch_order(seed, epoch, self._train.count)

    def _shape_of(self, rows: DeviceRows) -> WindowShape:
        return WindowShape.of(rows.count, row_bytes_of(rows), self._batch_size)

    def _batches(
        self,
        rows: DeviceRows,
        order: npt.NDArray[np.int64] | WindowOrder,
        first_step: int = 0,
        until: int | None = None,
    ) -> keras.utils.PyDataset:
        if isinstance(order, WindowOrder):
            return _StreamedBatches(rows, order, self._batch_size, first_step, until)
        end = None if until is None else until * self._batch_size
        return Batches(rows, rows.in_order(order)[first_step * self._batch_size : end], self._batch_size)

    def train(
        self,
        order: npt.NDArray[np.int64] | WindowOrder,
        *,
        first_step: int = 0,
        until: int | None = None,
        between: Callable[[int], None] | None = None,
    ) -> dict[str, float]:
        """Train one epoch over the rows in this order; returns the metrics as `fit` logs them. See CompiledEpochs."""
        batches = self._batches(self._train, order, first_step, until)
        settings: dict[str, Any] = {"epochs": 1, "shuffle": False, "verbose": 0}
        if between is not None:
            settings["callbacks"] = [_Between(between, first_step)]
        with _metrics_going_on(self.model) if first_step else nullcontext(), weights_kept(self.model):
            result = self.model.fit(batches, **settings)
        return _last_metrics(result)

    @property
    def has_own_fit(self) -> bool:
        """Whether a `fit` of the user's own trains, by `train_stretch` alone."""
        return self._own_fit is not None

    def train_stretch(self, stretch: Stretch) -> FitResult:
        """Have the `fit` of the user's own train several epochs in one call."""
        if self._own_fit is None:
            raise RuntimeError("there is no fit of the user's own")
        return self._own_fit.train(self.model, self._train, self._validation, self._batch_size, stretch)

    def validate(self) -> dict[str, float]:
        """Metrics over the validation rows, named `val_…`; empty without validation rows."""
        if self._validation is None:
            return {}
        rows = self._validation
        order = WindowOrder(self._shape_of(rows)) if self._streamed else np.arange(rows.count)
        batches = self._batches(rows, order)
        with averaged(self.model):
            logs = scalar_metrics(self.model.evaluate(batches, verbose=0, return_dict=True))
        return {f"val_{name}": value for name, value in logs.items()}


def _last_metrics(result: Any) -> dict[str, float]:  # noqa: ANN401 - a History, or what the user's own code returns
    history = getattr(result, "history", result)
    if not isinstance(history, Mapping):
        return {}
    return scalar_metrics({name: np.ravel(value)[-1] for name, value in history.items()})


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


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no annotations
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
        return self._rows.batch(gathered, chosen)


class _StreamedBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no annotations
    """Rows of files, a window in memory at a time: Keras asks for one batch after the other."""

    def __init__(
        self, rows: DeviceRows, order: WindowOrder, batch_size: int, first_step: int, until: int | None
    ) -> None:
        super().__init__()
        self._reader = WindowReader(rows, order.shape)
        self._order = order
        self._batch_size = batch_size
        self._first_step = first_step
        self._until = until
        self._window: tuple[int, tuple[Nested, ...]] | None = None

    def __len__(self) -> int:
        steps = math.ceil(self._order.shape.rows / self._batch_size)
        return (steps if self._until is None else min(self._until, steps)) - self._first_step

    def __getitem__(self, number: int) -> tuple[Nested, ...]:
        window, step = divmod(self._first_step + number, self._order.shape.window_rows // self._batch_size)
        if self._window is None or self._window[0] != window:
            self._window = (window, self._reader.read(self._order, window))
        rows = slice(step * self._batch_size, (step + 1) * self._batch_size)
        batch: tuple[Nested, ...] = keras.tree.map_structure(lambda leaf: leaf[rows], self._window[1])
        return batch
