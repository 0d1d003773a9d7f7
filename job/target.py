"""What a model is to predict, as everything from the data to the report knows it."""

from dataclasses import dataclass
from typing import Literal

Task = Literal["classification", "regression", "custom"]


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a data set.

    Attributes:
        task: `custom` is what only the user's own model knows: several targets, none, or targets of any shape.
        class_names: of a classification, in output order; None otherwise.
        class_values: the numbers that stand for the classes in the targets, in output order, where these are not
            0, 1, 2, …: what the user's own model gets is as it is in the source.
        mean, scale: of a regression: mean and standard deviation of the training rows' targets, in their unit. A model
            computes in standardised targets and answers in the target's unit.
    """

    task: Task
    class_names: tuple[str, ...] | None = None
    class_values: tuple[float, ...] | None = None
    mean: float = 0.0
    scale: float = 1.0

    @property
    def outputs(self) -> int:
        """How many numbers a built-in model answers with: one per class, or one."""
        return 1 if self.class_names is None else len(self.class_names)
