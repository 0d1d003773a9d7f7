"""One epoch as one compiled call.

The rows are resident on the device; a `tf.function` gathers them batch by batch, in an order given per epoch, and calls
`model.train_step`: the same steps as `model.fit` on the same batches, without its per-batch Python.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from job.seeds import derive_seed
from job.training.averaging import averaged
from job.training.compilation import CompileMode, choose_compilation
from job.training.device import device_kind
from job.training.pace import Pace
from job.training.rows import DeviceRows, gathered
from job.training.updates import compiled_update

__all__ = ["CompiledEpochs", "DeviceRows", "build_variables", "epoch_order", "overrides", "scalar_metrics"]


def epoch_order(seed: int, epoch: int, rows: int) -> npt.NDArray[np.int64]:
    """The order in which a lineage sees the rows in its epoch `epoch` (from 0); depends on nothing else."""
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, "epoch order", epoch)))
    return generator.permutation(rows)


def scalar_metrics(logs: Mapping[str, Any]) -> dict[str, float]:
    """What Keras logs as plain numbers: dictionaries within are flattened, what is no number is left out."""
    metrics: dict[str, float] = {}
    for name, value in logs.items():
        if isinstance(value, Mapping):
            metrics |= scalar_metrics(value)
        elif np.size(value) == 1:
            metrics[name] = float(np.asarray(value).item())
    return metrics


def build_variables(model: keras.Model, rows: DeviceRows, batch_size: int) -> None:
    """Create all variables of a compiled model: its layers', metrics' and optimizer's.

    It is what `fit` itself does first; it has no public name.
    """
    sample = slice(0, min(batch_size, rows.count))
    # Without targets only a step of the model's own knows the loss: there is nothing to build it from.
    if rows.y is not None or not model.built:
        batch = rows.batch(gathered, sample)
        model._symbolic_build(data_batch=batch)  # noqa: SLF001 - see above
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


class CompiledEpochs:
    """Trains and validates one compiled Keras model, an epoch per call.

    Both graphs are traced here, so that a model that cannot be traced raises before it has trained.

    Args:
        model: compiled; its variables are built here.
        train: what to train on.
        validation: what to validate on; None where nothing is held out.
        batch_size: rows per step, for both; the last batch may be smaller, as in Keras.
        compile_mode: the spec's `training.compile`.

    Raises:
        Exception: whatever tracing the model's steps raises.
    """

    def __init__(
        self,
        model: keras.Model,
        train: DeviceRows,
        validation: DeviceRows | None,
        batch_size: int,
        compile_mode: CompileMode = "auto",
    ) -> None:
        self.model = model
        self._train_rows = train
        self._validation_rows = validation
        # All variables must exist before the loop is traced: a graph's loop cannot create them.
        build_variables(model, train, batch_size)
        steps = -(-train.count // batch_size)
        self.compilation = choose_compilation(model, steps=steps, device=device_kind(), mode=compile_mode)
        with compiled_update(model.optimizer) if self.compilation.update else nullcontext():
            self._train = _trace(model, "train_step", train, batch_size, xla=self.compilation.xla)
        # Validation is a tenth of an epoch's time: compiling it would cost more than it saves.
        self._validation = None if validation is None else _trace(model, "test_step", validation, batch_size, xla=False)
        self._pace = Pace()

    def choose_rows(self, train: DeviceRows, validation: DeviceRows | None) -> None:
        """Take other rows from now on, as many as before, of those that the graphs hold."""
        self._train_rows, self._validation_rows = train, validation

    @property
    def xla(self) -> bool:
        """Whether XLA compiles the training epochs."""
        return self.compilation.xla

    def order(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """See `epoch_order`."""
        return epoch_order(seed, epoch, self._train_rows.count)

    def train(
        self,
        order: npt.NDArray[np.int64],
        *,
        first_step: int = 0,
        until: int | None = None,
        between: Callable[[int], None] | None = None,
    ) -> dict[str, float]:
        """Train one epoch over the rows in this order, which names each row once; the metrics as `fit` logs them.

        Args:
            order: places among the rows, each once.
            first_step: where an epoch that was begun goes on; the model's metrics are then as they were left.
            until: the step to stop before, which ends the epoch; None for all of its steps.
            between: called every now and then with the number of steps done, the metrics in the model. What it
                raises ends the epoch there.
        """
        if first_step == 0:
            self.model.reset_metrics()
        steps = self._train.steps if until is None else min(until, self._train.steps)
        tensor = self._train.prepare(self._train_rows.in_order(order))
        logs: dict[str, Any] = {}
        step = first_step
        while step < steps:
            stop = steps if between is None else min(steps, step + self._pace.steps)
            with self._pace.timed(stop - step):
                logs = scalar_metrics(self._train.run(tensor, step, stop))
            step = stop
            if between is not None and step < steps:
                between(step)
        return logs

    def validate(self) -> dict[str, float]:
        """Metrics over the validation rows, named `val_…`; empty without validation rows."""
        loop, rows = self._validation, self._validation_rows
        if loop is None or rows is None:
            return {}
        self.model.reset_metrics()
        with averaged(self.model):
            logs = scalar_metrics(loop.run(loop.prepare(rows.in_order(np.arange(rows.count))), 0, loop.steps))
        return {f"val_{name}": value for name, value in logs.items()}


@dataclass(frozen=True, slots=True)
class _Loop:
    """A traced epoch, in two graphs: whole steps by a loop, the rest by one step after it.

    Attributes:
        graph: takes the order, the first step and the one to stop before.
        tail: the last step, where it cannot be one of the loop's.
        looped: how many rows the loop takes.
        shape: of the looped part of the order.
    """

    graph: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], dict[str, Any]]
    tail: Callable[[tf.Tensor], dict[str, Any]] | None
    looped: int
    looped_steps: int
    shape: tuple[int, ...]

    @property
    def steps(self) -> int:
        return self.looped_steps + (self.tail is not None)

    def prepare(self, order: npt.NDArray[np.int64]) -> tuple[tf.Tensor, tf.Tensor]:
        """The order as the two graphs take it."""
        looped = order[: self.looped].reshape(self.shape)
        return tf.constant(looped, tf.int64), tf.constant(order[self.looped :], tf.int64)

    def run(self, order: tuple[tf.Tensor, tf.Tensor], first: int, until: int) -> dict[str, Any]:
        """Take the steps from `first` to before `until`."""
        logs: dict[str, Any] = {}
        stop = min(until, self.looped_steps)
        if first < stop:
            logs = self.graph(order[0], tf.constant(first), tf.constant(stop))
        if until > self.looped_steps and self.tail is not None:
            logs = self.tail(order[1])
        return logs


def _trace(model: keras.Model, step_name: str, rows: DeviceRows, batch_size: int, *, xla: bool) -> _Loop:
    """Trace a graph that takes a step over each batch.

    Tracing a step is most of what a trial costs besides its epochs, so all batches share one, which does not know
    their size, as in `fit`. Two need another one after the loop: a smaller batch under XLA, which compiles for one
    size; and the last batch of a model whose step returns something of its own, known only outside the loop.
    """
    step = getattr(model, step_name)
    resident = rows.on_device()
    own_logs = any(overrides(model, name) for name in (step_name, "compute_metrics"))
    partial = rows.count % batch_size
    last = (partial or batch_size) if own_logs else partial if xla else 0
    looped = rows.count - last

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]  # TensorFlow has no annotations
    def loop(order: tf.Tensor, first: tf.Tensor, until: tf.Tensor) -> dict[str, Any]:
        number = first
        # Not tf.range: under XLA its bounds are compiled in, and each other pair would be compiled anew.
        while number < until:
            if xla:
                step(resident.batch(tf.gather, order[number]))
            else:
                start = tf.cast(number, tf.int64) * batch_size
                step(resident.batch(tf.gather, order[start : start + batch_size]))
            number += 1
        metrics: dict[str, Any] = model.get_metrics_result()
        return metrics

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]  # likewise
    def tail(remainder: tf.Tensor) -> dict[str, Any]:
        logs = step(resident.batch(tf.gather, remainder))
        metrics: dict[str, Any] = model.get_metrics_result()
        # Keras's rule: the model's metrics, unless a step of the user's own returned something else.
        return logs if own_logs and isinstance(logs, dict) and set(logs) != set(metrics) else metrics

    # No size is told, as `fit` tells none: Keras weighs the losses of several outputs by a batch's size where it knows
    # that from the graph. XLA compiles for the sizes that it is called with.
    shape = (looped // batch_size, batch_size) if xla else (looped,)
    count = tf.TensorSpec([], tf.int32)
    return _Loop(
        graph=loop.get_concrete_function(tf.TensorSpec([None] * len(shape), tf.int64), count, count),
        tail=tail.get_concrete_function(tf.TensorSpec([None], tf.int64)) if last else None,
        looped=looped,
        looped_steps=-(-looped // batch_size),
        shape=shape,
    )


def overrides(model: keras.Model, method: str) -> bool:
    """Whether a model's class has a method of its own in place of Keras's."""
    return getattr(getattr(model, method), "__func__", None) is not getattr(keras.Model, method)
