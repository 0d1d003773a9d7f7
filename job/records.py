"""What a run leaves behind, as frozen models: trial records, the search's result and the manifest.

Objects written years ago must stay readable: fields are only ever added, with a default.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

HyperparameterValue = bool | int | float | str
Hyperparameters = dict[str, HyperparameterValue]
Direction = Literal["min", "max"]
FailureKind = Literal["error", "diverged", "timed_out"]


class Record(BaseModel):
    """A frozen record. NaN and infinities are kept, as the strings JSON lacks numbers for."""

    # Readers accept fields that a later version added; writers are checked by mypy.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    def to_json(self) -> bytes:
        """Indented UTF-8 JSON with a final newline."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    def to_json_line(self) -> bytes:
        """One line of UTF-8 JSON with a final newline."""
        return (self.model_dump_json() + "\n").encode()


class Execution(Record):
    """One training of a trial's hyperparameters: `epochs[k]` holds the metrics of epoch `from_epoch + k`."""

    index: int = 0
    fold: int | None = None
    epochs: tuple[dict[str, float], ...]


class TrialRecord(Record):
    """One finished trial, written once.

    A trial is the stretch of epochs that one rung gives to a configuration. `trial_id` is its address:
    iteration, bracket, index within the bracket's first rung, and rung. The stored object has one more field,
    `checksum`: the hex SHA-256 of all others as canonical JSON (see `job.sealing`).

    Attributes:
        parent: the trial of the rung below that this one continues; None in a first rung.
        from_epoch, to_epoch: epochs completed before and after (0 to 2, then 2 to 4, …).
        score: the best objective over all epochs of the lineage so far; None where there is none.
        best_epoch: the number (from 1) of the epoch that the score was reached at.
        failure: how a failed trial failed; `error` is its text.
        attempts: how often the trial was started, retries included.
        seconds: wall-clock time of the successful attempt, or of the last one.
        token: the lease's fencing token when the record was written.
    """

    schema_version: Literal[1] = 1
    trial_id: str
    hyperparameters: Hyperparameters
    iteration: int
    bracket: int
    index: int
    rung: int
    parent: str | None
    from_epoch: int
    to_epoch: int
    status: Literal["completed", "failed"]
    score: float | None
    best_epoch: int | None
    executions: tuple[Execution, ...]
    failure: FailureKind | None = None
    error: str | None = None
    attempts: int = 1
    seconds: float
    worker: str
    token: int = 0


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What an executor is asked for: train a lineage from one epoch to another.

    `seed` is the lineage's: weight initialisation, epoch order and dropout derive from it, in every rung.
    """

    trial_id: str
    hyperparameters: Hyperparameters
    iteration: int
    bracket: int
    index: int
    rung: int
    parent: str | None
    from_epoch: int
    to_epoch: int
    seed: int


class RungShortfall(Record):
    """A rung that ran fewer trials than planned, and why."""

    iteration: int
    bracket: int
    rung: int
    planned: int
    actual: int
    reason: str


class SearchTotals(Record):
    """What was searched, and planned and actual size; epochs count continued training once."""

    algorithm: str
    objective: str
    direction: Direction
    planned_trials: int
    planned_epochs: int
    trials: int
    failed_trials: int
    epochs: int
    stopped_by: str | None = None
    shortfalls: tuple[RungShortfall, ...] = ()


class SearchResult(Record):
    """The outcome of a search. `best` is one of `trials`, which are in address order."""

    best: TrialRecord
    trials: tuple[TrialRecord, ...]
    totals: SearchTotals


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
    """

    location: str
    size: int | None
    etag: str | None = None
    version: str | None = None


class EngineChoices(Record):
    """What decides the last bits of a result, besides versions.

    Attributes:
        device: `cpu` or `gpu`.
        cpu: the processor's model.
        compile, precision, threads_per_trial: as the spec has them.
    """

    device: str
    cpu: str
    threads_per_trial: int
    compile: str
    precision: str


class Inputs(Record):
    """What a run first started from: `inputs.json`. A resumed run starts from the same, or says what has changed.

    Attributes:
        objects: by field of the spec's `data` section; built-in data sets have none.
    """

    data: DataSummary
    versions: dict[str, str]
    objects: dict[str, SourceObject] = Field(default_factory=dict)
    engine: EngineChoices


