"""One epoch as one compiled call.

The rows are resident on the device; a `tf.function` gathers them batch by batch, in an order given per epoch, and calls
`model.train_step`: the same steps as `model.fit` on the same batches, without its per-batch Python.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from job.seeds import derive_seed
from job.training.compilation import CompileMode, choose_compilation
from job.training.device import device_kind
from job.training.rows import DeviceRows

__all__ = ["CompiledEpochs", "DeviceRows", "build_variables", "epoch_order", "scalar_metrics"]


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
        batch = rows.batch(lambda leaf, chosen: leaf[chosen], sample)
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
        # All variables must exist before the loop is traced: a graph's loop cannot create them.
        build_variables(model, train, batch_size)
        steps = -(-train.count // batch_size)
        self.compilation = choose_compilation(model, steps=steps, device=device_kind(), mode=compile_mode)
        self._train = _trace(model, "train_step", train, batch_size, xla=self.compilation.xla)
        # Validation is a tenth of an epoch's time: compiling it would cost more than it saves.
        self._validation = None if validation is None else _trace(model, "test_step", validation, batch_size, xla=False)

    @property
    def xla(self) -> bool:
        """Whether XLA compiles the training epochs."""
        return self.compilation.xla

    def train(self, order: npt.NDArray[np.int64]) -> dict[str, float]:
        """Train one epoch over the rows in this order, which names each row once; the metrics as `fit` logs them."""
        return self._run(self._train, order)

    def validate(self) -> dict[str, float]:
        """Metrics over the validation rows, named `val_…`; empty without validation rows."""
        if self._validation is None:
            return {}
        logs = self._run(self._validation, np.arange(self._validation.rows))
        return {f"val_{name}": value for name, value in logs.items()}

    def _run(self, loop: "_Loop", order: npt.NDArray[np.int64]) -> dict[str, float]:
        self.model.reset_metrics()
        return scalar_metrics(loop(order))


@dataclass(frozen=True, slots=True)
class _Loop:
    """A traced epoch over `rows` rows: `looped` of them by the graph's loop, the others by a step after it."""

    graph: Callable[[tf.Tensor, tf.Tensor], dict[str, Any]]
    rows: int
    looped: int
    shape: tuple[int, ...]

    def __call__(self, order: npt.NDArray[np.int64]) -> dict[str, Any]:
        looped = order[: self.looped].reshape(self.shape)
        return self.graph(tf.constant(looped, tf.int64), tf.constant(order[self.looped :], tf.int64))


def _trace(model: keras.Model, step_name: str, rows: DeviceRows, batch_size: int, *, xla: bool) -> _Loop:
    """Trace a graph that takes a step over each batch.

    Tracing a step is most of what a trial costs besides its epochs, so all batches share one, which does not know
    their size, as in `fit`. Two need another one after the loop: a smaller batch under XLA, which compiles for one
    size; and the last batch of a model whose step returns something of its own, known only outside the loop.
    """
    step = getattr(model, step_name)
    resident = rows.on_device()
    own_logs = any(_overrides(model, name) for name in (step_name, "compute_metrics"))
    partial = rows.count % batch_size
    last = (partial or batch_size) if own_logs else partial if xla else 0
    looped = rows.count - last

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]  # TensorFlow has no annotations
    def loop(order: tf.Tensor, remainder: tf.Tensor) -> dict[str, Any]:
        if xla:
            for number in tf.range(looped // batch_size):
                step(resident.batch(tf.gather, order[number]))
        else:
            for start in tf.range(0, looped, batch_size):
                step(resident.batch(tf.gather, order[start : start + batch_size]))
        logs = step(resident.batch(tf.gather, remainder)) if last else None
        metrics: dict[str, Any] = model.get_metrics_result()
        # Keras's rule: the model's metrics, unless a step of the user's own returned something else.
        return logs if own_logs and isinstance(logs, dict) and set(logs) != set(metrics) else metrics

    # No size is told, as `fit` tells none: Keras weighs the losses of several outputs by a batch's size where it knows
    # that from the graph. XLA compiles for the sizes that it is called with.
    shape = (looped // batch_size, batch_size) if xla else (looped,)
    open_shape = tf.TensorSpec([None] * len(shape), tf.int64)
    return _Loop(loop.get_concrete_function(open_shape, tf.TensorSpec([None], tf.int64)), rows.count, looped, shape)


def _overrides(model: keras.Model, method: str) -> bool:
    return getattr(getattr(model, method), "__func__", None) is not getattr(keras.Model, method)
