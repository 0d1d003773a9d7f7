"""What a run leaves behind, as frozen models: trial records, the search's result and the manifest.

Objects written years ago must stay readable: fields are only ever added, with a default.
"""

from job.records.exports import Export, ExportFormat
from job.records.holding import AttemptMarker, HolderDeath, Lease
from job.records.record import Direction, FailureKind, Hyperparameters, HyperparameterValue, Record
from job.records.runs import (
    Artifact,
    DataSummary,
    EngineChoices,
    Failure,
    Inputs,
    Lineage,
    Manifest,
    Pointer,
    PublishedModel,
    Scores,
    SourceObject,
    SplitSummary,
    artifact_of,
)
from job.records.signatures import Signature, TensorSignature
from job.records.trials import (
    Execution,
    RungShortfall,
    SearchResult,
    SearchTotals,
    TrialRecord,
    TrialRequest,
    best_first,
    hyperparameters_of,
)

__all__ = [
    "Artifact",
    "AttemptMarker",
    "DataSummary",
    "Direction",
    "EngineChoices",
    "Execution",
    "Export",
    "ExportFormat",
    "Failure",
    "FailureKind",
    "HolderDeath",
    "HyperparameterValue",
    "Hyperparameters",
    "Inputs",
    "Lease",
    "Lineage",
    "Manifest",
    "Pointer",
    "PublishedModel",
    "Record",
    "RungShortfall",
    "Scores",
    "SearchResult",
    "SearchTotals",
    "Signature",
    "SourceObject",
    "SplitSummary",
    "TensorSignature",
    "TrialRecord",
    "TrialRequest",
    "artifact_of",
    "best_first",
    "hyperparameters_of",
]
