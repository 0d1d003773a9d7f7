"""Proof that a published `model.keras` is the model that was trained: loaded in another process, it answers alike."""

import inspect
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from job.child_process import last_words, run_module
from job.data import Preparation
from job.data.arrays import AnyArray
from job.data.nested import Nested
from job.errors import ModelCodeError
from job.export.comparison import UnlikeError, greatest_difference
from job.export.loading import ANSWERS, NOISE, REQUEST, Candidate, Loaded, LoadingRequest
from job.export.saved_model import ServedModel, layers_of
from job.logs import get_logger
from job.models import as_model_input, publishable_model
from job.own_code import OwnCode

# What rounding explains: the same operations, in one process and in another.
_TOLERANCE = 1e-4
_TOLERANCE_IN_16_BITS = 2.0**-5
_TIMEOUT_SECONDS = 1800.0
# What a constructor takes and `get_config` need not return.
_PLAIN_PARAMETERS = frozenset({"self", "args", "kwargs", "name", "dtype", "trainable", "activity_regularizer"})
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Published:
    """A model as it is published, before it is proved.

    Attributes:
        model: takes raw rows.
        core: what was trained, on prepared rows.
        file: where it is saved to.
    """

    model: keras.Model
    core: keras.Model
    file: Path


def require_faithful(
    cores: Sequence[keras.Model],
    preparation: Preparation,
    raw_rows: Nested,
    code: OwnCode | None,
    custom_objects: Mapping[str, Any],
) -> bool:
    """Publish trained models, load them again in one process of its own, and require that they answer alike.

    Args:
        cores: trained, on prepared rows.
        preparation: how rows are prepared.
        raw_rows: a few, as they are in the source.
        code: the user's own.
        custom_objects: the user's classes and functions by name.

    Returns:
        Whether any of the files loads only with the user's code.

    Raises:
        ModelCodeError: one does not load, or answers otherwise; names what differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        published = [
            Published(publishable_model(core, preparation, custom_objects), core, Path(folder) / f"{number}.keras")
            for number, core in enumerate(cores)
        ]
        return prove(published, preparation, raw_rows, code, Path(folder))


def prove(
    published: Sequence[Published], preparation: Preparation, raw_rows: Nested, code: OwnCode | None, folder: Path
) -> bool:
    """Save models to their files and require that they answer alike; see `require_faithful`.

    Args:
        published: where each is to be saved; the files stay.
        preparation: see there.
        raw_rows: see there.
        code: see there.
        folder: for what goes between the processes; cleared of it afterwards.
    """
    exchange = Path(tempfile.mkdtemp(dir=folder, prefix="proof-"))
    try:
        candidates = [_saved(one, number, preparation, raw_rows, exchange) for number, one in enumerate(published)]
        answers = _loaded(LoadingRequest(candidates=tuple(candidates), code=code), exchange)
    finally:
        shutil.rmtree(exchange, ignore_errors=True)
    for one, answer in zip(published, answers, strict=True):
        tolerance = _TOLERANCE_IN_16_BITS if ServedModel.of(one.model).computes_in_16_bits else _TOLERANCE
        problem = answer.problem
        if problem is None and answer.difference is not None and answer.difference > tolerance:
            problem = f"its predictions differ from the trained model's by {answer.difference:.3g}"
        if problem is not None:
            causes = "; ".join([*dict.fromkeys([*_forgotten(one.core), *_forgotten(one.model)])][:_SHOWN])
            raise ModelCodeError(
                f"model.keras, saved and loaded again, is not the model that was trained: {problem}"
                + (f". {causes}" if causes else ""),
                advice="A layer's get_config must return all that its __init__ takes; what it learns must be weights.",
            )
    return any(answer.needs_code for answer in answers)


def _saved(one: Published, number: int, preparation: Preparation, raw_rows: Nested, exchange: Path) -> Candidate:
    """Save a model, raw rows as it takes them, and what was trained answers to them."""
    one.model.save(one.file)
    served = ServedModel.of(one.model)
    rows = served.rows_by_name(raw_rows)
    _write(exchange / "rows.npz", [rows[name.name] for name in served.inputs])
    x = as_model_input(preparation.prepare(raw_rows))
    first, second = (_answers(one.core, x) for _ in range(2))
    expected: str | None = f"expected-{number}.npz"
    if not _is_alike(first, second):
        get_logger().warning("the model answers otherwise each time: its file is loaded, and not compared")
        expected = None
    else:
        _write(exchange / f"expected-{number}.npz", first)
    return Candidate(file=str(one.file.resolve()), expected=expected)


def _answers(core: keras.Model, x: Nested) -> list[AnyArray]:
    # On the processor, where published models are loaded: a GPU may round otherwise.
    with tf.device("CPU:0"):
        tensors = keras.tree.map_structure(tf.convert_to_tensor, x)
        answers = keras.tree.flatten(core(tensors, training=False))
    return [_as_float32(np.asarray(keras.ops.convert_to_numpy(answer))) for answer in answers]


def _as_float32(answer: AnyArray) -> AnyArray:
    return answer.astype(np.float32) if answer.dtype.name in {"float16", "bfloat16"} else answer


def _is_alike(first: list[AnyArray], second: list[AnyArray]) -> bool:
    one, other = ({str(number): answer for number, answer in enumerate(answers)} for answers in (first, second))
    try:
        return greatest_difference(one, other) <= _TOLERANCE
    except UnlikeError:
        return False


def _write(path: Path, arrays: Sequence[AnyArray]) -> None:
    named: dict[str, Any] = {str(index): _storable(array) for index, array in enumerate(arrays)}
    np.savez(path, **named)


def _storable(array: AnyArray) -> AnyArray:
    """Strings as NumPy's own: objects would be pickled."""
    if array.dtype.kind != "O":
        return array
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in array.reshape(-1)]
    return np.array(texts).reshape(array.shape)


def _loaded(request: LoadingRequest, exchange: Path) -> list[Loaded]:
    (exchange / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
    code = run_module(
        "job.export.loading",
        exchange,
        output=exchange / NOISE,
        environment={"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=_TIMEOUT_SECONDS,
    )
    file = exchange / ANSWERS
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    answers = [Loaded.model_validate_json(line) for line in lines]
    missing = len(request.candidates) - len(answers)
    lost = Loaded(problem=f"the process that loads it ended with {code}: {last_words(exchange / NOISE)}")
    return [*answers, *[lost] * missing]


def _forgotten(model: keras.Model) -> Iterator[str]:
    """What constructors of the user's own take and `get_config` does not return, layer by layer."""
    seen: set[type] = set()
    for layer in [model, *layers_of(model)]:
        kind = type(layer)
        if kind in seen or kind.__module__.split(".", 1)[0] == "keras":
            continue
        seen.add(kind)
        try:
            returned = layer.get_config()
        except Exception as error:  # noqa: BLE001 - the user's own
            yield f"{kind.__name__}.get_config raises {type(error).__name__}: {error}"
            continue
        taken = inspect.signature(kind.__init__).parameters
        lacking = [name for name in taken if name not in returned and name not in _PLAIN_PARAMETERS]
        if lacking:
            yield f"{kind.__name__}.get_config does not return {', '.join(lacking)}, which __init__ takes"
