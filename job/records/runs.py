"""Runs: what they start from, what they publish, and why they failed."""

import hashlib
from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from job.records.exports import Export
from job.records.record import Hyperparameters, Record
from job.records.signatures import Signature
from job.records.trials import SearchTotals
from job.redaction import Told


class Artifact(Record):
    """One published object: size in bytes and hex SHA-256."""

    size: int
    sha256: str


class SplitSummary(Record):
    """Rows of one split."""

    rows: int


class DataSummary(Record):
    """What the run was trained on."""

    source: str
    fingerprint: str
    rows: int
    splits: dict[str, SplitSummary]


class SourceObject(Record):
    """A file or object that rows come from, as it was when the run first started.

    Attributes:
        location: the spec's name of it, without credentials.
        size: bytes; None where it is not known.
        etag: what the store calls its content; None for a file that is read in place.
        version: the bucket's version id; None where the bucket keeps none.
        sha256: of the user's own code; of several files that of their listing. None for data, whose fingerprint tells.
    """

    location: str
    size: int | None
    etag: str | None = None
    version: str | None = None
    sha256: str | None = None


class EngineChoices(Record):
    """What decides the last bits of a result, besides versions.

    Attributes:
        device: `cpu` or `gpu`.
        cpu: the processor's model.
        compile, precision, threads_per_trial: as the spec has them.
        rows: `resident`, or `streamed` where they are too large for the memory: the order of rows is another then.
    """

    device: str
    cpu: str
    threads_per_trial: int
    compile: str
    precision: str
    rows: str = "resident"


class Inputs(Record):
    """What a run first started from: `inputs.json`. A resumed run starts from the same, or says what has changed.

    Attributes:
        objects: by field of the spec's `data` section, and of `model` with that before it; what is built in has none.
        listing: the object that has those of the data instead, where they are many.
        provenance: of all that the run is made from; None where an earlier version has written it.
    """

    data: DataSummary
    versions: dict[str, str]
    objects: dict[str, SourceObject] = Field(default_factory=dict)
    listing: Artifact | None = None
    engine: EngineChoices
    provenance: str | None = None


class Lineage(Record):
    """Where a model comes from. Values that are not known are None, never guessed."""

    versions: dict[str, str]
    git_commit: str | None
    image_digest: str | None
    host: str
    cpu: str | None
    device: str
    seed: int


class RowScores(Record):
    """A model's objective on the training rows and on the validation rows; None where it has none."""

    train: float | None = None
    validation: float | None = None


class RetrainAttempt(Record):
    """One retraining on training and validation rows.

    Attributes:
        seed: what initialised its weights.
        steps: how many it took.
        scores: on rows that it has seen, all of them; none where it diverged.
        shortfall: why it was not published; None where it was.
    """

    seed: int
    steps: int
    scores: RowScores = RowScores()
    shortfall: str | None = None


class PublishedModel(Record):
    """Which of the candidates was published.

    Attributes:
        origin: `retrain` or `search`.
        trained_on: on which rows.
        seed: what initialised its weights.
        epochs: how long it was trained; with `retrain.epochs: auto` the search's epochs, which on more rows are fewer
            passes over them.
        steps: how many training steps that were.
        validation_score: None for a model that was trained on the validation split too.
        attempts: each retraining on training and validation rows, in order.
        winner: what those were compared with: the scores of the search's own best model.
    """

    origin: Literal["retrain", "search"]
    trained_on: Literal["train", "train_and_validation"]
    seed: int
    epochs: int
    steps: int | None = None
    validation_score: float | None
    attempts: tuple[RetrainAttempt, ...] = ()
    winner: RowScores | None = None


class Scores(Record):
    """`validation`: the best trial's metrics at its best epoch. `test`: the published model's, computed once.

    Of several executions `validation` is the mean over the best epoch of each, and `deviation` the sample standard
    deviation by metric; it is empty otherwise.
    """

    validation: dict[str, float]
    test: dict[str, float]
    deviation: dict[str, float] = Field(default_factory=dict)


class Manifest(Record):
    """The proof that a run is complete: written last, names every artifact.

    `seconds` has one entry per stage and `total`; `artifacts` maps keys relative to the run. `artifacts_prefix` stands
    before the names of all artifacts but the log's, where the server ignores conditional writes; it is empty otherwise.
    `exports`: the formats that the model was published in besides `model.keras`. `needs_code`: whether that one loads
    only with the user's own code at hand; then there is a SavedModel, which does without.
    """

    schema_version: Literal[1] = 1
    name: str
    run_id: str
    status: Literal["published"] = "published"
    spec: dict[str, JsonValue]
    spec_hash: str
    data: DataSummary
    model: PublishedModel
    best_hyperparameters: Hyperparameters
    scores: Scores
    search: SearchTotals
    signature: Signature
    lineage: Lineage
    started_at: datetime
    ended_at: datetime
    seconds: dict[str, float]
    artifacts: dict[str, Artifact]
    artifacts_prefix: str = ""
    exports: tuple[Export, ...] = ()
    needs_code: bool = False


class Failure(Record):
    """Why a run ended without a manifest."""

    schema_version: Literal[1] = 1
    name: str
    run_id: str
    exit_code: int
    error: str
    reason: Told
    advice: Told | None
    permanent: bool
    failed_at: datetime


class Pointer(Record):
    """`latest.json`: the newest published run."""

    schema_version: Literal[1] = 1
    run_id: str
    manifest: str
    published_at: datetime


def artifact_of(data: bytes) -> Artifact:
    """Size and SHA-256 of a small artifact."""
    return Artifact(size=len(data), sha256=hashlib.sha256(data).hexdigest())
