"""The spec's sections, a module for each or for a few that belong together."""

from job.spec.sections.columns import ColumnSpec
from job.spec.sections.data import (
    DEFAULT_DATA_FUNCTION,
    DEFAULT_TEST_FRACTION,
    DEFAULT_VALIDATION_FRACTION,
    DataSpec,
)
from job.spec.sections.model import DEFAULT_MODEL_FUNCTION, ModelSpec
from job.spec.sections.records import STORED_DTYPES, RecordField
from job.spec.sections.run import LimitsSpec, LogsSpec, StorageSpec
from job.spec.sections.search import COMPOSITE, Objective, SearchSpec, StopSpec, WeightedObjective
from job.spec.sections.section import Section
from job.spec.sections.training import EarlyStoppingSpec, ResourcesSpec, RetrainSpec, TrainingSpec

__all__ = [
    "COMPOSITE",
    "DEFAULT_DATA_FUNCTION",
    "DEFAULT_MODEL_FUNCTION",
    "DEFAULT_TEST_FRACTION",
    "DEFAULT_VALIDATION_FRACTION",
    "STORED_DTYPES",
    "ColumnSpec",
    "DataSpec",
    "EarlyStoppingSpec",
    "LimitsSpec",
    "LogsSpec",
    "ModelSpec",
    "Objective",
    "RecordField",
    "ResourcesSpec",
    "RetrainSpec",
    "SearchSpec",
    "Section",
    "StopSpec",
    "StorageSpec",
    "TrainingSpec",
    "WeightedObjective",
]
