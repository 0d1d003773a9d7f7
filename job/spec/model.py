"""The job spec: what to tune, on which data, how hard, and where the result goes.

Frozen; unknown fields are refused; every field has a default, so that nothing at all is the quickstart.
The descriptions here and in `job.spec.sections` are the reference page (`docs/job-spec.md`) and the published JSON
Schema.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from job.schedule import Schedule
from job.spaces import BUILDERS, Builder, Space, space_size
from job.spec.quantities import InWords
from job.spec.sections import (
    DataSpec,
    EarlyStoppingSpec,
    LimitsSpec,
    LogsSpec,
    ModelSpec,
    ResourcesSpec,
    RetrainSpec,
    SearchSpec,
    Section,
    StopSpec,
    StorageSpec,
    TrainingSpec,
)

# What does not change the answer: where objects go, in which formats, how they are logged, how many trials run at a
# time and how often they are stored.
_UNCOUNTED = {"output", "export", "storage", "logs"}
_UNCOUNTED_LIMITS = {"max_concurrent_trials", "checkpoint_interval", "grace_period"}

# One path segment of an object key, a Kubernetes label and a file name.
NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
NAME_IN_WORDS = "1 to 63 letters, digits, `.`, `_` or `-`, with a letter or digit at both ends"


class JobSpec(Section):
    """One tuning job."""

    spec_version: Annotated[Literal[1], InWords("1, the only version of the format so far")] = 1
    """The version of this format. Specs live for years in buckets: older ones stay readable."""
    name: Annotated[str, InWords(NAME_IN_WORDS)] = Field(default="quickstart", pattern=NAME_PATTERN)
    """The name that runs are filed under."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Everything random derives from it; 0 is a seed like any other."""
    output: str = Field(default="./runs", min_length=1)
    """Where runs are published: a directory or `s3://bucket/prefix`."""
    data: DataSpec = DataSpec()
    """Where the rows come from and how they are split."""
    model: ModelSpec = ModelSpec()
    """What is built from hyperparameters."""
    space: Space = Field(default_factory=dict)
    """The search space: entries replace or add to the builder's own. An entry is `{type: int, min_value,
    max_value, step}`, `{type: float, …}`, `{type: choice, values}`, `{type: boolean}`, a bare list (a choice) or a
    bare value (fixed, not searched)."""
    search: SearchSpec = SearchSpec()
    """How the space is searched."""
    limits: LimitsSpec = LimitsSpec()
    """What bounds the job."""
    stop: StopSpec = StopSpec()
    """When a search has found enough."""
    training: TrainingSpec = TrainingSpec()
    """How each trial is trained."""
    early_stopping: EarlyStoppingSpec = EarlyStoppingSpec()
    """When a configuration stops training before its epochs are over."""
    resources: ResourcesSpec = ResourcesSpec()
    """What each trial is given of the machine."""
    retrain: RetrainSpec = RetrainSpec()
    """How the published model is trained."""
    export: tuple[Literal["saved_model", "onnx", "tflite"], ...] = Field(default=(), strict=False)
    """What the model is published as beside `model.keras`: `saved_model` (TensorFlow Serving), `onnx`, `tflite`. Each
    is loaded by its own runtime and compared with Keras; what a format cannot hold is found before the search."""
    storage: StorageSpec = StorageSpec()
    """How objects are written to S3."""
    logs: LogsSpec = LogsSpec()
    """What is logged, and how often it reaches the store."""

    @property
    def built_in(self) -> Builder | None:
        """The built-in builder; None for a model of the user's own."""
        return None if self.model.builder is None else BUILDERS[self.model.builder]

    def planned(self, points: int | None = None) -> Schedule:
        """The trials that `search` asks for over this space, within `limits.max_total_trials`.

        Args:
            points: how many points the space has, where only the user's own code declares it.

        Raises:
            ValueError: a grid without an end; the spec's checks report it before.
        """
        if self.search.algorithm == "grid" and self.built_in is not None:
            points = space_size(self.built_in.resolve(self.space))
        return replace(
            self.search.planned(points),
            max_trials=self.limits.max_total_trials,
            executions=self.search.executions_per_trial * (self.data.folds or 1),
        )

    @property
    def can_plan(self) -> bool:
        """Whether the number of trials is known without the user's own code, in which a grid's space is declared."""
        return self.search.algorithm != "grid" or self.built_in is not None or self.search.max_trials is not None

    def document(self) -> dict[str, Any]:
        """The resolved spec as plain JSON values; `JobSpec.model_validate` reads it back to an equal spec."""
        return self.model_dump(mode="json")

    def hash(self) -> str:
        """Hex SHA-256 of what the resolved spec says other than the defaults, in canonical JSON, with its version.

        A later version that adds a field gives the same. A default that changes its meaning needs another version.
        """
        document = self.model_dump(mode="json", exclude_defaults=True)
        return hash_of_document({**document, "spec_version": self.spec_version})


def hash_of_document(document: Mapping[str, Any]) -> str:
    """Hex SHA-256 of what of a spec's document decides the answer, as canonical JSON."""
    limits = {name: value for name, value in document.get("limits", {}).items() if name not in _UNCOUNTED_LIMITS}
    counted = {name: value for name, value in document.items() if name not in _UNCOUNTED}
    counted.pop("limits", None)
    if limits:
        counted["limits"] = limits
    canonical = json.dumps(counted, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
