"""The sections that bound a run and say where its objects and logs go: `limits`, `storage` and `logs`."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from job.spec.quantities import Duration, Size
from job.spec.sections.section import Section


class LimitsSpec(Section):
    """What bounds the job."""

    max_concurrent_trials: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """How many trials may run at a time; `auto` takes what the machine allows."""
    timeout: Duration | None = None
    """After this long no new trial starts, and what is under way a grace later (`grace_period`, or a tenth of this
    if that is longer) is ended; the best so far is retrained and published. Time that earlier starts of
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
