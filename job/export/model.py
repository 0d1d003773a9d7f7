"""A model in every format that is asked for, or why one cannot hold it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from job import layout
from job.child_process import last_words, run_module
from job.data.arrays import AnyArray
from job.data.nested import Nested, map_leaves
from job.errors import JobError
from job.export.refusal import Operation, Refusal
from job.export.request import Answer, Exchange, Request, Task
from job.export.saved_model import ServedModel
from job.logs import get_logger
from job.records import Export, ExportFormat

# Where each format is published; a SavedModel is a folder.
_PATHS: dict[ExportFormat, str] = {
    "saved_model": layout.MODEL_SAVED_MODEL,
    "onnx": layout.MODEL_ONNX,
    "tflite": layout.MODEL_TFLITE,
}
# What rounding explains and a wrong conversion exceeds: the same operations in TensorFlow, in other kernels elsewhere.
_TOLERANCES: dict[ExportFormat, float] = {"saved_model": 1e-5, "onnx": 1e-4, "tflite": 1e-4}
# In 16 bits TensorFlow's graphs round at other places than single calls do: bfloat16 has 8 bits of significance.
_TOLERANCE_IN_16_BITS = 2.0**-5
_SAMPLE_ROWS = 64
# A conversion takes seconds; one that takes so long never ends.
_TIMEOUT_SECONDS = 1800.0
_SERVED, _IN_32_BITS = "served", "in_32_bits"
_SHOWN_NOISE = 4000


@dataclass(frozen=True, slots=True)
class Exported:
    """What was made of a model.

    Attributes:
        exports: what can be published; their files are in `folder`.
        refusals: what cannot.
        folder: holds the files under the names that `export.path` has below `model/`.
    """

    exports: tuple[Export, ...]
    refusals: tuple[Refusal, ...]
    folder: Path

    def files(self, export: Export) -> list[tuple[str, Path]]:
        """The files of one format: their names relative to the run, and where they are."""
        made = self.folder / Path(export.path).name
        if made.is_file():
            return [(export.path, made)]
        return [
            (export.path + path.relative_to(made).as_posix(), path)
            for path in sorted(made.rglob("*"))
            if path.is_file()
        ]


def export_model(model: keras.Model, formats: Sequence[ExportFormat], x: Nested, folder: Path) -> Exported:
    """Write a model in each format, load it in the format's own runtime, and compare predictions.

    ONNX and TFLite compute in float32, whatever the model does: they are compared with Keras in float32.

    Args:
        model: takes raw rows.
        formats: which, each once.
        x: raw rows, nested as the model's inputs; the first 64 are predicted.
        folder: for the files; made, or replaced.

    Raises:
        OSError: `folder` cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    served = ServedModel.of(model)
    rows = served.rows_by_name(map_leaves(lambda leaf: leaf[:_SAMPLE_ROWS], x))
    _write_npz(Exchange(folder).rows, [rows[one.name] for one in served.inputs])
    try:
        tasks = _prepare(served, formats, rows, folder)
    except (JobError, OSError):  # a signal, a full disk
        raise
    except Exception as error:  # noqa: BLE001 - tracing runs the model's own code, which may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Exported((), tuple(Refusal(name, reason) for name in formats), folder)
    request = Request(inputs=served.inputs, outputs=served.outputs, tasks=tasks)
    answers = _converted(request, Exchange(folder))
    count = len(next(iter(rows.values())))
    return Exported(
        tuple(_export(served, answers[one.format], one.tolerance, count) for one in tasks if _is_good(answers, one)),
        tuple(_refusal(answers[one.format]) for one in tasks if not _is_good(answers, one)),
        folder,
    )


def _prepare(
    served: ServedModel, formats: Sequence[ExportFormat], rows: dict[str, AnyArray], folder: Path
) -> tuple[Task, ...]:
    """Write the SavedModels that formats are made of, and Keras's predictions."""
    in_16_bits = served.computes_in_16_bits
    if "saved_model" in formats or not in_16_bits:
        _write_served(served, rows, folder, _SERVED)
    others = _SERVED
    if in_16_bits and set(formats) - {"saved_model"}:
        with served.in_32_bits():
            _write_served(served, rows, folder, _IN_32_BITS)
        others = _IN_32_BITS
    tasks = []
    for name in formats:
        of_it = name == "saved_model"
        source = _SERVED if of_it else others
        tasks.append(
            Task(
                format=name,
                saved_model="saved_model" if source == _SERVED else source,
                expected=f"{source}.npz",
                target=Path(_PATHS[name]).name,
                tolerance=_TOLERANCE_IN_16_BITS if of_it and in_16_bits else _TOLERANCES[name],
            )
        )
    return tuple(tasks)


def _write_served(served: ServedModel, rows: dict[str, AnyArray], folder: Path, name: str) -> None:
    predicted = served.predict(rows)
    _write_npz(folder / f"{name}.npz", [predicted[one.name] for one in served.outputs])
    served.write(folder / ("saved_model" if name == _SERVED else name))


def _write_npz(path: Path, arrays: Sequence[AnyArray]) -> None:
    named: dict[str, Any] = {str(index): _storable(array) for index, array in enumerate(arrays)}
    np.savez(path, **named)


def _storable(array: AnyArray) -> AnyArray:
    """Strings as NumPy's own: objects would be pickled."""
    if array.dtype.kind != "O":
        return array
    return np.array([one.decode() if isinstance(one, bytes) else str(one) for one in array.reshape(-1)]).reshape(
        array.shape
    )


def _converted(request: Request, exchange: Exchange) -> dict[ExportFormat, Answer]:
    """Run the process that converts; an answer for every task."""
    exchange.request.write_text(request.model_dump_json(), encoding="utf-8")
    code = run_module(
        "job.export.conversion",
        exchange.folder,
        output=exchange.noise,
        # Exports are checked on the processor.
        environment={"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=_TIMEOUT_SECONDS,
    )
    lines = exchange.answers.read_text(encoding="utf-8").splitlines() if exchange.answers.exists() else []
    answers = {answer.format: answer for answer in map(Answer.model_validate_json, lines)}
    noise = exchange.noise.read_text(encoding="utf-8", errors="replace")
    get_logger().debug("conversion ended", code=code, output=noise[-_SHOWN_NOISE:])
    for task in request.tasks:
        if task.format not in answers:
            reason = f"the conversion ended with {code}: {last_words(exchange.noise)}"
            answers[task.format] = Answer(format=task.format, problem=reason)
    return answers


def _is_good(answers: dict[ExportFormat, Answer], task: Task) -> bool:
    return answers[task.format].problem is None


def _export(served: ServedModel, answer: Answer, tolerance: float, rows: int) -> Export:
    return Export(
        format=answer.format,
        path=_PATHS[answer.format],
        inputs=served.inputs,
        outputs=served.outputs,
        rows=rows,
        difference=answer.difference or 0.0,
        tolerance=tolerance,
        runtime=answer.runtime,
    )


def _refusal(answer: Answer) -> Refusal:
    operations = tuple(Operation(one.kind, one.path) for one in answer.operations)
    return Refusal(answer.format, answer.problem or "it is not known why", operations)
