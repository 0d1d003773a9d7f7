"""The job spec: its models, how a document becomes one, and what can be wrong with it."""

from job.spec.model import JobSpec
from job.spec.sections import (
    DataSpec,
    LimitsSpec,
    LogsSpec,
    ModelSpec,
    Objective,
    RetrainSpec,
    SearchSpec,
    StopSpec,
    StorageSpec,
)

__all__ = [
    "DataSpec",
    "JobSpec",
    "LimitsSpec",
    "LogsSpec",
    "ModelSpec",
    "Objective",
    "RetrainSpec",
    "SearchSpec",
    "StopSpec",
    "StorageSpec",
]
