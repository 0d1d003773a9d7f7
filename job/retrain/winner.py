"""The best trial's best training: what a retrained model is to be as good as."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from job.data import Dataset
from job.records import SearchResult, execution_bests
from job.search.oracle import Address
from job.training.checkpoint import best_checkpoint
from job.training.trial_setting import ExecutionPlace


@dataclass(frozen=True, slots=True)
class Winner:
    """The best trial's best training.

    Attributes:
        checkpoint: of its best epoch; None where none is kept.
        epoch: its best one, from 1.
        score: the objective on its validation rows there.
        train, validation: its rows, by their numbers among all.
    """

    seed: int
    checkpoint: Path | None
    epoch: int
    score: float
    train: np.ndarray
    validation: np.ndarray


def winner_of(result: SearchResult, dataset: Dataset, *, seed: int, checkpoints: Path) -> Winner:
    """Return the best one of all trainings of the search's best trial.

    Args:
        result: of the search.
        dataset: what it was trained on.
        seed: the spec's.
        checkpoints: the folder of the search's checkpoints.
    """
    best, totals, files = result.best, result.totals, dataset.files
    sign = -1.0 if totals.direction == "max" else 1.0
    bests = execution_bests(result.trials, best, totals.objective, totals.direction)
    execution = min(bests, key=lambda one: sign * one.score)
    place = ExecutionPlace(execution.index, execution.fold, is_only=len(best.executions) == 1)
    address = Address(best.iteration, best.bracket, best.index, best.rung)
    if files.folds is None or execution.fold is None:
        train = np.arange(files.train_rows)
        validation = np.arange(files.train_rows, dataset.train_and_validation.rows)
    else:
        folds = files.folds.open()
        train, validation = folds.train(execution.fold), folds.validation(execution.fold)
    return Winner(
        seed=place.seed(address.lineage_seed(seed)),
        checkpoint=None if execution.fold is not None else best_checkpoint(checkpoints, place.name(best.trial_id)),
        epoch=execution.epoch,
        score=execution.score,
        train=train,
        validation=validation,
    )
