"""Checks of cross-validation against what it leaves no room for."""

from collections.abc import Iterator

from job.spec.datasets import DATASETS
from job.spec.drafts import Check, Finding, check
from job.spec.model import JobSpec


@check("data.folds", "data.validation_source", "data.validation_fraction")
def folds_leave_no_validation_split(spec: JobSpec) -> Iterator[Finding]:
    """With cross-validation every row is validated on in its turn."""
    if spec.data.folds is None:
        return
    for field in ("validation_source", "validation_fraction"):
        if getattr(spec.data, field) is not None:
            message = "contradicts data.folds, which validates on every row in turn: keep one of the two"
            yield Finding(("data", field), message)


@check("data.folds", "retrain.on")
def retraining_knows_no_folds(spec: JobSpec) -> Iterator[Finding]:
    """`train` chooses between models by a validation split, which folds do not leave."""
    if spec.data.folds is not None and spec.retrain.on == "train":
        message = "expected train_and_validation: data.folds keeps no validation rows apart to choose between models by"
        yield Finding(("retrain", "on"), message)


@check("data.folds", "data.source", "data.split")
def folds_have_rows(spec: JobSpec) -> Iterator[Finding]:
    """Each fold of a built-in set can be given a row, stratified of every class; of other sets the data says it."""
    dataset = DATASETS.get(spec.data.source)
    if spec.data.folds is None or dataset is None:
        return
    most = dataset.rows // (1 if spec.data.split == "random" else dataset.classes or 1)
    if spec.data.folds > most:
        yield Finding(("data", "folds"), f"expected at most {most}: {dataset.name} has {dataset.rows} rows to divide")


FOLD_CHECKS: tuple[Check, ...] = (folds_leave_no_validation_split, retraining_knows_no_folds, folds_have_rows)
