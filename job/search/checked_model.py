"""What is known of the user's own model once it has been tried; see `job.search.own_check`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from job.search.trial_plan import TrialPlan

if TYPE_CHECKING:
    from job.data import Dataset, Preparation
    from job.data.nested import Nested
    from job.models.answers import Answers

# Rows that the published form of the model is tried on.
_RAW_ROWS = 32


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """What is known of a model that works.

    Attributes:
        space: KerasTuner's configuration of the frozen space.
        entries: the space in words.
        parameters: how many the model has with default values.
        needs_code: whether `model.keras` loads only where the user's own classes are.
        returns_number: whether its own `fit` returns a number, which is then the objective.
        answers: what its output and its loss say of the targets; None where they leave it open.
        logged: the names of what it logs.
    """

    space: Mapping[str, Any]
    entries: Mapping[str, str]
    parameters: int
    needs_code: bool
    returns_number: bool
    answers: "Answers | None"
    logged: frozenset[str]


@dataclass(frozen=True, slots=True)
class Samples:
    """A few rows as they are in the source, and how rows are prepared."""

    preparation: "Preparation"
    raw: "Nested"

    @classmethod
    def of(cls, dataset: "Dataset") -> "Samples":
        """Of a data set; its test rows are not looked at."""
        from job.data.nested import map_leaves  # noqa: PLC0415 - with it comes NumPy

        # With folds there is no validation split.
        rows = dataset.validation if dataset.validation.rows else dataset.train
        return cls(dataset.preparation, map_leaves(lambda leaf: leaf[:_RAW_ROWS].copy(), rows.x))


def is_stated(plan: TrialPlan) -> bool:
    """Whether the spec says what the task is."""
    return plan.spec.data.task != "auto" or plan.class_weight is not None


def learns_numbers(plan: TrialPlan, answers: "Answers | None") -> bool:
    """Whether a model takes for numbers what by the labels alone may be classes."""
    return not is_stated(plan) and answers == "numbers" and plan.target.has_numbers
