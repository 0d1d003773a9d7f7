"""Exports as stages of a run: a trial before the search, of a model that is not trained; and the published model's."""

from collections.abc import Sequence
from pathlib import Path

import keras

from job.data import Dataset
from job.data.nested import Nested
from job.export.model import Exported, export_model
from job.export.refusal import refused
from job.export.saved_model import layer_names
from job.export.wanted import formats_of
from job.logs import get_logger
from job.models import TunableModel, publishable_model
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
    _export(model, formats, asked, dataset.train.x, folder, "tried before the search, with default hyperparameters")


def export_published(
    model: keras.Model, dataset: Dataset, asked: Sequence[ExportFormat], folder: Path, *, needs_code: bool = False
) -> Exported:
    """Export the model that is published, and compare predictions on rows of the test split.

    Raises:
        SpecError: a format cannot hold the model, or predicts otherwise.
    """
    return _export(
        model, formats_of(asked, model, known=needs_code), asked, dataset.test.x, folder, "the trained model"
    )


def _export(  # noqa: PLR0913, PLR0917 - a model, formats, rows, a place and a word for messages
    model: keras.Model,
    formats: Sequence[ExportFormat],
    asked: Sequence[ExportFormat],
    x: Nested,
    folder: Path,
    when: str,
) -> Exported:
    if not formats:
        return Exported((), (), folder)
    exported = export_model(model, formats, x, folder)
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
    return exported
