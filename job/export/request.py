"""What the process that converts is asked for, and what it answers: files in a folder that both know."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from job.records import ExportFormat, TensorSignature


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(_Message):
    """One format: what to make it of, and what it must answer.

    Attributes:
        saved_model: the name of the SavedModel's folder that it is made of.
        expected: the name of the `.npz` file with Keras's predictions.
        target: the name of what is made; the SavedModel's own where that is only to be checked.
        tolerance: see `job.records.Export`.
    """

    format: ExportFormat
    saved_model: str
    expected: str
    target: str
    tolerance: float


class Request(_Message):
    """All formats to make of one model, with what they have in common."""

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    tasks: tuple[Task, ...]


class LackingOperation(_Message):
    """An operation that a format lacks; see `job.export.refusal`."""

    kind: str
    path: str


class Answer(_Message):
    """What became of one format: a line of the answers' file, written as soon as it is known.

    Attributes:
        problem: why it cannot be had; None where it agrees with Keras.
        operations: what the format lacks, as far as the converter says it.
        difference: how far it is from Keras's predictions; None where it was never asked.
        runtime: what it was loaded by.
    """

    format: ExportFormat
    problem: str | None = None
    operations: tuple[LackingOperation, ...] = ()
    difference: float | None = None
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The folder through which a request and its answers go."""

    folder: Path

    @property
    def request(self) -> Path:
        """The request, as JSON."""
        return self.folder / "request.json"

    @property
    def answers(self) -> Path:
        """An answer per line, as JSON."""
        return self.folder / "answers.jsonl"

    @property
    def rows(self) -> Path:
        """Raw rows by the inputs' places: `0`, `1`, …; an `.npz` file."""
        return self.folder / "rows.npz"

    @property
    def noise(self) -> Path:
        """What the process and its libraries print."""
        return self.folder / "output.txt"
