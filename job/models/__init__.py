"""Keras models: the built-in builders, and what is wrapped around a trained core for publication."""

from job.models.builders import BUILDER_CLASSES
from job.models.built_in import BuiltInHyperModel
from job.models.learning import Span
from job.models.publication import publishable_model, signature_of
from job.models.tunable import TunableModel

__all__ = ["BUILDER_CLASSES", "BuiltInHyperModel", "Span", "TunableModel", "publishable_model", "signature_of"]
