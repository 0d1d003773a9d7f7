"""Plain graphs, with the optimizer's update compiled, and XLA, per kind and size of layer.

    python benchmarks/xla_policy.py                 # all cases, a few minutes
    python benchmarks/xla_policy.py dense-256 gru-16

What `job/training/compilation.py` was taken from. Each case trains the real compiled epoch with `training.compile:
never`, likewise with the update compiled, and with `always`, on random rows of the size of Fashion-MNIST's. The first
epoch, with what comes before it, traces and compiles the graph; `first` is what it took longer. Of the later ones the
fastest counts. Run it alone: other load on the machine shows.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from job.training.compilation import choose_compilation
from job.training.device import device_kind, prepare_process
from job.training.epochs import CompiledEpochs, DeviceRows, epoch_order
from job.training.updates import compiled_update

_SHAPE = (28, 28)
_CLASSES = 10
# After the first, which traces and compiles.
_TIMED_EPOCHS = 5
# Fashion-MNIST's training rows, for what the policy says of a whole epoch.
_POLICY_ROWS = 48_000

Layers = list[keras.Layer]


@dataclass(frozen=True, slots=True)
class Case:
    """Hidden layers, and how many steps an epoch takes: slow layers need fewer to be timed."""

    layers: Callable[[], Layers]
    steps: int = 400


def _dense(units: int, count: int = 1, activation: str = "relu") -> Case:
    return Case(
        lambda: [keras.layers.Flatten(), *(keras.layers.Dense(units, activation=activation) for _ in range(count))]
    )


def _after_dense(*after: Callable[[], keras.Layer]) -> Case:
    return Case(lambda: [keras.layers.Flatten(), keras.layers.Dense(256), *(make() for make in after)])


def _convolution(filters: int, count: int = 1, units: int = 0) -> Case:
    return Case(
        lambda: [
            keras.layers.Reshape((*_SHAPE, 1)),
            *(
                layer
                for _ in range(count)
                for layer in (keras.layers.Conv2D(filters, 3, activation="relu"), keras.layers.MaxPooling2D())
            ),
            keras.layers.Flatten(),
            *([keras.layers.Dense(units, activation="relu")] if units else []),
        ],
        steps=20,
    )


def _recurrent(layer: Callable[[], keras.Layer]) -> Case:
    return Case(lambda: [layer()], steps=20)


CASES = {
    "dense-32": _dense(32),
    "dense-128": _dense(128),
    "dense-256": _dense(256),
    "dense-512": _dense(512),
    "dense-1024": _dense(1024),
    "dense-3x256": _dense(256, 3),
    "dense-gelu-256": _dense(256, activation="gelu"),
    "batch-normalization-256": _after_dense(keras.layers.BatchNormalization, keras.layers.ReLU),
    "layer-normalization-256": _after_dense(keras.layers.LayerNormalization, keras.layers.ReLU),
    "dropout-256": _after_dense(keras.layers.ReLU, lambda: keras.layers.Dropout(0.2)),
    "gaussian-noise-256": _after_dense(lambda: keras.layers.GaussianNoise(0.1), keras.layers.ReLU),
    "convolution-16": _convolution(16),
    "convolution-2x32": _convolution(32, 2),
    "convolution-16-dense-256": _convolution(16, 1, 256),
    "gru-16": _recurrent(lambda: keras.layers.GRU(16)),
    "gru-128": _recurrent(lambda: keras.layers.GRU(128)),
    "lstm-32": _recurrent(lambda: keras.layers.LSTM(32)),
    "lstm-128": _recurrent(lambda: keras.layers.LSTM(128)),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of one training step, and seconds that the first epoch took longer, tracing and compiling."""

    step: float
    first: float


def main() -> None:
    """Measure what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default: all; {', '.join(CASES)}")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.cases) - set(CASES))
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}")
    device = prepare_process(threads=arguments.threads)
    print(f"{device.kind} {device.name}, threads {arguments.threads}, batch size {arguments.batch_size}, ms per step")
    print("| case | weights | plain ms | update ms | XLA ms | plain / XLA "
          "| plain first s | update first s | XLA first s | policy |")  # fmt: skip
    print(f"|{' --- |' * 10}", flush=True)
    for name in arguments.cases or CASES:
        print(_row(name, CASES[name], arguments.batch_size), flush=True)


def _row(name: str, case: Case, batch_size: int) -> str:
    plain, update, xla = (_time(case, batch_size, how) for how in ("plain", "update", "XLA"))
    model = _model(case)
    choice = choose_compilation(model, steps=-(-_POLICY_ROWS // batch_size), device=device_kind())
    cells = (
        name,
        f"{model.count_params()}",
        f"{plain.step:.3f}",
        f"{update.step:.3f}",
        f"{xla.step:.3f}",
        f"{plain.step / xla.step:.2f}",
        f"{plain.first:.2f}",
        f"{update.first:.2f}",
        f"{xla.first:.2f}",
        "XLA" if choice.xla else "update" if choice.update else "plain",
    )
    return f"| {' | '.join(cells)} |"


def _time(case: Case, batch_size: int, how: Literal["plain", "update", "XLA"]) -> Timing:
    rows = case.steps * batch_size
    random = np.random.default_rng(0)
    train = DeviceRows.place(
        random.random((rows, *_SHAPE), dtype=np.float32), random.integers(0, _CLASSES, rows, dtype=np.int64)
    )
    model = _model(case)
    seconds: list[float] = []
    started = time.perf_counter()
    with compiled_update(model.optimizer) if how == "update" else nullcontext():
        engine = CompiledEpochs(model, train, None, batch_size, "always" if how == "XLA" else "never")
    for number in range(1 + _TIMED_EPOCHS):
        engine.train(epoch_order(0, number, rows))
        seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
    first, *later = seconds
    return Timing(step=min(later) / case.steps * 1e3, first=first - min(later))


def _model(case: Case) -> keras.Model:
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    layers: Sequence[keras.Layer] = [keras.Input(_SHAPE), *case.layers(), keras.layers.Dense(_CLASSES)]
    model = keras.Sequential(list(layers))
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


if __name__ == "__main__":
    main()
