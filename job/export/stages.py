"""Exports as stages of a run: a trial before the search, of a model that is not trained; and the published model's."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras

from job.data import Dataset
from job.data.nested import row_count
from job.export.model import Candidate, Exported, export_model, first_rows, publish_model
from job.export.proof import require_alike
from job.export.reader import Reader, open_reader
from job.export.refusal import refused
from job.export.reloading import load_published
from job.export.saved_model import layer_names
from job.export.wanted import formats_of
from job.logs import get_logger
from job.models import TunableModel, needs_code, publishable_model
from job.records import ExportFormat, Hyperparameters
from job.training.building import build_model
from job.training.engine import Precision, computing_in


def try_exports(  # noqa: PLR0913 - what a model is made of, and where to try it
    hypermodel: TunableModel,
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    asked: Sequence[ExportFormat],
    folder: Path,
    *,
    precision: Precision,
) -> None:
    """Export the model as it would be published, but untrained, and compare predictions on training rows.

    Args:
        hypermodel: builds the model.
        hyperparameters: what it is built with; other ones may need other operations.
        dataset: gives the preparation and the rows.
        asked: the spec's `export`.
        folder: for the files.
        precision: what the model computes in.

    Raises:
        SpecError: a format cannot hold the model; names the layer or operation.
    """
    with computing_in(precision):
        core = build_model(hypermodel, hyperparameters, seed=0)
    model = publishable_model(core, dataset.preparation, hypermodel.custom_objects())
    formats = formats_of(asked, model)
    if formats:
        when = "tried before the search, with default hyperparameters"
        _report(export_model(model, formats, dataset.train.x, folder), asked, model, when)


def export_published(
    candidate: Candidate, dataset: Dataset, asked: Sequence[ExportFormat], reader: Reader
) -> tuple[keras.Model, Exported]:
    """Write what is published, load it as readers do, and compare it with the trained model on rows of the test split.

    Args:
        candidate: what was trained.
        dataset: with the test split.
        asked: the spec's `export`.
        reader: has not been asked yet.

    Returns:
        The model as it was loaded from `model.keras`, and the files.

    Raises:
        ModelCodeError: `model.keras` does not load, or predicts otherwise; names what differs.
        SpecError: a format cannot hold the model, or predicts otherwise.
    """
    formats = formats_of(asked, candidate.model)
    exported, answer = publish_model(candidate, formats, dataset.test.x, reader)
    require_alike(candidate, answer, reader.code)
    if answer.needs_code and "saved_model" not in formats:
        # Keras refuses what no configuration shows to be code.
        with open_reader(reader.folder, reader.code) as another:
            exported, answer = publish_model(candidate, ("saved_model", *asked), dataset.test.x, another)
        require_alike(candidate, answer, reader.code)
    get_logger().info(
        "model.keras agrees with the trained model",
        rows=row_count(first_rows(dataset.test.x)),
        difference=answer.difference,
        tolerance=answer.tolerance,
        needs_code=answer.needs_code,
        runtime=answer.runtime,
    )
    _report(exported, asked, candidate.model, "the trained model")
    is_code_needed = answer.needs_code or needs_code(candidate.model)
    loaded = load_published(exported.keras_file, reader.code if is_code_needed else None)
    return loaded, replace(exported, needs_code=is_code_needed)


def _report(exported: Exported, asked: Sequence[ExportFormat], model: keras.Model, when: str) -> None:
    for export in exported.exports:
        get_logger().info(
            "export agrees with Keras",
            format=export.format,
            model=when,
            rows=export.rows,
            difference=export.difference,
            runtime=export.runtime,
        )
    if exported.refusals:
        raise refused(exported.refusals, asked, layer_names(model), when)
