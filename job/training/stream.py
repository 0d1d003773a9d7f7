"""One epoch over rows that do not fit into memory: window after window, each by one compiled call."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from job.training.averaging import averaged
from job.training.epochs import build_variables, overrides, scalar_metrics
from job.training.pace import Pace
from job.training.rows import DeviceRows, Nested
from job.training.windows import WindowOrder, WindowReader, WindowShape, row_bytes_of


class StreamedEpochs:
    """Trains and validates one compiled Keras model, an epoch per call; see CompiledEpochs.

    A window of some tens of megabytes is in memory at a time, read by position.

    Args:
        model: compiled; its variables are built here.
        train, validation: the rows, in files.
        batch_size: rows per step, for both; the last batch may be smaller.

    Raises:
        Exception: whatever tracing the model's steps raises.
    """

    xla = False

    def __init__(self, model: keras.Model, train: DeviceRows, validation: DeviceRows | None, batch_size: int) -> None:
        if any(overrides(model, name) for name in ("train_step", "test_step", "compute_metrics")):
            # What such a step returns is known only outside of a graph's loop.
            raise ValueError("the model has steps of its own")
        self.model = model
        build_variables(model, train.on_host(), batch_size)
        self._train = _Windows(model, "train_step", train, batch_size)
        self._validation = None if validation is None else _Windows(model, "test_step", validation, batch_size)
        self._pace = Pace()

    def order(self, seed: int, epoch: int) -> WindowOrder:
        """The order in which a lineage sees the rows in its epoch `epoch` (from 0)."""
        return WindowOrder(self._train.shape, seed, epoch)

    def train(
        self,
        order: WindowOrder,
        *,
        first_step: int = 0,
        until: int | None = None,
        between: Callable[[int], None] | None = None,
    ) -> dict[str, float]:
        """Train one epoch over the rows in this order; the metrics as `fit` logs them. See CompiledEpochs."""
        if first_step == 0:
            self.model.reset_metrics()
        return self._train.run(order, first_step, self._pace, between, until)

    def validate(self) -> dict[str, float]:
        """Metrics over the validation rows, named `val_…`; empty without validation rows."""
        if self._validation is None:
            return {}
        self.model.reset_metrics()
        with averaged(self.model):
            logs = self._validation.run(WindowOrder(self._validation.shape), 0, Pace(), None)
        return {f"val_{name}": value for name, value in logs.items()}


class _Windows:
    """Steps over the windows of a split, by one graph that takes any window."""

    def __init__(self, model: keras.Model, step_name: str, rows: DeviceRows, batch_size: int) -> None:
        host = rows.on_host()
        self.shape = WindowShape.of(host.count, row_bytes_of(host), batch_size)
        self._reader = WindowReader(host, self.shape)
        self._batch_size = batch_size
        self._graph = _trace(model, step_name, host, batch_size)

    def run(
        self,
        order: WindowOrder,
        first_step: int,
        pace: Pace,
        between: Callable[[int], None] | None,
        until: int | None = None,
    ) -> dict[str, float]:
        """Take the steps from `first_step` to before `until`; this and `between` as in CompiledEpochs."""
        steps = -(-self.shape.rows // self._batch_size)
        steps = steps if until is None else min(until, steps)
        steps_per_window = self.shape.window_rows // self._batch_size
        logs: dict[str, float] = {}
        for window in range(first_step // steps_per_window, -(-steps // steps_per_window)):
            rows = [tf.convert_to_tensor(leaf) for leaf in keras.tree.flatten(self._reader.read(order, window))]
            start = window * steps_per_window
            step, end = max(first_step, start), min(steps, start + steps_per_window)
            while step < end:
                stop = end if between is None else min(end, step + pace.steps)
                with pace.timed(stop - step):
                    logs = scalar_metrics(self._graph(tf.constant(step - start), tf.constant(stop - start), *rows))
                step = stop
                if between is not None and step < steps:
                    between(step)
        return logs


def _trace(model: keras.Model, step_name: str, rows: DeviceRows, batch_size: int) -> Callable[..., dict[str, Any]]:
    """A graph that takes the first step, the one to stop before, and the leaves of a window."""
    step = getattr(model, step_name)
    sample = rows.batch(lambda leaf, _: leaf[:1], None)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no annotations
    def loop(first: tf.Tensor, until: tf.Tensor, *leaves: tf.Tensor) -> dict[str, Any]:
        number = first
        while number < until:
            start = number * batch_size
            step(_packed(sample, [leaf[start : start + batch_size] for leaf in leaves]))
            number += 1
        metrics: dict[str, Any] = model.get_metrics_result()
        return metrics

    count = tf.TensorSpec([], tf.int32)
    specs = [
        tf.TensorSpec([None, *np.shape(leaf)[1:]], tf.as_dtype(np.asarray(leaf).dtype))
        for leaf in keras.tree.flatten(sample)
    ]
    graph: Callable[..., dict[str, Any]] = loop.get_concrete_function(count, count, *specs)
    return graph


def _packed(sample: tuple[Nested, ...], leaves: list[tf.Tensor]) -> tuple[Nested, ...]:
    packed: tuple[Nested, ...] = keras.tree.pack_sequence_as(sample, leaves)
    return packed
