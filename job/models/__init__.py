"""Keras models: the built-in builders, and what is wrapped around a trained core for publication."""

from job.models.builders import BUILDER_CLASSES, BuiltInHyperModel
from job.models.publication import publishable_model, signature_of
from job.models.table_layers import table_layers
from job.models.tunable import TunableModel

__all__ = ["BUILDER_CLASSES", "BuiltInHyperModel", "TunableModel", "publishable_model", "signature_of", "table_layers"]
