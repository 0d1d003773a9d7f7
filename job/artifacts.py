"""What a run publishes, made from its results: files, documents and the manifest that names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from job import layout
from job.data import Dataset
from job.evaluation import Evaluation
from job.export.model import Exported
from job.models import signature_of
from job.models.answers import OutputKind, output_kind_of
from job.publish import Publication
from job.records import (
    Lineage,
    Manifest,
    Scores,
    SearchResult,
    Sensitivity,
    execution_bests,
    mean_and_deviation,
)
from job.report.summary import summary_of
from job.retrain import TrainedModel
from job.spec import JobSpec
from job.spec.sections import COMPOSITE
from job.target import Task

# Built-in classifiers answer with logits. Of a user's own model its loss tells.
_OUTPUT_KINDS: dict[Task, OutputKind] = {
    "classification": "logits",
    "regression": "values",
    "custom": "values",
}


@dataclass(frozen=True, slots=True)
class RunResults:
    """All that a finished run knows."""

    spec: JobSpec
    dataset: Dataset
    search: SearchResult
    trained: TrainedModel
    evaluation: Evaluation
    lineage: Lineage
    started_at: datetime
    exported: Exported
    sensitivity: Sensitivity | None = None


def write_artifacts(results: RunResults, publication: Publication, scratch: Path) -> None:
    """Write everything but the summary and the manifest, the model first."""
    publication.write_file(layout.MODEL_KERAS, results.exported.keras_file)
    for export in results.exported.exports:
        for name, path in results.exported.files(export):
            publication.write_file(name, path)
    publication.write_json(layout.BEST_HYPERPARAMETERS, results.search.best.hyperparameters)
    publication.write_json(layout.METRICS, _metrics(results))
    if results.sensitivity is not None:
        publication.write(layout.SENSITIVITY, results.sensitivity.to_json())
    publication.write(layout.TRIALS_TABLE, b"".join(trial.to_json_line() for trial in results.search.trials))
    tensorboard = scratch / "tensorboard"
    for path in sorted(p for p in tensorboard.rglob("*") if p.is_file()):
        publication.write_file(layout.TENSORBOARD_FOLDER + path.relative_to(tensorboard).as_posix(), path)


def write_summary(results: RunResults, publication: Publication, seconds: Mapping[str, float]) -> None:
    """Write the page for people."""
    manifest = manifest_of(results, publication, seconds)
    url, notes = publication.url(layout.MODEL_KERAS), results.dataset.notes
    text = summary_of(manifest, results.search.trials, url, results.sensitivity, notes)
    publication.write(layout.SUMMARY, text.encode())


def manifest_of(results: RunResults, publication: Publication, seconds: Mapping[str, float]) -> Manifest:
    """The manifest over what was written so far."""
    spec, search, target = results.spec, results.search, results.dataset.target
    return Manifest(
        name=spec.name,
        run_id=publication.layout.run_id,
        spec=spec.document(),
        spec_hash=spec.hash(),
        data=results.dataset.summary(),
        model=results.trained.description,
        best_hyperparameters=search.best.hyperparameters,
        scores=Scores(
            validation=validation_scores(search),
            deviation=validation_deviations(search),
            test=results.evaluation.scores,
        ),
        search=search.totals,
        signature=signature_of(results.trained.model, target.class_names, _output_kind(results)),
        lineage=results.lineage,
        started_at=results.started_at,
        ended_at=datetime.now(UTC),
        seconds=dict(seconds),
        artifacts=dict(sorted(publication.artifacts.items())),
        artifacts_prefix=publication.prefix,
        exports=results.exported.exports,
        needs_code=results.exported.needs_code,
    )


def _output_kind(results: RunResults) -> OutputKind:
    if results.spec.built_in is not None:
        return _OUTPUT_KINDS[results.dataset.target.task]
    return output_kind_of(results.trained.core)


def validation_scores(search: SearchResult) -> dict[str, float]:
    """The validation metrics of the best configuration at its best epoch, whichever of its rungs trained that.

    Of several executions each has a best epoch of its own; these are the means.
    """
    return {name: mean for name, (mean, _) in _validation(search).items()}


def validation_deviations(search: SearchResult) -> dict[str, float]:
    """The sample standard deviation of each of these, where there are several executions; empty otherwise."""
    return {name: deviation for name, (_, deviation) in _validation(search).items() if deviation is not None}


def _validation(search: SearchResult) -> dict[str, tuple[float, float | None]]:
    bests = execution_bests(search.trials, search.best, search.totals.objective, search.totals.direction)
    names = [name for name in bests[0].logs if name.startswith("val_") or name == COMPOSITE] if bests else []
    return {name: mean_and_deviation([best.logs[name] for best in bests]) for name in names}


def _metrics(results: RunResults) -> dict[str, object]:
    deviations = validation_deviations(results.search)
    measured = () if results.sensitivity is None else results.sensitivity.hyperparameters
    effects = {one.name: one.effect for one in measured}
    return {
        "test": results.evaluation.report,
        "validation": validation_scores(results.search),
        **({"validation_deviation": deviations} if deviations else {}),
        "best_trial": results.search.best.trial_id,
        "data": {**results.dataset.profile(), "notes": results.dataset.notes},
        **({"sensitivity": effects} if effects else {}),
    }
