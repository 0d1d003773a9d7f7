"""Keras models: the built-in builders, and what is wrapped around a trained core for publication."""

from job.models.builders import BUILDER_CLASSES
from job.models.built_in import BuiltInHyperModel
from job.models.learning import Span
from job.models.publication import publishable_model, signature_of
from job.models.raw_rows import RawBatches, as_model_input
from job.models.table_layers import table_layers
from job.models.tunable import TunableModel

__all__ = [
    "BUILDER_CLASSES",
    "BuiltInHyperModel",
    "RawBatches",
    "Span",
    "TunableModel",
    "as_model_input",
    "publishable_model",
    "signature_of",
    "table_layers",
]
