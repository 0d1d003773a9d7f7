"""Every object key of the product, in one place; docs/object-layout.md is generated from here.

Keys are relative to the store's root, which is the spec's `output`.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of object, for the documentation."""

    key: str
    meaning: str


# Relative to `<name>/`.
LATEST = "latest.json"
# Written by a later version; what is here already spares its run.
CHAMPION = "champion.json"
RUNS_FOLDER = "runs/"


def latest_key(name: str) -> str:
    """The pointer to the newest published run of this name; replaced by compare-and-swap."""
    return f"{name}/{LATEST}"


def runs_prefix(name: str) -> str:
    """The prefix of all runs of this name."""
    return f"{name}/{RUNS_FOLDER}"


def access_check_key(name: str, unique: str) -> str:
    """A small object, written and deleted at once to prove that the output can be written; beside the runs."""
    return f"{name}/access-check-{unique}"


def condition_probe_key(name: str, unique: str) -> str:
    """A small object, written and deleted at once to find out whether conditional writes are honoured."""
    return f"{name}/condition-check-{unique}"


class RunKeys(Protocol):
    """Where a run's objects are, in a store that was opened anywhere above it."""

    @property
    def run_id(self) -> str:
        """Its id."""
        ...

    @property
    def prefix(self) -> str:
        """What all its keys begin with."""
        ...

    def key(self, relative: str) -> str:
        """The store key of an object named relative to the run."""
        ...


@dataclass(frozen=True, slots=True)
class RunLayout:
    """The keys of one run. Artifact names in a manifest are relative to `prefix`."""

    name: str
    run_id: str

    @property
    def prefix(self) -> str:
        """`<name>/runs/<run_id>/`."""
        return f"{runs_prefix(self.name)}{self.run_id}/"

    def key(self, relative: str) -> str:
        """The store key of an artifact named relative to the run."""
        return self.prefix + relative


SPEC = "spec.json"
INPUTS = "inputs.json"
INPUT_OBJECTS = "inputs-objects.json"
LEASE = "lease.json"
TRIALS_FOLDER = "trials/"
ATTEMPTS_FOLDER = "attempts/"
CHECKPOINTS_FOLDER = "checkpoints/"
SENSITIVITY_FOLDER = "sensitivity/"
TRIALS_TABLE = "trials.jsonl"
BEST_HYPERPARAMETERS = "best_hyperparameters.json"
METRICS = "metrics.json"
SENSITIVITY = "sensitivity.json"
MODEL_KERAS = "model/model.keras"
MODEL_SAVED_MODEL = "model/saved_model/"
MODEL_ONNX = "model/model.onnx"
MODEL_TFLITE = "model/model.tflite"
SUMMARY = "summary.md"
LOGS_FOLDER = "logs/"
TENSORBOARD_FOLDER = "logs/tensorboard/"
FAILURE = "failure.json"
MANIFEST = "manifest.json"
STARTS_FOLDER = "starts/"

# What all starts of a run share; every other object of a run is an artifact of the start that published it.
_SHARED = frozenset({SPEC, INPUTS, INPUT_OBJECTS, LEASE, FAILURE, MANIFEST})
_SHARED_FOLDERS = (TRIALS_FOLDER, SENSITIVITY_FOLDER, CHECKPOINTS_FOLDER)
# Those that one object per trial is written to.
RECORD_FOLDERS = (TRIALS_FOLDER, SENSITIVITY_FOLDER)
# What the ids of variations begin with; those of a search's trials begin with `h`.
_VARIATION = "s-"
_LOG_SEGMENTS = f"{LOGS_FOLDER}job-"


def is_shared(relative: str) -> bool:
    """Whether a key belongs to the run as a whole, or tells its start by its own name as log segments do."""
    return relative in _SHARED or relative.startswith((*_SHARED_FOLDERS, _LOG_SEGMENTS))


