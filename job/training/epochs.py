"""One epoch as one compiled call.

The rows are resident on the device; a `tf.function` gathers them batch by batch, in an order given per epoch, and calls
`model.train_step`: the same steps as `model.fit` on the same batches, without its per-batch Python.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from job.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """Rows on the device: `x` (rows, …) float32 and `y` (rows,) integer."""

    x: tf.Tensor
    y: tf.Tensor

    @classmethod
    def place(cls, x: npt.NDArray[np.float32], y: npt.NDArray[np.integer]) -> "DeviceRows":
        """Copy arrays, memory-mapped or not, to the device."""
        return cls(tf.convert_to_tensor(x), tf.convert_to_tensor(np.asarray(y)))

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.x.shape[0])


def epoch_order(seed: int, epoch: int, rows: int) -> npt.NDArray[np.int64]:
    """The order in which a lineage sees the rows in its epoch `epoch` (from 0); depends on nothing else."""
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, "epoch order", epoch)))
    return generator.permutation(rows)


class CompiledEpochs:
    """Trains and validates one compiled Keras model, an epoch per call.

    Args:
        model: built and compiled; its optimizer is built here.
        train: what to train on.
        validation: what to validate on; None where nothing is held out.
        batch_size: rows per step, for both; the last batch may be smaller, as in Keras.
    """

    def __init__(self, model: keras.Model, train: DeviceRows, validation: DeviceRows | None, batch_size: int) -> None:
        self._model = model
        self._train = train
        self._validation = validation
        self._batch_size = batch_size
        # All variables must exist before the loop is traced: a graph's loop cannot create them. This is what
        # `fit` itself does; it has no public name.
        sample = slice(0, min(batch_size, train.count))
        model._symbolic_build(data_batch=(train.x[sample], train.y[sample]))  # noqa: SLF001
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self._train_epoch = _compile_loop(model, model.train_step, train)
        self._validate = None if validation is None else _compile_loop(model, model.test_step, validation)

    def train(self, order: npt.NDArray[np.int64]) -> dict[str, float]:
        """Train one epoch over the rows in this order; returns the metrics as `fit` logs them."""
        return self._run(self._train_epoch, order)

    def validate(self) -> dict[str, float]:
        """Metrics over the validation rows, named `val_…`; empty without validation rows."""
        if self._validation is None or self._validate is None:
            return {}
        logs = self._run(self._validate, np.arange(self._validation.count))
        return {f"val_{name}": value for name, value in logs.items()}

    def _run(
        self, loop: Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]], order: npt.NDArray[np.int64]
    ) -> dict[str, float]:
        whole = len(order) // self._batch_size * self._batch_size
        batches = tf.constant(order[:whole].reshape(-1, self._batch_size), tf.int64)
        self._model.reset_metrics()
        logs = loop(batches, tf.constant(order[whole:], tf.int64))
        return {name: float(value) for name, value in logs.items()}


def _compile_loop(
    model: keras.Model, step: Callable[[tuple[tf.Tensor, tf.Tensor]], object], rows: DeviceRows
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """A graph that takes `step` over full batches, (steps, batch size) row indices, and a last partial one."""

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no annotations
    def loop(batches: tf.Tensor, last: tf.Tensor) -> dict[str, tf.Tensor]:
        for number in tf.range(tf.shape(batches)[0]):
            chosen = batches[number]
            step((tf.gather(rows.x, chosen), tf.gather(rows.y, chosen)))
        # Its length is known when the graph is traced, so an empty one costs nothing.
        if last.shape[0]:
            step((tf.gather(rows.x, last), tf.gather(rows.y, last)))
        result: dict[str, tf.Tensor] = model.get_metrics_result()
        return result

    compiled: Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]] = loop
    return compiled
