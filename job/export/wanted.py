"""Which formats a model is published in."""

from collections.abc import Sequence

import keras

from job.models import needs_code
from job.records import ExportFormat


def formats_of(asked: Sequence[ExportFormat], model: keras.Model, *, known: bool = False) -> tuple[ExportFormat, ...]:
    """What is asked for, and a SavedModel where `model.keras` cannot be loaded without the user's own code.

    Args:
        asked: the spec's `export`.
        model: that is published.
        known: whether loading it has shown that it needs code.
    """
    if "saved_model" not in asked and (known or needs_code(model)):
        return ("saved_model", *asked)
    return tuple(asked)
