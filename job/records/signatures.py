"""How to call a published model."""

from typing import Literal

from job.records.record import Record


class TensorSignature(Record):
    """One input or output: `shape` with None for the batch and other free axes, and the dtype's name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Signature(Record):
    """How to call the published model.

    `class_names[i]` is what output `i` stands for; `output_kind` says whether outputs are logits or
    probabilities.
    """

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    class_names: tuple[str, ...] | None
    output_kind: Literal["logits", "probabilities", "values"]
