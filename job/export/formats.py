"""Each format: made of a SavedModel, and loaded by its own runtime. Runs in a process of its own."""

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from job.data.arrays import AnyArray
from job.export.request import LackingOperation
from job.records import ExportFormat, TensorSignature

# ONNX's operator set: the newest that tf2onnx 1.17 writes, which runtimes have known since 2023.
OPSET = 18
_SIGNATURE = "serving_default"
_LONGEST_REASON = 400
# Where MLIR says which operation it could not translate: `fused["MatMul:", "dense_1/MatMul@__inference_serve_5125"]`.
_MLIR_LOCATION = re.compile(r'error: loc\(callsite\(fused\["(\w+):", "([^"@]+)@')
# What it was to work on, from the list below: `tf.Cast(tensor<?x4xui64>) -> (tensor<?x4xf32>) : {…}`.
_MLIR_DETAILS = re.compile(r"^\s+tf\.(\w+)(\([^)]*\)) -> ", re.MULTILINE)
# How tf2onnx reports an operation that it leaves as it is, in a file that no runtime can load.
_TF2ONNX_LACKS = re.compile(r"Tensorflow op \[(.+): (\w+)\] is not supported")

Predict = Callable[[Mapping[str, AnyArray]], dict[str, AnyArray]]


class CannotHoldError(Exception):
    """A format that cannot hold the model."""

    def __init__(self, reason: str, operations: Sequence[LackingOperation] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.operations = tuple(dict.fromkeys(operations))


@dataclass(frozen=True, slots=True)
class Format:
    """How to make and to load one format.

    Attributes:
        make: writes the target from a SavedModel's folder; raises CannotHoldError.
        load: loads the target, whose outputs these are.
        runtime: names what loads it.
    """

    make: Callable[[Path, Path], None]
    load: Callable[[Path, Sequence[TensorSignature]], Predict]
    runtime: Callable[[], str]


def _is_made(saved_model: Path, target: Path) -> None:
    if saved_model != target:
        raise ValueError("a SavedModel is made by the process that has the model")


def _load_saved_model(path: Path, outputs: Sequence[TensorSignature]) -> Predict:
    import tensorflow as tf  # noqa: PLC0415 - nothing of Keras or the model's own code: the format must do without

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures[_SIGNATURE]

    def predict(rows: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        # The signature holds its model by a weak reference only.
        assert loaded is not None  # noqa: S101 - keeps it alive
        found = serve(**{name: tf.constant(values) for name, values in rows.items()})
        return {one.name: found[one.name].numpy() for one in outputs}

    return predict


def _make_onnx(saved_model: Path, target: Path) -> None:
    import tf2onnx.convert  # noqa: PLC0415 - an extra

    lacking = _Listener()
    logging.getLogger("tf2onnx").addHandler(lacking)
    arguments = ["--saved-model", str(saved_model), "--output", str(target), "--opset", str(OPSET)]
    # Its command is what is documented; the functions that read a SavedModel are not.
    sys.argv = ["tf2onnx", *arguments, "--tag", "serve", "--signature_def", _SIGNATURE]
    try:
        tf2onnx.convert.main()
    except Exception as error:
        raise CannotHoldError(_shortened(error), lacking.operations) from error
    if lacking.operations:
        raise CannotHoldError("tf2onnx knows no counterpart of an operation", lacking.operations)


class _Listener(logging.Handler):
    """Collects the operations that tf2onnx complains about."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[LackingOperation] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what is lacking."""
        for path, kind in _TF2ONNX_LACKS.findall(record.getMessage()):
            self.operations.append(LackingOperation(kind=kind, path=path))


def _load_onnx(path: Path, outputs: Sequence[TensorSignature]) -> Predict:
    import onnxruntime  # noqa: PLC0415 - an extra

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in outputs]

    def predict(rows: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        # ONNX Runtime takes strings as Python's.
        given = {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in rows.items()}
        return dict(zip(names, map(np.asarray, session.run(names, given)), strict=True))

    return predict


def _make_tflite(saved_model: Path, target: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415 - see above

    # Without Flex, whose operations need a second runtime library of hundreds of megabytes.
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[_SIGNATURE])
    try:
        content = converter.convert()
    except Exception as error:
        raise CannotHoldError(_shortened(error), _lacking_in_tflite(str(error))) from error
    target.write_bytes(content)


def _lacking_in_tflite(said: str) -> list[LackingOperation]:
    details = dict(reversed(_MLIR_DETAILS.findall(said)))
    return [
        LackingOperation(kind=kind + details.get(kind, ""), path=path) for kind, path in _MLIR_LOCATION.findall(said)
    ]


def _load_tflite(path: Path, outputs: Sequence[TensorSignature]) -> Predict:
    import tensorflow as tf  # noqa: PLC0415 - see above

    interpreter = tf.lite.Interpreter(str(path))
    run = interpreter.get_signature_runner(_SIGNATURE)

    def predict(rows: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        assert interpreter is not None  # noqa: S101 - as above
        found = run(**rows)
        return {one.name: np.array(found[one.name]) for one in outputs}

    return predict


def _shortened(error: Exception) -> str:
    """The first line of what an error says, without the addresses that follow."""
    said = str(error).strip() or type(error).__name__
    line = next((one for one in said.splitlines() if one.strip()), said).strip()
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"


FORMATS: dict[ExportFormat, Format] = {
    "saved_model": Format(_is_made, _load_saved_model, lambda: f"TensorFlow {_tensorflow_version()}"),
    "onnx": Format(_make_onnx, _load_onnx, lambda: f"ONNX Runtime {version('onnxruntime')}"),
    "tflite": Format(_make_tflite, _load_tflite, lambda: f"TensorFlow Lite of TensorFlow {_tensorflow_version()}"),
}


def _tensorflow_version() -> str:
    import tensorflow as tf  # noqa: PLC0415 - see above

    return str(tf.__version__)
