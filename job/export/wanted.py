"""Which formats a model is published in."""

from collections.abc import Sequence

import keras

from job.models import needs_code
from job.records import ExportFormat


def formats_of(asked: Sequence[ExportFormat], model: keras.Model) -> tuple[ExportFormat, ...]:
    """What is asked for, and a SavedModel where `model.keras` cannot be loaded without the user's own code."""
    if "saved_model" not in asked and needs_code(model):
        return ("saved_model", *asked)
    return tuple(asked)
