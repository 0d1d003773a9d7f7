"""Which rows of a table are training, validation and test rows. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray
from job.data.folds import Folds, folds_in_time, grouped_folds, random_folds, stratified_folds
from job.data.splits import Draw, UndrawableError, draw_groups, draw_last, draw_random, draw_stratified
from job.errors import DataError
from job.spec import DataSpec
from job.spec.sections import DEFAULT_TEST_FRACTION, DEFAULT_VALIDATION_FRACTION
from job.target import Target

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Divided:
    """Row numbers of the source's own rows, ascending; None where a split's rows are given apart."""

    train: Indices
    validation: Indices | None
    test: Indices | None


@dataclass(frozen=True, slots=True, eq=False)
class DividedBy:
    """What rows are divided by, each (rows,) of the source's own rows.

    Attributes:
        y: encoded targets.
    """

    target: Target
    y: AnyArray
    group: AnyArray | None
    time: NDArray[Any] | None


def divide(  # noqa: PLR0913 - what splits are drawn by
    spec: DataSpec, seed: int, rows: Indices, by: DividedBy, *, validation_given: bool, test_given: bool, shown: str
) -> Divided:
    """Draw the splits: test rows from all rows, validation rows from what they leave.

    Args:
        spec: the `data` section.
        seed: the job's.
        rows: the rows to draw from, ascending: duplicates are none of them.
        by: what of each row decides.
        validation_given: whether validation rows are given apart.
        test_given: likewise.
        shown: the table's name in messages.

    Raises:
        DataError: a split would be empty, or the task has no classes to stratify by.
    """
    kind = split_kind(spec, by.target, shown)
    groups = None if by.group is None else _numbered(by.group)
    fractions = {
        "test": None if test_given else spec.test_fraction or DEFAULT_TEST_FRACTION,
        "validation": (
            None if validation_given or spec.folds else spec.validation_fraction or DEFAULT_VALIDATION_FRACTION
        ),
    }
    drawn: dict[str, Indices | None] = {}
    for split, fraction in fractions.items():
        drawn[split] = None
        if fraction is None:
            continue
        try:
            draw = _draw(kind, rows, by, groups, fraction, seed, split)
        except UndrawableError as error:
            raise DataError(
                f"{shown}: no {split} split with data.{split}_fraction {fraction}: {error}",
                advice=f"Give more rows, another fraction, or the rows themselves with data.{split}_source.",
            ) from error
        drawn[split], rows = rows[draw.drawn], rows[draw.kept]
    # With folds no validation rows are kept apart.
    validation = rows[:0] if spec.folds else drawn["validation"]
    return Divided(rows, validation, drawn["test"])


def divide_in_folds(kind: str, count: int, seed: int, rows: Indices, by: DividedBy) -> Folds:
    """Divide the training rows for cross-validation.

    Args:
        kind: from `split_kind`.
        count: how many folds.
        seed: the job's.
        rows: the training rows.
        by: what of each row decides.

    Raises:
        UndrawableError: there are too few rows, groups or times.
    """
    if kind == "time" and by.time is not None:
        return folds_in_time(by.time[rows], count)
    if kind == "group" and by.group is not None:
        return grouped_folds(_numbered(by.group[rows]), count, seed=seed)
    if kind == "stratified":
        return stratified_folds(np.asarray(by.y[rows], dtype=np.int64), count, seed=seed)
    return random_folds(len(rows), count, seed=seed)


def split_kind(spec: DataSpec, target: Target, shown: str) -> str:
    """How a table is divided, `auto` resolved."""
    if spec.split == "stratified" and target.class_names is None:
        raise DataError(
            f"{shown}: data.split: stratified needs classes, but {spec.target!r} is the target of a {target.task}",
            advice="Leave data.split out, or set it to random.",
        )
    if spec.split != "auto":
        return spec.split
    for kind in ("group", "time"):
        if getattr(spec, kind) is not None:
            return kind
    return "random" if target.class_names is None else "stratified"


def _draw(  # noqa: PLR0913, PLR0917 - see divide
    kind: str, rows: Indices, by: DividedBy, groups: Indices | None, fraction: float, seed: int, purpose: str
) -> Draw:
    if kind == "time" and by.time is not None:
        return draw_last(by.time[rows], fraction)
    if kind == "group" and groups is not None:
        return draw_groups(groups[rows], fraction, seed=seed, purpose=purpose)
    if kind == "stratified":
        return draw_stratified(np.asarray(by.y[rows], dtype=np.int64), fraction, seed=seed, purpose=purpose)
    return draw_random(len(rows), fraction, seed=seed, purpose=purpose)


def _numbered(groups: AnyArray) -> Indices:
    return np.asarray(np.unique(groups, return_inverse=True)[1], dtype=np.int64)
