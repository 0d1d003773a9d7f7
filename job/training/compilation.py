"""Whether XLA compiles a model's epochs: a pure function of layers, shapes and device.

Never timed at run time: last bits differ between XLA and not, so a resumed or promoted trial must get the same answer.
The table below was measured by `benchmarks/xla_policy.py`; its figures are in `docs/performance.md`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import keras

from job.training.updates import update_compiles

CompileMode = Literal["auto", "always", "never"]

# On a CPU XLA fuses what surrounds a matrix product: dense models need half of the time. Its random numbers are slow
# there (dropout), and its convolutions far slower than oneDNN's. What is not listed is not compiled; small recurrent
# layers gain as well, large ones do not, and no rule between them has been measured.
_GAINING_ON_CPU = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Dense,
    keras.layers.ELU,
    keras.layers.Flatten,
    keras.layers.InputLayer,
    keras.layers.LayerNormalization,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.Reshape,
    keras.layers.Softmax,
)
# Compiling costs 0.3 s or more once per trial; a step saves about 0.05 ms and 0.6 ms per million weights. An epoch
# must save a tenth of a second to be worth it, for trials have few epochs.
_COST_SECONDS = 0.1
_SAVED_PER_STEP = 0.05e-3
_SAVED_PER_STEP_AND_WEIGHT = 0.6e-9
# Where the layers are not compiled, the optimizer's update may be: it costs 0.15 s once, and each step saves 0.6 ms per
# million weights, less 0.05 ms for the call.
_UPDATE_COST_PER_STEP = 0.05e-3
_UPDATE_SAVED_PER_STEP_AND_WEIGHT = 0.6e-9


@dataclass(frozen=True, slots=True)
class Compilation:
    """The choice, and why, for the log.

    Attributes:
        xla: whole steps are compiled.
        update: of each step, the optimizer's update is.
    """

    xla: bool
    reason: str
    update: bool = False


def choose_compilation(
    model: keras.Model, *, steps: int, device: Literal["cpu", "gpu"], mode: CompileMode = "auto"
) -> Compilation:
    """Whether to compile a model's training epochs with XLA.

    Args:
        model: built.
        steps: training steps per epoch.
        device: what it trains on.
        mode: the spec's `training.compile`; `always` and `never` decide by themselves.
    """
    if mode != "auto":
        return Compilation(mode == "always", f"training.compile: {mode}")
    if device == "gpu":
        return Compilation(xla=False, reason="not measured on a GPU")
    losing = sorted({type(layer).__name__ for layer in _layers(model) if type(layer) not in _GAINING_ON_CPU})
    if losing:
        return _update_alone(model, steps, f"no gain on a CPU with {', '.join(losing)}")
    if steps * (_SAVED_PER_STEP + _SAVED_PER_STEP_AND_WEIGHT * model.count_params()) < _COST_SECONDS:
        return Compilation(xla=False, reason="too little to save per epoch")
    return Compilation(xla=True, reason="dense layers on a CPU")


def _update_alone(model: keras.Model, steps: int, reason: str) -> Compilation:
    weights = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    saved = steps * (_UPDATE_SAVED_PER_STEP_AND_WEIGHT * weights - _UPDATE_COST_PER_STEP)
    if saved < _COST_SECONDS or not update_compiles(model):
        return Compilation(xla=False, reason=reason)
    return Compilation(xla=False, reason=f"{reason}; the optimizer's update alone gains", update=True)


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """All layers, those of nested models too; a subclassed model is a layer that is not listed."""
    if not isinstance(model, keras.Sequential | keras.src.models.Functional):
        yield model
        return
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