class TensorSignature(Record):
    """One input or output: `shape` with None for the batch and other free axes, and the dtype's name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Signature(Record):
    """How to call the published model.

    `class_names[i]` is what output `i` stands for; `output_kind` says whether outputs are logits or
    probabilities.
    """

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    class_names: tuple[str, ...] | None
    output_kind: Literal["logits", "probabilities", "values"]


class Lineage(Record):
    """Where a model comes from. Values that are not known are None, never guessed."""

    versions: dict[str, str]
    git_commit: str | None
    image_digest: str | None
    host: str
    cpu: str | None
    device: str
    seed: int


class PublishedModel(Record):
    """Which of the candidates was published.

    `origin` is `retrain` or `search`; `seed` initialised its weights; `epochs` trained it; `validation_score` is
    None for a model that was trained on the validation split too.
    """

    origin: Literal["retrain", "search"]
    trained_on: Literal["train", "train_and_validation"]
    seed: int
    epochs: int
    validation_score: float | None


class Scores(Record):
    """`validation`: the best trial's metrics at its best epoch. `test`: the published model's, computed once."""

    validation: dict[str, float]
    test: dict[str, float]


class Manifest(Record):
    """The proof that a run is complete: written last, names every artifact.

    `seconds` has one entry per stage and `total`; `artifacts` maps keys relative to the run. `artifacts_prefix` stands
    before the names of all artifacts but the log's, where the server ignores conditional writes; it is empty otherwise.
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


class Failure(Record):
    """Why a run ended without a manifest."""

    schema_version: Literal[1] = 1
    name: str
    run_id: str
    exit_code: int
    error: str
    reason: str
    advice: str | None
    permanent: bool
    failed_at: datetime


class HolderDeath(Record):
    """A holder of the lease that ended without releasing it, as its last heartbeat showed it."""

    token: int
    elapsed_seconds: float
    memory_bytes: int
    memory_limit: int


class Lease(Record):
    """Who works on a run: one mutable object per run, changed by compare-and-swap alone.

    Attributes:
        token: the fencing token; each takeover adds one, and every record of a holder carries its own.
        holder: host, process id and start of the process, for people and to tell holders apart.
        state: `held` while the holder lives; `released` once it has ended in good order.
        beat: grows with every heartbeat; a newcomer watches it on its own clock.
        renewed_at: by the holder's clock; for people.
        elapsed_seconds: how long the run was held so far, over all holders, for `limits.timeout`.
        memory_bytes, memory_limit: what the holder's processes used at the last heartbeat, and what they may use.
        process_lock: which lock the holder has besides, in a local directory; empty elsewhere.
        deaths: the holders that did not end in good order, the newest last.
    """

    schema_version: Literal[1] = 1
    token: int
    holder: str
    state: Literal["held", "released"]
    beat: int
    renewed_at: datetime
    elapsed_seconds: float
    memory_bytes: int
    memory_limit: int
    process_lock: str = ""
    deaths: tuple[HolderDeath, ...] = ()


class AttemptMarker(Record):
    """Written before a trial trains and removed once it has a record: what is left says who died over which trial.

    It has all that a record needs of the trial, because whoever finds it may have to write that record.

    Attributes:
        token: of the holder that started the trial.
        progress: names the checkpoint that the trial went on from; equal ones mean that nothing was gained.
        elapsed_seconds: the lease's, when the trial was started.
        memory_bytes, memory_limit: what the holder's processes used then, and what they may use.
    """

    schema_version: Literal[1] = 1
    trial_id: str
    hyperparameters: Hyperparameters
    iteration: int
    bracket: int
    index: int
    rung: int
    parent: str | None
    from_epoch: int
    to_epoch: int
    token: int
    started_at: datetime
    progress: str
    elapsed_seconds: float
    memory_bytes: int
    memory_limit: int


class Pointer(Record):
    """`latest.json`: the newest published run."""

    schema_version: Literal[1] = 1
    run_id: str
    manifest: str
    published_at: datetime


def best_first(trials: Iterable[TrialRecord], direction: Direction) -> list[TrialRecord]:
    """Completed trials by score, the best first; ties keep their order."""
    sign = -1.0 if direction == "max" else 1.0
    scored = [(record.score, record) for record in trials if record.score is not None]
    return [record for _, record in sorted(scored, key=lambda pair: sign * pair[0])]


def artifact_of(data: bytes) -> Artifact:
    """Size and SHA-256 of a small artifact."""
    return Artifact(size=len(data), sha256=hashlib.sha256(data).hexdigest())


def hyperparameters_of(values: dict[str, Any]) -> Hyperparameters:
    """The user's own hyperparameters: KerasTuner's `tuner/…` bookkeeping removed."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}
