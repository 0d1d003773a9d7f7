"""What a format could not hold, in the user's words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from job.errors import Problem, SpecError
from job.records import ExportFormat

_SHOWN = 5
_TITLES: dict[ExportFormat, str] = {"saved_model": "a SavedModel", "onnx": "ONNX", "tflite": "TFLite"}


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of TensorFlow's graph that a format lacks.

    Attributes:
        kind: TensorFlow's name of it.
        path: where it is in the graph: the layers' names with `/` between.
    """

    kind: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A format that the model cannot be published in.

    Attributes:
        format: which.
        reason: one sentence; what the converter or the runtime says.
        operations: what the format lacks, if that is known.
    """

    format: ExportFormat
    reason: str
    operations: tuple[Operation, ...] = ()

    def in_words(self, layers: Sequence[tuple[str, str]]) -> str:
        """What cannot be held, and by which layer it is needed.

        Args:
            layers: name and class of every layer of the model.
        """
        found = dict.fromkeys(_named(operation, layers) for operation in self.operations)
        if not found:
            return f"the model cannot be held by {_TITLES[self.format]}: {self.reason}"
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return f"{_TITLES[self.format]} lacks {', '.join(list(found)[:_SHOWN])}{more}"


def _named(operation: Operation, layers: Sequence[tuple[str, str]]) -> str:
    layer = _layer_of(operation.path, layers)
    where = "" if layer is None else f", which layer {layer[0]} ({layer[1]}) needs"
    return f"operation {operation.kind}{where}"


def _layer_of(path: str, layers: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The innermost layer that a path of the graph goes through: TensorFlow numbers names that occur again."""
    for part in reversed(path.split("/")):
        for name, kind in layers:
            if re.fullmatch(rf"{re.escape(name)}(_\d+)?", part):
                return name, kind
    return None


def refused(
    refusals: Sequence[Refusal], asked: Sequence[ExportFormat], layers: Sequence[tuple[str, str]], when: str
) -> SpecError:
    """The error for formats that cannot be had.

    Args:
        refusals: why, one or more.
        asked: the spec's `export`.
        layers: name and class of every layer of the model.
        when: which model was tried, as an addition to the message.
    """
    problems = []
    for refusal in refusals:
        # A SavedModel is also made unasked, of a model with classes of its own.
        path = f"export[{asked.index(refusal.format)}]" if refusal.format in asked else "model"
        problems.append(Problem(path, f"{refusal.in_words(layers)} ({when})", refusal.format))
    return SpecError(
        problems,
        advice="Leave these formats out of export, or the layers out of the model; model.keras holds any of them.",
    )
