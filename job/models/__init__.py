"""Keras models: the built-in builders, and what is wrapped around a trained core for publication."""

from job.models.builders import BUILDER_CLASSES
from job.models.built_in import BuiltInHyperModel
from job.models.custom_objects import needs_code
from job.models.learning import Span
from job.models.own import Facts, OwnModel, OwnModelWithFit, open_own_model
from job.models.own_space import NarrowedHyperParameters, discover
from job.models.publication import publishable_model, signature_of
from job.models.raw_rows import RawBatches, as_model_input
from job.models.table_layers import table_layers
from job.models.tunable import TunableModel

__all__ = [
    "BUILDER_CLASSES",
    "BuiltInHyperModel",
    "Facts",
    "NarrowedHyperParameters",
    "OwnModel",
    "OwnModelWithFit",
    "RawBatches",
    "Span",
    "TunableModel",
    "as_model_input",
    "discover",
    "needs_code",
    "open_own_model",
    "publishable_model",
    "signature_of",
    "table_layers",
]
