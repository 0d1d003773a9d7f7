"""The stages of a run that need TensorFlow, wired together: what `job.pipeline` calls in turn.

Importing this module imports TensorFlow; the pipeline does so only once there is something to do.
"""

import contextlib
import hashlib
import platform
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import keras_tuner

from job.data import Dataset
from job.disk import clear_disk_errors
from job.evaluation import Evaluation
from job.evaluation import evaluate as evaluate_model
from job.layout import is_variation
from job.models import TunableModel
from job.own_code import OwnCode
from job.progress import SearchDisplay
from job.records import (
    EngineChoices,
    Inputs,
    Lineage,
    SearchResult,
    Sensitivity,
    SourceObject,
    TrialRecord,
    TrialRequest,
)
from job.resources import memory_limit
from job.retrain import Retraining, TrainedModel
from job.search.algorithms import make_oracle, planned_over, search_limits
from job.search.driver import Driver
from job.search.executors import Executor
from job.search.sensitivity import VariationRunner, measure_sensitivity
from job.search.trial_plan import TrialPlan
from job.settings import Settings
from job.spec import JobSpec
from job.training.checkpoint import CheckpointError, checkpoints_of, read_state
from job.training.device import Device
from job.training.rows import rows_fit
from job.version import VERSION

if TYPE_CHECKING:
    from rich.console import Console

    from job.export.model import Exported

__all__ = [
    "evaluate",
    "inputs_of",
    "lineage_of",
    "may_export",
    "progress_of",
    "publishable",
    "retrain",
    "search",
    "sensitivity",
    "try_exports",
    "versions",
]

# What a model's numbers depend on, by distribution name; a GPU build is called tensorflow, a CPU build tensorflow-cpu.
_VERSIONED = ("keras", "keras-tuner", "numpy", "scikit-learn", "tensorflow", "tensorflow-cpu")


def frozen_space(hypermodel: TunableModel) -> keras_tuner.HyperParameters:
    """The space as the model declares it with default values; nothing is added to it later."""
    hp = keras_tuner.HyperParameters()
    hypermodel.declare(hp)
    return hp


def search(  # noqa: PLR0913 - this is where the parts of a search are wired together
    spec: JobSpec,
    plan: TrialPlan,
    executor: Executor,
    *,
    known: Mapping[str, TrialRecord],
    store_record: Callable[[TrialRecord], None],
    console: "Console | None",
    starting: Callable[[TrialRequest], None] = lambda _: None,
    used_before: float = 0.0,
) -> SearchResult:
    """Search the space.

    Args:
        spec: what to search and how hard.
        plan: what the executor's workers train.
        executor: where trials run.
        known: trial records of earlier starts of this run.
        store_record: keeps each new record.
        console: where to show progress; None for not at all.
        starting: told of each attempt before it starts.
        used_before: seconds that earlier starts of this run took.

    Raises:
        SearchFailedError: no usable trial.
    """
    # Those of the best trial's variations are no part of the search.
    known = {trial_id: record for trial_id, record in known.items() if not is_variation(trial_id)}
    objective = keras_tuner.Objective(plan.objective, plan.direction)
    space = frozen_space(plan.hypermodel())
    schedule = planned_over(spec, space)
    with SearchDisplay(console, planned_trials=schedule.trials, planned_epochs=schedule.epochs) as display:
        driver = Driver(
            make_oracle(spec, objective, space, known),
            executor,
            search_limits(spec),
            known=known,
            store_record=store_record,
            discard=lambda trial_id: _delete_checkpoints(plan.checkpoints, trial_id),
            observer=_DisplayObserver(display),
            starting=starting,
            used_before=used_before,
        )
        return driver.run()


def sensitivity(  # noqa: PLR0913 - see `search`
    spec: JobSpec,
    plan: TrialPlan,
    executor: Executor,
    result: SearchResult,
    *,
    known: Mapping[str, TrialRecord],
    store_record: Callable[[TrialRecord], None],
    starting: Callable[[TrialRequest], None] = lambda _: None,
    seconds_used: Callable[[], float] = lambda: 0.0,
) -> Sensitivity | None:
    """Vary each hyperparameter around the search's best, if the spec asks for it; see `job.search.sensitivity`.

    Args:
        spec: which hyperparameters, and `limits`.
        plan: what the executor's workers train.
        executor: where variations are trained; what is under way in it is given up.
        result: what the search came to.
        known: records of earlier starts of this run.
        store_record: keeps each new record.
        starting: told of each attempt before it starts.
        seconds_used: of `limits.timeout`, so far.
    """
    if not spec.search.sensitivity:
        return None
    timeout = spec.limits.timeout
    runner = VariationRunner(
        executor,
        max_retries=spec.limits.max_retries_per_trial,
        known=known,
        store_record=store_record,
        starting=starting,
        discard=lambda trial_id: _delete_checkpoints(plan.checkpoints, trial_id),
        is_time_up=lambda: timeout is not None and seconds_used() >= timeout.total_seconds(),
        patience=lambda: search_limits(spec).patience(seconds_used()),
    )
    return measure_sensitivity(result, frozen_space(plan.hypermodel()), spec.seed, runner)


