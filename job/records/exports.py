"""What a model was exported as, beside `model.keras`, and how far that was proved."""

from typing import Literal

from job.records.record import Record
from job.records.signatures import TensorSignature

ExportFormat = Literal["saved_model", "onnx", "tflite"]


class Export(Record):
    """One format that the model was published in, loaded by its own runtime and compared with Keras before.

    Attributes:
        format: which.
        path: the file, or the folder with a final `/`, relative to the run.
        inputs, outputs: as the format's runtime calls them; those of every format are alike.
        rows: how many rows of the test split were predicted by both.
        difference: the greatest difference of an output, in units of the largest output there is where that is above 1.
        tolerance: what `difference` had to stay within.
        runtime: which program the file was loaded by, with its version.
    """

    format: ExportFormat
    path: str
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    rows: int
    difference: float
    tolerance: float
    runtime: str
