"""The optimizer's update as one XLA kernel, in a graph that is otherwise plain.

An update reads and writes every weight and each of its moments by a dozen element-wise operations, each of which goes
through memory; XLA makes one pass of them. So a model whose layers XLA does not suit gains all the same. What it
computes is the optimizer's own `apply`, traced.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

# Those whose updates were tried under XLA; any other may do what XLA cannot compile.
_OPTIMIZERS = (
    keras.optimizers.Adadelta,
    keras.optimizers.Adagrad,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Adamax,
    keras.optimizers.Ftrl,
    keras.optimizers.Lion,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.SGD,
)
# Schedules and constraints are a part of the update; code of anybody else's may do anything.
_KNOWN_PACKAGES = ("keras", "job")


def update_compiles(model: keras.Model) -> bool:
    """Whether XLA can be trusted with the update of a compiled model: all that takes part in it is Keras's or ours."""
    optimizer = model.optimizer
    constraints = (variable.constraint for variable in model.trainable_variables)
    parts = [getattr(optimizer, "_learning_rate", None), *constraints]
    return type(optimizer) in _OPTIMIZERS and all(
        type(part).__module__.partition(".")[0] in _KNOWN_PACKAGES
        for part in parts
        if part is not None and not isinstance(part, float | int)
    )


@contextmanager
def compiled_update(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Graphs that are traced within have the optimizer's updates compiled by XLA; the optimizer is left as it was."""
    plain = optimizer.apply

    def apply(grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        # Rows of an embedding that were not looked up have no gradient: XLA would have to make them all.
        if any(isinstance(gradient, tf.IndexedSlices) for gradient in grads):
            plain(grads, trainable_variables)
            return
        variables = None if trainable_variables is None else list(trainable_variables)

        @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow is not annotated
        def update(gradients: list[Any]) -> None:
            plain(gradients, variables)

        update(list(grads))

    optimizer.apply = apply
    try:
        yield
    finally:
        del optimizer.apply
