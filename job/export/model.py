"""A model in every format that is asked for, loaded again and compared with the trained one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from job import layout
from job.data import Preparation
from job.data.arrays import AnyArray
from job.data.nested import Nested, leaves, map_leaves, row_count
from job.errors import JobError
from job.export.comparison import SEED, Expected, storable
from job.export.predicting import BATCH_ROWS, predictions
from job.export.reader import Reader, open_reader
from job.export.refusal import Operation, Refusal
from job.export.request import Answer, FileFormat, Task
from job.export.saved_model import ServedModel
from job.records import Export, ExportFormat

# Where each format is published; a SavedModel is a folder.
_PATHS: dict[ExportFormat, str] = {
    "saved_model": layout.MODEL_SAVED_MODEL,
    "onnx": layout.MODEL_ONNX,
    "tflite": layout.MODEL_TFLITE,
}
# What rounding explains and a wrong conversion exceeds: the same operations in TensorFlow, in other kernels elsewhere.
_TOLERANCES: dict[FileFormat, float] = {"keras": 1e-5, "saved_model": 1e-5, "onnx": 1e-4, "tflite": 1e-4}
# In 16 bits TensorFlow's graphs round at other places than single calls do: bfloat16 has 8 bits of significance.
_TOLERANCE_IN_16_BITS = 2.0**-5
# Of model.keras all rows are predicted, unless they are many or large; of other formats as many as one batch.
_MOST_ROWS, _MOST_BYTES = 1024, 64 * 2**20
_SAVED_MODEL, _IN_32_BITS, _ROWS = "saved_model", "in_32_bits", "rows.npz"
_KERAS_FILE = Path(layout.MODEL_KERAS).name


@dataclass(frozen=True, slots=True)
class Exported:
    """What was made of a model.

    Attributes:
        exports: what can be published; their files are in `folder`.
        refusals: what cannot.
        folder: holds the files under the names that `export.path` has below `model/`.
        needs_code: whether `model.keras`, if it is there, loads only with the user's code.
    """

    exports: tuple[Export, ...]
    refusals: tuple[Refusal, ...]
    folder: Path
    needs_code: bool = False

    @property
    def keras_file(self) -> Path:
        """`model.keras`, as it was loaded and compared."""
        return self.folder / _KERAS_FILE

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


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model that may be published, and what it must answer.

    Attributes:
        model: takes raw rows.
        core: what was trained, on prepared rows; its predictions are what counts.
        preparation: of raw rows for the core.
    """

    model: keras.Model
    core: keras.Model
    preparation: Preparation

    def predict(self, raw: Nested) -> list[AnyArray]:
        """Return the trained model's own predictions of raw rows, leaf by leaf."""
        return predictions(self.core, self.preparation.prepare(raw))


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    served: ServedModel
    rows: dict[str, AnyArray]
    expected: Expected
    row_count: int


def export_model(model: keras.Model, formats: Sequence[ExportFormat], x: Nested, folder: Path) -> Exported:
    """Write a model in each format, load it in the format's own runtime, and compare predictions with the model's.

    ONNX and TFLite compute in float32, whatever the model does: they are compared with Keras in float32.

    Args:
        model: takes raw rows.
        formats: which, each once.
        x: raw rows, nested as the model's inputs; the first 64 are predicted.
        folder: for the files; made, or replaced.

    Raises:
        OSError: `folder` cannot be written.
    """
    with open_reader(folder) as reader:
        served, raw = ServedModel.of(model), first_rows(x)
        rows = served.rows_by_name(raw)
        expected = _expected(lambda: served.predict(rows), served)
        asked = _Asked(served, rows, expected, row_count(raw))
        return _exported(asked, formats, reader)[0]


def publish_model(
    candidate: Candidate, formats: Sequence[ExportFormat], x: Nested, reader: Reader
) -> tuple[Exported, Answer]:
    """Write `model.keras` and other formats, load each as its readers do, and compare with the trained model.

    Args:
        candidate: what is to be published.
        formats: besides `model.keras`, each once.
        x: raw rows that the trained model has not seen.
        reader: has not been asked yet; the files are in its folder.

    Returns:
        The other formats, and what became of `model.keras`.
    """
    asked, task = _saved(candidate, x, _KERAS_FILE, reader.folder)
    exported, answers = _exported(asked, formats, reader, (task,))
    return exported, answers[task.target]


def load_all(candidates: Sequence[tuple[Candidate, Nested]], reader: Reader) -> list[Answer]:
    """Save several models, load them in one process, and compare each with what was trained, on raw rows of its own."""
    tasks = [_saved(one, raw, f"{number}.keras", reader.folder)[1] for number, (one, raw) in enumerate(candidates)]
    answers = reader.answers(tasks)
    return [answers[task.target] for task in tasks]