def is_log_segment(relative: str) -> bool:
    """Return whether a key is of a piece of the log: each start's own, by its name."""
    return relative.startswith(_LOG_SEGMENTS)


def start_prefix(start: str) -> str:
    """Where a start keeps its artifacts, on servers that ignore conditional writes: nobody else writes there."""
    return f"{STARTS_FOLDER}{start}/"


def trial_record(trial_id: str) -> str:
    """The write-once record of one finished trial, or of a variation of the best one."""
    return f"{SENSITIVITY_FOLDER if is_variation(trial_id) else TRIALS_FOLDER}{trial_id}.json"


def trial_of_record(relative: str) -> str:
    """The trial whose record this key is of."""
    return relative.rpartition("/")[2].removesuffix(".json")


def variation_id(name: str, number: int) -> str:
    """The id of a variation of the best trial in one hyperparameter; `name` may stand in keys and file names."""
    return f"{_VARIATION}{name}-{number}"


def is_variation(trial_id: str) -> bool:
    """Whether a trial is no part of the search, but a variation of its best."""
    return trial_id.startswith(_VARIATION)


def attempt_marker(trial_id: str, token: int) -> str:
    """What the holder with this token leaves before it starts the trial."""
    return f"{ATTEMPTS_FOLDER}{trial_id}.{token}.json"


def log_segment(start: str, number: int) -> str:
    """One uploaded piece of the log; `start` tells the processes of one run apart."""
    return f"{LOGS_FOLDER}job-{start}-{number:05d}.jsonl"


RUN_ENTRIES = (
    Entry(SPEC, "the job spec as resolved, with its hash"),
    Entry(INPUTS, "pinned when the run first starts: the data's fingerprint, the split, the versions in use"),
    Entry(INPUT_OBJECTS, "likewise the data's objects, where they are more than 1,000"),
    Entry(LEASE, "who works on the run, with a heartbeat; replaced by compare-and-swap"),
    Entry(trial_record("<trial_id>"), "written once per finished trial: hyperparameters, every epoch's metrics"),
    Entry(f"{ATTEMPTS_FOLDER}<trial_id>.<token>.json", "alive while a trial is under way: who started it"),
    Entry(f"{CHECKPOINTS_FOLDER}…", "alive only while a rung or the retraining may still need them"),
    Entry(
        f"{SENSITIVITY_FOLDER}s-<name>-<n>.json", "likewise of each variation of the best, with `search.sensitivity`"
    ),
    Entry(TRIALS_TABLE, "all trial records, one per line, in address order"),
    Entry(BEST_HYPERPARAMETERS, "the best hyperparameters; the user's own names alone"),
    Entry(METRICS, "test scores, confusion matrix, per-class precision and recall, validation history"),
    Entry(SENSITIVITY, "what varying each hyperparameter around the best does, with `search.sensitivity`"),
    Entry(MODEL_KERAS, "the published model: takes rows as they are in the source"),
    Entry(
        f"{MODEL_SAVED_MODEL}…",
        "the model for TensorFlow Serving, with `export: [saved_model]`, and always where it has classes of its own",
    ),
    Entry(MODEL_ONNX, "the model for ONNX Runtime, with `export: [onnx]`"),
    Entry(MODEL_TFLITE, "the model for LiteRT (TensorFlow Lite), with `export: [tflite]`"),
    Entry(SUMMARY, "the run's result for people"),
    Entry(log_segment("<start>", 0).replace("00000", "<n>"), "log segments, uploaded as the run goes"),
    Entry(TENSORBOARD_FOLDER, "TensorBoard logs per trial, with `logs.tensorboard: true`"),
    Entry(
        f"{STARTS_FOLDER}<start>/…",
        "on servers that ignore conditional writes: the artifacts of each start, under names that no other writes to",
    ),
    Entry(FAILURE, "instead of a manifest: exit code, reason, what can be done"),
    Entry(MANIFEST, "last: every artifact with size and SHA-256, lineage, result, timings"),
)
