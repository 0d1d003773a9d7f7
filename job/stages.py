"""The stages of a run that need TensorFlow, wired together: what `job.pipeline` calls in turn.

Importing this module imports TensorFlow; the pipeline does so only once there is something to do.
"""

import platform
import socket
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import keras_tuner

from job.data import Dataset
from job.models import BUILDER_CLASSES, BuiltInHyperModel
from job.progress import SearchDisplay
from job.records import Lineage, SearchResult, TrialRecord
from job.retrain import Retraining, TrainedModel, evaluate
from job.search import Driver, HyperbandOracle, InlineExecutor, SearchLimits
from job.settings import Settings
from job.spec import JobSpec
from job.spec.checks import objective_of
from job.training.device import Device
from job.training.epochs import DeviceRows
from job.training.trial import TrialSetting, best_checkpoint, last_checkpoint, run_trial
from job.version import VERSION

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "build_hypermodel",
    "evaluate",
    "lineage_of",
    "retrain",
    "search",
    "versions",
]

# What a model's numbers depend on, by distribution name; a GPU build is called tensorflow, a CPU build tensorflow-cpu.
_VERSIONED = ("keras", "keras-tuner", "numpy", "scikit-learn", "tensorflow", "tensorflow-cpu")


def build_hypermodel(spec: JobSpec, dataset: Dataset) -> BuiltInHyperModel:
    """The builder that the spec names, over the spec's space, for this data."""
    builder = BUILDER_CLASSES[spec.model.builder]
    return builder(spec.space, input_shape=dataset.preparation.input_shape, class_count=len(dataset.class_names))


def frozen_space(hypermodel: BuiltInHyperModel) -> keras_tuner.HyperParameters:
    """The space as the model declares it with default values; nothing is added to it later."""
    hp = keras_tuner.HyperParameters()
    hypermodel.declare(hp)
    return hp


def search(  # noqa: PLR0913 - this is where the parts of a search are wired together
    spec: JobSpec,
    dataset: Dataset,
    hypermodel: BuiltInHyperModel,
    *,
    scratch: Path,
    known: Mapping[str, TrialRecord],
    store_record: Callable[[TrialRecord], None],
    console: "Console | None",
) -> SearchResult:
    """Search the space.

    Args:
        spec: what to search and how hard.
        dataset: only its train and validation splits are used.
        hypermodel: what is trained.
        scratch: a folder for checkpoints and TensorBoard logs.
        known: trial records of earlier starts of this run.
        store_record: keeps each new record.
        console: where to show progress; None for not at all.

    Raises:
        SearchFailedError: no usable trial.
    """
    schedule = spec.search.planned()
    objective = objective_of(spec.search)
    limits = spec.limits
    checkpoints = checkpoint_folder(scratch)
    setting = TrialSetting(
        hypermodel=hypermodel,
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective=objective.name,
        direction=objective.direction,
        checkpoints=checkpoints,
        timeout=limits.trial_timeout.total_seconds() if limits.trial_timeout else None,
        tensorboard=tensorboard_folder(scratch) if spec.logs.tensorboard else None,
    )
    with SearchDisplay(console, planned_trials=schedule.trials, planned_epochs=schedule.epochs) as display:
        driver = Driver(
            HyperbandOracle(
                keras_tuner.Objective(objective.name, objective.direction),
                schedule,
                frozen_space(hypermodel),
                spec.seed,
            ),
            InlineExecutor(lambda request: run_trial(request, setting)),
            SearchLimits(
                timeout=limits.timeout.total_seconds() if limits.timeout else None,
                max_retries_per_trial=limits.max_retries_per_trial,
                max_consecutive_failed_trials=limits.max_consecutive_failed_trials,
            ),
            known=known,
            store_record=store_record,
            discard=lambda trial_id: _delete_checkpoints(checkpoints, trial_id),
            observer=_DisplayObserver(display),
        )
        return driver.run()


def retrain(
    spec: JobSpec, dataset: Dataset, hypermodel: BuiltInHyperModel, result: SearchResult, scratch: Path
) -> TrainedModel:
    """Train the best hyperparameters once more; see `job.retrain`."""
    return Retraining(
        hypermodel=hypermodel,
        dataset=dataset,
        result=result,
        spec=spec.retrain,
        seed=spec.seed,
        checkpoints=checkpoint_folder(scratch),
    ).run()


class _DisplayObserver:
    def __init__(self, display: SearchDisplay) -> None:
        self._display = display

    def trial_ended(self, record: TrialRecord, best: TrialRecord | None) -> None:
        self._display.trial_ended(
            epochs=record.to_epoch - record.from_epoch, best_score=None if best is None else best.score
        )


def checkpoint_folder(scratch: Path) -> Path:
    """Where a search keeps its checkpoints."""
    return scratch / "checkpoints"


def tensorboard_folder(scratch: Path) -> Path:
    """Where trials write TensorBoard logs."""
    return scratch / "tensorboard"


def _delete_checkpoints(folder: Path, trial_id: str) -> None:
    last_checkpoint(folder, trial_id).unlink(missing_ok=True)
    best_checkpoint(folder, trial_id).unlink(missing_ok=True)


def lineage_of(spec: JobSpec, settings: Settings, device: Device) -> Lineage:
    """Where the model comes from: versions, commit and image as far as they are known, host and device."""
    return Lineage(
        versions=versions(),
        git_commit=settings.git_commit,
        image_digest=settings.image_digest,
        host=socket.gethostname(),
        cpu=device.cpu,
        device=device.name,
        seed=spec.seed,
    )


def versions() -> dict[str, str]:
    """Versions of this package, Python, and every package that the numbers depend on."""
    found = {"tuning-job": VERSION, "python": platform.python_version()}
    for distribution in _VERSIONED:
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    # Whichever build is installed, readers find it under the name they know.
    if "tensorflow-cpu" in found:
        found.setdefault("tensorflow", found["tensorflow-cpu"])
    return found
