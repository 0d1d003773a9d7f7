"""Optimizers that keep a moving average of the weights (`use_ema`): what is scored and published are the averages.

`Model.fit` puts them in the weights' place when it ends. Here training goes on after each epoch, from the weights
themselves; the averages take their place wherever a model is scored, kept as the best or published.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


def averages(model: keras.Model) -> bool:
    """Whether a model's optimizer keeps moving averages of its weights."""
    return bool(getattr(model.optimizer, "use_ema", False))


def take_averages(model: keras.Model) -> None:
    """Put the averages in the place of the weights, as `Model.fit` does at its end."""
    if averages(model):
        model.optimizer.finalize_variable_values(model.trainable_variables)


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """The averages are in the place of the weights within the block."""
    if not averages(model):
        yield
        return
    kept = [keras.ops.copy(variable.value) for variable in model.trainable_variables]
    take_averages(model)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, kept, strict=True):
            variable.assign(value)


@contextmanager
def weights_kept(model: keras.Model) -> Iterator[None]:
    """`Model.fit` within the block leaves the weights as they were trained: it ends after each epoch."""
    if not averages(model):
        yield
        return
    model.optimizer.finalize_variable_values = lambda _: None
    try:
        yield
    finally:
        del model.optimizer.finalize_variable_values
