"""What a configuration's trainings came to, read off the records of its rungs."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from job.records.record import Direction
from job.records.trials import TrialRecord


@dataclass(frozen=True, slots=True)
class ExecutionBest:
    """The best epoch of one training.

    Attributes:
        index, fold: see `Execution`.
        score: the objective at that epoch.
        epoch: its number, from 1.
        logs: its metrics.
    """

    index: int
    fold: int | None
    score: float
    epoch: int
    logs: dict[str, float]


def execution_bests(
    trials: Iterable[TrialRecord], of: TrialRecord, objective: str, direction: Direction
) -> list[ExecutionBest]:
    """The best epoch of each of a trial's trainings, over all rungs so far; ties go to the earlier epoch.

    Args:
        trials: the search's records.
        of: one of them.
        objective: the metric that decides.
        direction: whether less or more is better.
    """
    address = (of.iteration, of.bracket, of.index)
    rungs = [one for one in trials if (one.iteration, one.bracket, one.index) == address and one.rung <= of.rung]
    sign = -1.0 if direction == "max" else 1.0
    found: dict[tuple[int, int | None], ExecutionBest] = {}
    for rung in sorted(rungs, key=lambda one: one.rung):
        for execution in rung.executions:
            place = (execution.index, execution.fold)
            for epoch, logs in enumerate(execution.epochs, start=rung.from_epoch + 1):
                score = logs.get(objective, math.nan)
                best = found.get(place)
                if math.isfinite(score) and (best is None or sign * score < sign * best.score):
                    found[place] = ExecutionBest(*place, score, epoch, logs)
    return list(found.values())


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """The mean, and the sample standard deviation; None of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