def retrain(spec: JobSpec, dataset: Dataset, plan: TrialPlan, result: SearchResult) -> TrainedModel:
    """Train the best hyperparameters once more; see `job.retrain`."""
    return Retraining(
        hypermodel=plan.hypermodel(),
        dataset=dataset,
        result=result,
        spec=spec.retrain,
        seed=spec.seed,
        checkpoints=plan.checkpoints,
        provenance=plan.provenance or "",
        compile_mode=spec.training.compile,
        precision=spec.training.precision,
        checkpoint_interval=spec.limits.checkpoint_interval.total_seconds(),
        terms=spec.search.objective_terms,
        class_weight=plan.class_weight,
    ).run()


def may_export(spec: JobSpec) -> bool:
    """Whether a model of this spec may be published in other formats besides: the user's own may need a SavedModel."""
    return bool(spec.export) or spec.built_in is None


def try_exports(spec: JobSpec, plan: TrialPlan, dataset: Dataset, folder: Path) -> None:
    """Refuse formats that cannot hold the model, before anything is trained; see `job.export`."""
    from job.export.stages import try_exports as try_all  # noqa: PLC0415 - only who exports pays for it

    hypermodel = plan.hypermodel()
    values = frozen_space(hypermodel).values
    with clear_disk_errors(folder):
        try_all(hypermodel, values, dataset, spec.export, folder, precision=spec.training.precision)


def publishable(
    spec: JobSpec, trained: TrainedModel, dataset: Dataset, folder: Path, code: OwnCode | None
) -> "tuple[TrainedModel, Exported]":
    """Write all files of the model into a folder, and see that they are what was trained; see `job.export`.

    Returns:
        The trained model as it was loaded from `model.keras`, which is what is scored; and the files.
    """
    from job.export.model import Candidate  # noqa: PLC0415 - Keras is configured by now
    from job.export.reader import open_reader  # noqa: PLC0415 - likewise
    from job.export.stages import export_published  # noqa: PLC0415 - likewise

    candidate = Candidate(trained.model, trained.core, dataset.preparation)
    with clear_disk_errors(folder), open_reader(folder, code) as reader:
        loaded, exported = export_published(candidate, dataset, spec.export, reader)
    return replace(trained, model=loaded), exported


def evaluate(plan: TrialPlan, trained: TrainedModel, dataset: Dataset) -> Evaluation:
    """Score the model to publish on the test split; see `job.evaluation`."""
    return evaluate_model(trained.model, dataset, plan.metrics, core=trained.core)


class _DisplayObserver:
    def __init__(self, display: SearchDisplay) -> None:
        self._display = display

    def trial_ended(self, record: TrialRecord, best: TrialRecord | None) -> None:
        self._display.trial_ended(
            epochs=(record.to_epoch - record.from_epoch) * max(1, len(record.executions)),
            best_score=None if best is None else best.score,
        )


def _delete_checkpoints(folder: Path, trial_id: str) -> None:
    for path in checkpoints_of(folder, trial_id):
        path.unlink(missing_ok=True)


def progress_of(folder: Path, trial_id: str) -> str:
    """Names the state that a trial's last checkpoints hold; the same name for the same state, wherever it is read."""
    states = []
    for path in checkpoints_of(folder, trial_id, "last"):
        with contextlib.suppress(CheckpointError):
            states.append((path.name, read_state(path)))
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16] if states else "none"


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


def inputs_of(plan: TrialPlan, dataset: Dataset, objects: Mapping[str, SourceObject], device: Device) -> Inputs:
    """What a run starts from: the data, its objects as they were read, versions, and the engine's choices."""
    spec = plan.spec
    return Inputs(
        provenance=plan.provenance,
        data=dataset.summary(),
        versions=versions(),
        objects=dict(objects),
        engine=EngineChoices(
            device=device.kind,
            cpu=device.cpu,
            threads_per_trial=spec.resources.threads_per_trial,
            compile=spec.training.compile,
            precision=spec.training.precision,
            rows="resident" if rows_fit(dataset.files.size, memory_limit()) else "streamed",
        ),
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