def first_rows(x: Nested) -> Nested:
    """As many raw rows as are predicted: all of them, unless they are many or large."""
    size = sum(max(1, leaf[:1].nbytes) for leaf in leaves(x))
    count = min(_MOST_ROWS, max(BATCH_ROWS, _MOST_BYTES // size))
    return map_leaves(lambda leaf: leaf[:count], x)


def _ask(candidate: Candidate, x: Nested) -> _Asked:
    served, raw = ServedModel.of(candidate.model), first_rows(x)
    keras.utils.set_random_seed(SEED)
    expected = _expected(lambda: served.by_name(candidate.predict(raw)), served)
    return _Asked(served, served.rows_by_name(raw), expected, row_count(raw))


def _expected(predict: Callable[[], dict[str, AnyArray]], served: ServedModel) -> Expected:
    return Expected.of(predict, _TOLERANCE_IN_16_BITS if served.computes_in_16_bits else _TOLERANCES["keras"])


def _saved(candidate: Candidate, x: Nested, name: str, folder: Path) -> tuple[_Asked, Task]:
    """Save a model, then ask the trained one: in this order, for what it draws or counts to begin alike."""
    candidate.model.save(folder / name)
    asked = _ask(candidate, x)
    rows, expected = f"{name}.rows.npz", f"{name}.expected.npz"
    _write_rows(folder / rows, asked)
    asked.expected.write(folder / expected)
    task = Task(
        format="keras",
        source=name,
        target=name,
        inputs=asked.served.inputs,
        outputs=asked.served.outputs,
        rows=rows,
        row_count=asked.row_count,
        expected=expected,
        tolerance=_TOLERANCE_IN_16_BITS if asked.served.computes_in_16_bits else _TOLERANCES["keras"],
    )
    return asked, task


def _exported(
    asked: _Asked, formats: Sequence[ExportFormat], reader: Reader, first: tuple[Task, ...] = ()
) -> tuple[Exported, dict[str, Answer]]:
    refusals: tuple[Refusal, ...] = ()
    folder = reader.folder
    try:
        tasks = _prepare(asked, formats, folder)
    except (JobError, OSError):  # a signal, a full disk
        raise
    except Exception as error:  # noqa: BLE001 - tracing runs the model's own code, which may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        tasks, refusals = (), tuple(Refusal(name, reason) for name in formats)
    answers = reader.answers((*first, *tasks))
    good = [one for one in tasks if answers[one.target].problem is None]
    bad = [one for one in tasks if answers[one.target].problem is not None]
    exports = tuple(_export(one, answers[one.target]) for one in good)
    return Exported(exports, (*refusals, *(_refusal(one, answers[one.target]) for one in bad)), folder), answers


def _prepare(asked: _Asked, formats: Sequence[ExportFormat], folder: Path) -> tuple[Task, ...]:
    """Write the SavedModels that formats are made of, and what is to be predicted."""
    if not formats:
        return ()
    served = asked.served
    _write_rows(folder / _ROWS, asked)
    in_16_bits = served.computes_in_16_bits
    if "saved_model" in formats or not in_16_bits:
        served.write(folder / _SAVED_MODEL)
        asked.expected.write(folder / f"{_SAVED_MODEL}.npz")
    others = _SAVED_MODEL
    if in_16_bits and set(formats) - {"saved_model"}:
        others = _IN_32_BITS
        with served.in_32_bits():
            served.write(folder / others)
            _expected(lambda: served.predict(asked.rows), served).write(folder / f"{others}.npz")
    return tuple(
        Task(
            format=name,
            source=(source := _SAVED_MODEL if name == "saved_model" else others),
            target=Path(_PATHS[name]).name,
            inputs=served.inputs,
            outputs=served.outputs,
            rows=_ROWS,
            row_count=min(BATCH_ROWS, asked.row_count),
            expected=f"{source}.npz",
            tolerance=_TOLERANCE_IN_16_BITS if name == "saved_model" and in_16_bits else _TOLERANCES[name],
        )
        for name in formats
    )


def _write_rows(path: Path, asked: _Asked) -> None:
    named: dict[str, Any] = {
        str(index): storable(asked.rows[one.name]) for index, one in enumerate(asked.served.inputs)
    }
    np.savez(path, **named)


def _export(task: Task, answer: Answer) -> Export:
    if task.format == "keras":
        raise ValueError("model.keras is no export")
    return Export(
        format=task.format,
        path=_PATHS[task.format],
        inputs=task.inputs,
        outputs=task.outputs,
        rows=task.row_count,
        difference=answer.difference or 0.0,
        tolerance=task.tolerance if answer.tolerance is None else answer.tolerance,
        runtime=answer.runtime,
    )


def _refusal(task: Task, answer: Answer) -> Refusal:
    if task.format == "keras":
        raise ValueError("model.keras is no export")
    operations = tuple(Operation(one.kind, one.path) for one in answer.operations)
    return Refusal(task.format, answer.problem or "it is not known why", operations)
