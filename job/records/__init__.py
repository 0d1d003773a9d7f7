"""What a run leaves behind, as frozen models: trial records, the search's result and the manifest.

Objects written years ago must stay readable: fields are only ever added, with a default.
"""

from job.records.exports import Export, ExportFormat
from job.records.holding import AttemptMarker, HolderDeath, Lease
from job.records.lineages import ExecutionBest, execution_bests, mean_and_deviation
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
    RetrainAttempt,
    RowScores,
    Scores,
    SourceObject,
    SplitSummary,
    artifact_of,
)
from job.records.sensitivity import HyperparameterEffect, Sensitivity, Variation
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
    lost_trial,
    trial_identity,
)

__all__ = [
    "Artifact",
    "AttemptMarker",
    "DataSummary",
    "Direction",
    "EngineChoices",
    "Execution",
    "ExecutionBest",
    "Export",
    "ExportFormat",
    "Failure",
    "FailureKind",
    "HolderDeath",
    "HyperparameterEffect",
    "HyperparameterValue",
    "Hyperparameters",
    "Inputs",
    "Lease",
    "Lineage",
    "Manifest",
    "Pointer",
    "PublishedModel",
    "Record",
    "RetrainAttempt",
    "RowScores",
    "RungShortfall",
    "Scores",
    "SearchResult",
    "SearchTotals",
    "Sensitivity",
    "Signature",
    "SourceObject",
    "SplitSummary",
    "TensorSignature",
    "TrialRecord",
    "TrialRequest",
    "Variation",
    "artifact_of",
    "best_first",
    "execution_bests",
    "hyperparameters_of",
    "lost_trial",
    "mean_and_deviation",
    "trial_identity",
]
