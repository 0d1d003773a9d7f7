"""What the process that converts and loads is asked for, and what it answers; the files are in a folder of both."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from job.own_code import OwnCode
from job.records import ExportFormat, TensorSignature

# What is published: `model.keras`, and whatever else.
FileFormat: TypeAlias = Literal["keras"] | ExportFormat
# Of every layer, the outermost first: what it is made of, in words; see `job.export.traits`.
Traits: TypeAlias = tuple[tuple[str, dict[str, str]], ...]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(_Message):
    """One file: what to make it of, and what it must answer.

    Attributes:
        format: of the file.
        source: the name of the SavedModel's folder that it is made of; its own name where it is only to be loaded.
        target: the name of the file or folder.
        inputs, outputs: their names and dtypes.
        rows: the name of the `.npz` file with raw rows by the inputs' places: `0`, `1`, …
        row_count: how many of them, from the first, are predicted.
        expected: the name of the `.npz` file with what the trained model predicts; see `job.export.comparison`.
        tolerance: see `job.records.Export`.
    """

    format: FileFormat
    source: str
    target: str
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    rows: str
    row_count: int
    expected: str
    tolerance: float


class Request(_Message):
    """All files to make and to load.

    Attributes:
        code: the user's own, for those files that Keras refuses to load without it.
    """

    tasks: tuple[Task, ...]
    code: OwnCode | None = None


class LackingOperation(_Message):
    """An operation that a format lacks; see `job.export.refusal`."""

    kind: str
    path: str


class Answer(_Message):
    """What became of one file; sent as soon as it is known.

    Attributes:
        target: the task's.
        problem: why it cannot be had; None where it agrees with the trained model.
        operations: what the format lacks, as far as the converter says it.
        difference: how far it is from the trained model's predictions; None where it was never asked.
        tolerance: what was allowed, in the same unit; None likewise.
        runtime: what it was loaded by.
        needs_code: whether Keras refused to load it without the user's code.
        traits: of the loaded model, where it predicts otherwise.
    """

    target: str
    problem: str | None = None
    operations: tuple[LackingOperation, ...] = ()
    difference: float | None = None
    tolerance: float | None = None
    runtime: str = ""
    needs_code: bool = False
    traits: Traits | None = None
