"""The job spec: what to tune, on which data, how hard, and where the result goes.

Frozen; unknown fields are refused; every field has a default, so that nothing at all is the quickstart.
The descriptions below are the reference page (`docs/job-spec.md`) and the published JSON Schema.
"""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from job.schedule import Schedule, ScheduleKind, hyperband_schedule, straight_schedule
from job.spaces import BUILDERS, Space, space_size
from job.spec.quantities import Duration, InWords, Size

# One path segment of an object key, a Kubernetes label and a file name.
NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
NAME_IN_WORDS = "1 to 63 letters, digits, `.`, `_` or `-`, with a letter or digit at both ends"

DEFAULT_VALIDATION_FRACTION = 0.2
DEFAULT_TEST_FRACTION = 0.1
DEFAULT_MAX_TRIALS = 20
DEFAULT_LAG = 4


class Section(BaseModel):
    """A frozen part of the spec that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class DataSpec(Section):
    """Where the rows come from and how they are split."""

    source: str = Field(default="digits", min_length=1)
    """A built-in data set (`digits`, `mnist`, `fashion_mnist`, `cifar10`, `cifar100`), or an `.npz` file as a path or
    `s3://` URL, with `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test`, and optionally `x_validation`,
    `y_validation`."""
    validation_source: str | None = Field(default=None, min_length=1)
    """An `.npz` file with `x` and `y` to validate on, instead of a share of the rows."""
    validation_fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of the training rows to validate on; 0.2 where nothing else gives the validation rows."""
    test_source: str | None = Field(default=None, min_length=1)
    """An `.npz` file with `x` and `y` to test on, instead of a share of the rows."""
    test_fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of all rows to test on; 0.1 where nothing else gives the test rows."""
    split: Literal["stratified", "random"] = "stratified"
    """How fractions are drawn: every class in proportion, or each row alike. Both are seeded."""
    rescale: Literal["auto", "none"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    """What inputs are divided by, in training and inside the published model. `auto` brings images to [0, 1]
    and leaves tables alone."""


class ModelSpec(Section):
    """What is built from hyperparameters."""

    builder: Literal["mlp", "cnn"] = "mlp"
    """The built-in builder: `mlp` for rows of any shape, `cnn` for images."""


class Objective(Section):
    """A metric to optimise, with its direction."""

    name: str = Field(min_length=1)
    """The metric as Keras logs it, such as `val_accuracy`."""
    direction: Literal["min", "max"]
    """Whether less or more is better."""


class SearchSpec(Section):
    """How the space is searched."""

    algorithm: Literal["hyperband", "random", "grid", "bayesian"] = "hyperband"
    """The search algorithm. All but `hyperband` train every trial straight to `max_epochs`; `grid` tries every
    point of the space, `bayesian` is KerasTuner's Gaussian process."""
    objective: str | Objective = "val_accuracy"
    """The metric that decides between trials, or `{name, direction}`."""
    max_epochs: int = Field(default=10, ge=1)
    """Epochs of a configuration that is trained to the end."""
    max_trials: int | None = Field(default=None, ge=1)
    """How many trials `random` and `bayesian` run (20 where nothing is said), and `grid` at most (all points)."""
    factor: int = Field(default=3, ge=2)
    """How many configurations of a rung compete for one place in the next."""
    hyperband_iterations: int = Field(default=1, ge=1)
    """How often all brackets are run."""
    min_epochs: int = Field(default=1, ge=1)
    """The fewest epochs that a first rung may give."""
    schedule: ScheduleKind = "keras_tuner"
    """Whose sizes to use: KerasTuner's, or `paper` for Algorithm 1 of Li et al. (2018)."""
    lag: int = Field(default=DEFAULT_LAG, ge=0)
    """With `bayesian`, proposal i knows the scores of the trials below i - lag, whoever has ended by then. So the
    answer does not depend on the number of workers; more than lag + 1 of them find nothing to do."""
    num_initial_points: int | None = Field(default=None, ge=1)
    """With `bayesian`, how many completed trials the model needs before it proposes; until then points are random.
    Three times the number of hyperparameters where nothing is said."""
    alpha: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    """With `bayesian`, the expected noise of the scores: what is added to the diagonal of the kernel matrix."""
    beta: float = Field(default=2.6, ge=0, allow_inf_nan=False)
    """With `bayesian`, how much exploring is worth against exploiting."""

    def planned(self, points: int | None = None) -> Schedule:
        """The schedule that these fields ask for.

        Args:
            points: how many points the space has; a grid needs it. See `JobSpec.planned`.

        Raises:
            ValueError: a grid without an end.
        """
        if self.algorithm == "grid":
            sizes = [size for size in (self.max_trials, points) if size is not None]
            if not sizes:
                raise ValueError("a grid needs a finite space or max_trials")
            return straight_schedule(min(sizes), self.max_epochs)
        if self.algorithm != "hyperband":
            return straight_schedule(self.max_trials or DEFAULT_MAX_TRIALS, self.max_epochs)
        return hyperband_schedule(
            self.max_epochs,
            self.factor,
            iterations=self.hyperband_iterations,
            min_epochs=self.min_epochs,
            kind=self.schedule,
        )


