"""What varying one hyperparameter at a time does to the objective: `sensitivity.json`."""

from typing import Literal

from job.records.record import Direction, Hyperparameters, HyperparameterValue, Record
from job.redaction import Told


class Variation(Record):
    """The best configuration with one value changed, trained as the best was.

    Attributes:
        trial_id: of its record, under `sensitivity/`.
        value: the changed value.
        score: the best objective of its epochs; None where it failed. Of several executions the mean.
        deviation: of several executions' scores; None otherwise.
        difference: the score less the best trial's.
        error: why it failed.
    """

    trial_id: str
    value: HyperparameterValue
    score: float | None
    deviation: float | None = None
    difference: float | None
    error: Told | None = None


class HyperparameterEffect(Record):
    """What one hyperparameter does around the best.

    Attributes:
        best: its value in the best trial.
        effect: the largest difference that a variation makes, whichever way; None where none was scored.
        variations: in the order of the values.
    """

    name: str
    best: HyperparameterValue
    effect: float | None
    variations: tuple[Variation, ...]


class Sensitivity(Record):
    """Every searched hyperparameter varied around the best trial, the others fixed.

    Attributes:
        trial_id, score, deviation, values: the best trial and what it came to.
        epochs: what each variation is trained for, from the start.
        hyperparameters: in the order of the space.
        skipped: the variations that there was no time for; `note` says so.
    """

    schema_version: Literal[1] = 1
    objective: str
    direction: Direction
    trial_id: str
    values: Hyperparameters
    score: float
    deviation: float | None
    epochs: int
    hyperparameters: tuple[HyperparameterEffect, ...]
    skipped: tuple[str, ...] = ()
    note: str | None = None
