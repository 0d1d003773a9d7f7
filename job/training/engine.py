"""Which engine trains a model: the compiled loop or `model.fit`; and the precision it computes in."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import keras

from job.errors import JobError
from job.logs import get_logger
from job.resources import memory_limit
from job.training.compilation import CompileMode
from job.training.epochs import CompiledEpochs, build_variables
from job.training.fit import FitEpochs
from job.training.kept_engines import KeptEngines
from job.training.own_fit import OwnFit
from job.training.rows import DeviceRows, rows_fit
from job.training.stream import StreamedEpochs

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]

# Tracing errors may quote whole graphs.
_REASON_LENGTH = 200

# What this process has said before: a search makes the same choice for most of its trials.
_announced: set[tuple[str, bool, str]] = set()


class Epochs(Protocol):
    """Trains and validates one model, an epoch per call."""

    model: keras.Model

    @property
    def xla(self) -> bool:
        """Whether XLA compiles training."""
        ...

    def order(self, seed: int, epoch: int) -> Any:  # noqa: ANN401 - each engine has an order of its own
        """The order in which a lineage sees the rows in its epoch `epoch` (from 0), for `train`."""
        ...

    def train(
        self,
        order: Any,  # noqa: ANN401 - see above
        *,
        first_step: int = 0,
        until: int | None = None,
        between: Callable[[int], None] | None = None,
    ) -> dict[str, float]:
        """Train one epoch over the rows in this order; returns its metrics. See CompiledEpochs."""
        ...

    def validate(self) -> dict[str, float]:
        """Metrics over the validation rows, named `val_…`."""
        ...


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The choice, and why, for the log."""

    engine: Literal["loop", "stream", "fit"]
    reason: str


def choose_engine(model: keras.Model, rows_bytes: int, memory: int, *, own_fit: OwnFit | None = None) -> EngineChoice:
    """The compiled loop wherever it does what `model.fit` would; a pure function of its arguments.

    Args:
        model: compiled.
        rows_bytes: of all rows that would be resident.
        memory: bytes that there are.
        own_fit: the `fit` of a HyperModel that overrides it.
    """
    if own_fit is not None:
        return EngineChoice("fit", "the hypermodel has a fit of its own")
    if model.run_eagerly:
        return EngineChoice("fit", "the model asks to run eagerly")
    for method in ("fit", "make_train_function", "make_test_function", "evaluate"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            return EngineChoice("fit", f"the model overrides {method}")
    if not rows_fit(rows_bytes, memory):
        reason = f"{rows_bytes} bytes of rows are too large for {memory} bytes of memory"
        return EngineChoice("stream", reason)
    return EngineChoice("loop", "the rows fit in memory")


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Layers made within compute in this precision; their variables are float32 in all of them."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def open_engine(  # noqa: PLR0913 - what a training is made of
    build: Callable[[], keras.Model],
    train: DeviceRows,
    validation: DeviceRows | None,
    batch_size: int,
    *,
    compile_mode: CompileMode = "auto",
    precision: Precision = "float32",
    own_fit: Callable[[keras.Model], OwnFit] | None = None,
    memory: int | None = None,
    kept: KeptEngines | None = None,
    graph_key: Hashable = None,
) -> Epochs:
    """Build a model, with all its variables, and the engine that trains it.

    A model that the loop cannot trace is built once more, because a failed trace may leave variables behind that no
    other graph can use, and trained by `model.fit`.

    Args:
        build: makes the compiled model; a function of a seed alone.
        train: see CompiledEpochs.
        validation: likewise.
        batch_size: likewise.
        compile_mode: the spec's `training.compile`; with `fit`, only `always` compiles.
        precision: the spec's `training.precision`.
        own_fit: what trains a given model where a HyperModel overrides `fit`.
        memory: bytes that there are; the container's limit by default.
        kept: engines of earlier models on the same rows, or on some of them, from which the loop may be taken.
        graph_key: equal where two models' graphs are; None where that is not known.
    """
    limit = memory_limit() if memory is None else memory
    apart = validation is not None and not validation.shares_leaves_of(train)
    rows_bytes = train.size + (validation.size if apart and validation is not None else 0)
    with computing_in(precision):
        model = build()
        fit = None if own_fit is None else own_fit(model)
        choice = choose_engine(model, rows_bytes, limit, own_fit=fit)
        streamed = not rows_fit(rows_bytes, limit)
        if choice.engine != "fit":
            try:
                traced: CompiledEpochs | StreamedEpochs = (
                    StreamedEpochs(model, train, validation, batch_size)
                    if choice.engine == "stream"
                    else _open_loop(model, train, validation, batch_size, compile_mode, kept, graph_key)
                )
            except JobError:
                raise
            except Exception as error:  # noqa: BLE001 - the user's own steps may raise anything while they are traced
                choice = EngineChoice("fit", f"the model cannot be traced: {_last_line(error)}")
                get_logger().debug("trace failed", exc_info=error)
                model = build()
            else:
                reason = choice.reason if isinstance(traced, StreamedEpochs) else traced.compilation.reason
                _announce(choice.engine, reason, xla=traced.xla)
                return traced
        engine = FitEpochs(
            model, train, validation, batch_size, xla=compile_mode == "always", fit=fit, streamed=streamed
        )
        _announce("fit", choice.reason, xla=engine.xla)
        return engine


def _open_loop(  # noqa: PLR0913, PLR0917 - what a loop is made of
    model: keras.Model,
    train: DeviceRows,
    validation: DeviceRows | None,
    batch_size: int,
    compile_mode: CompileMode,
    kept: KeptEngines | None,
    graph_key: Hashable,
) -> CompiledEpochs:
    if kept is None or graph_key is None:
        return CompiledEpochs(model, train, validation, batch_size, compile_mode)
    build_variables(model, train, batch_size)
    # Of folds of one size the graph is the same: which rows it takes is told with each epoch.
    key = (graph_key, train.count, None if validation is None else validation.count)
    loop = kept.take(key, model)
    if loop is None:
        loop = CompiledEpochs(model, train, validation, batch_size, compile_mode)
        kept.keep(key, loop)
    else:
        loop.choose_rows(train, validation)
    return loop


def _last_line(error: Exception) -> str:
    """The line that says what is wrong; above it Keras and TensorFlow quote where."""
    name = type(error).__name__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[-1].removeprefix(f"{name}: ") if lines else ""
    return f"{name}: {said}"[:_REASON_LENGTH]


def _announce(engine: str, reason: str, *, xla: bool) -> None:
    said = (engine, xla, reason) in _announced
    _announced.add((engine, xla, reason))
    log = get_logger().debug if said else get_logger().info
    log("engine chosen", engine=engine, xla=xla, reason=reason)