class LimitsSpec(Section):
    """What bounds the job."""

    max_concurrent_trials: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """How many trials may run at a time; `auto` takes what the machine allows."""
    timeout: Duration | None = None
    """After this long no new trial starts; the best so far is retrained and published. Time that earlier starts of
    the run used counts too."""
    trial_timeout: Duration | None = None
    """A trial that runs longer has failed."""
    max_retries_per_trial: int = Field(default=1, ge=0)
    """How often a failed trial is tried again before it counts as worst."""
    max_consecutive_failed_trials: int = Field(default=3, ge=1)
    """So many failed trials in a row, in address order, end the search."""
    checkpoint_interval: Duration = timedelta(seconds=60)
    """How often the state of a trial or retraining under way is stored: at most this much training, and the upload
    under way, is repeated after a SIGKILL."""
    grace_period: Duration = timedelta(seconds=25)
    """How long storing what is under way may take after SIGTERM or SIGINT; Kubernetes gives 30 s by default."""
    max_total_trials: int | None = Field(default=None, ge=1)
    """The search ends after so many trials, in address order, every rung's counted for itself."""


class StopSpec(Section):
    """When a search has found enough.

    Trials are judged in address order, so that the answer does not depend on the number of workers: what comes after
    the deciding trial is no part of the result, even where it ran.
    """

    target: float | None = Field(default=None, allow_inf_nan=False)
    """No new trial starts once the best score is at least this good."""
    no_improvement: int | None = Field(default=None, ge=1)
    """No new trial starts after so many trials without a better score than the best before them."""


class TrainingSpec(Section):
    """How each trial is trained."""

    compile: Literal["auto", "always", "never"] = "auto"
    """Whether XLA compiles training epochs; `auto` decides by layers, shapes and device, the same way every time."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """What layers compute in. The mixed ones keep float32 weights, pay on GPUs, and publish a model that answers in
    float32."""


class EarlyStoppingSpec(Section):
    """When a configuration stops training before its epochs are over."""

    patience: int | None = Field(default=None, ge=1)
    """So many epochs in a row without a better objective end its training, counted over all rungs: promoted, it
    keeps its score and trains no further. Without it nothing stops early."""
    min_delta: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """By more than this the objective must beat the best before it."""


class ResourcesSpec(Section):
    """What each trial is given of the machine."""

    executor: Literal["processes", "inline"] = "processes"
    """Where trials run: in worker processes, or one after the other in the job's own."""
    threads_per_trial: int = Field(default=1, ge=1)
    """TensorFlow's threads on a CPU. Small models train faster with one; results depend on it in the last bits."""
    trials_per_gpu: int = Field(default=1, ge=1)
    """How many trials share a GPU."""


class RetrainSpec(Section):
    """How the published model is trained."""

    on: Literal["train_and_validation", "train"] = "train_and_validation"
    """`train_and_validation` uses every row but the test split. `train` keeps the validation split apart and
    publishes the best, by the objective, of the retrained models and the search's own."""
    epochs: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """How long; `auto` is the epoch that the best trial scored best at."""
    seeds: int = Field(default=1, ge=1)
    """With `on: train`, how many fresh initialisations to train."""


class StorageSpec(Section):
    """How objects are written to S3. Credentials are never here: boto3's own chain finds them."""

    encryption: Literal["none", "sse-s3", "sse-kms"] = "none"
    """Server-side encryption to ask for; `none` leaves it to the bucket's default."""
    kms_key: str | None = Field(default=None, min_length=1)
    """The KMS key's id or ARN, with `sse-kms`; without it the account's default key is used."""
    storage_class: str | None = Field(default=None, min_length=1)
    """For example `STANDARD_IA`."""
    tags: dict[str, str] = Field(default_factory=dict, max_length=10)
    """Object tags."""
    outage_patience: Duration = timedelta(minutes=10)
    """How long a search goes on while the store does not answer; what it wants to write waits on disk. After that the
    job ends with exit code 20, and the same command goes on later."""
    part_size: Size = 16 * 1024 * 1024
    """Files larger than this are uploaded in parts of this size; at least 5 MiB."""


class LogsSpec(Section):
    """What is logged, and how often it reaches the store."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events to log."""
    upload_interval: Duration = timedelta(seconds=15)
    """How often new log lines are uploaded: at most this much is lost to a SIGKILL."""
    tensorboard: bool = False
    """Write TensorBoard logs for every trial."""


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
    storage: StorageSpec = StorageSpec()
    """How objects are written to S3."""
    logs: LogsSpec = LogsSpec()
    """What is logged, and how often it reaches the store."""

    def planned(self) -> Schedule:
        """The trials that `search` asks for over this space, within `limits.max_total_trials`.

        Raises:
            ValueError: a grid without an end; the spec's checks report it before.
        """
        # Only a grid depends on the space: that of a user's own model may be unknown here.
        points = (
            space_size(BUILDERS[self.model.builder].resolve(self.space)) if self.search.algorithm == "grid" else None
        )
        return replace(self.search.planned(points), max_trials=self.limits.max_total_trials)

    def document(self) -> dict[str, Any]:
        """The resolved spec as plain JSON values; `JobSpec.model_validate` reads it back to an equal spec."""
        return self.model_dump(mode="json")

    def hash(self) -> str:
        """Hex SHA-256 of the resolved spec in canonical JSON.

        Where the run's objects go, how they are logged, how many trials run at a time and how often they are stored
        do not change the answer, so `output`, `storage`, `logs` and those limits do not count.
        """
        document = {key: value for key, value in self.document().items() if key not in {"output", "storage", "logs"}}
        document["limits"] = {
            key: value
            for key, value in document["limits"].items()
            if key not in {"max_concurrent_trials", "checkpoint_interval", "grace_period"}
        }
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
