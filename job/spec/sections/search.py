"""The `search` and `stop` sections."""

from typing import Annotated, Literal

from pydantic import Field

from job.schedule import Schedule, ScheduleKind, hyperband_schedule, straight_schedule
from job.spec.sections.section import Section

DEFAULT_MAX_TRIALS = 20
DEFAULT_LAG = 4
# What a weighted sum of several objectives is logged as; less of it is better.
COMPOSITE = "objective"


class Objective(Section):
    """A metric to optimise, with its direction."""

    name: str = Field(min_length=1)
    """The metric as Keras logs it, such as `val_accuracy`."""
    direction: Literal["min", "max"]
    """Whether less or more is better."""


class WeightedObjective(Objective):
    """One of several metrics whose weighted sum decides."""

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What the metric counts in the sum, in its own unit; a metric of which more is better is subtracted."""


class SearchSpec(Section):
    """How the space is searched."""

    algorithm: Literal["hyperband", "random", "grid", "bayesian"] = "hyperband"
    """The search algorithm. All but `hyperband` train every trial straight to `max_epochs`; `grid` tries every
    point of the space, `bayesian` is KerasTuner's Gaussian process."""
    objective: str | Objective | Annotated[tuple[WeightedObjective, ...], Field(min_length=2, strict=False)] = "auto"
    """The metric that decides between trials, or `{name, direction}`. `auto` is `val_accuracy` for a classification and
    `val_rmse` for a regression by a built-in model, and otherwise `val_loss`. Of a list of `{name, direction, weight}`
    the weighted sum decides: it is logged as `objective` after every epoch, and less of it is better."""
    max_epochs: int = Field(default=10, ge=1)
    """Epochs of a configuration that is trained to the end."""
    max_trials: int | None = Field(default=None, ge=1)
    """How many trials `random` and `bayesian` run (20 where nothing is said), and `grid` at most (all points)."""
    executions_per_trial: int = Field(default=1, ge=1)
    """With how many fresh seeds every configuration is trained; its score is the mean of theirs. With `data.folds` each
    of them is trained on every fold."""
    factor: int = Field(default=3, ge=2)
    """How many configurations of a rung compete for one place in the next."""
    hyperband_iterations: int = Field(default=1, ge=1, le=10_000)
    """How often all brackets are run."""
    min_epochs: int = Field(default=1, ge=1)
    """The fewest epochs that a first rung may give."""
    schedule: ScheduleKind = "keras_tuner"
    """Whose sizes to use: KerasTuner's, or `paper` for Algorithm 1 of Li et al. (2018)."""
    sensitivity: bool = False
    """After the search, vary each hyperparameter around the best with the others fixed, and report the effect."""
    lag: int = Field(default=DEFAULT_LAG, ge=0)
    """With `bayesian`, proposal i knows the scores of the trials below i - lag, whoever has ended by then. So the
    answer does not depend on the number of workers; more than lag + 1 of them find nothing to do."""
    num_initial_points: int | None = Field(default=None, ge=1)
    """With `bayesian`, how many completed trials the model needs before it proposes; until then points are random.
    Three times the number of hyperparameters where nothing is said."""
    alpha: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    """With `bayesian`, the expected noise of the scores: what is added to the diagonal of the kernel matrix."""
    beta: float = Field(default=2.6, ge=0, allow_inf_nan=False)
    """With `bayesian`, how much exploring is worth against exploiting."""

    @property
    def objective_terms(self) -> tuple[WeightedObjective, ...]:
        """What the objective is the weighted sum of; empty where it is a metric."""
        return self.objective if isinstance(self.objective, tuple) else ()

    def planned(self, points: int | None = None) -> Schedule:
        """The schedule that these fields ask for.

        Args:
            points: how many points the space has; a grid needs it. See `JobSpec.planned`.

        Raises:
            ValueError: a grid without an end.
        """
        if self.algorithm == "grid":
            sizes = [size for size in (self.max_trials, points) if size is not None]
            if not sizes:
                raise ValueError("a grid needs a finite space or max_trials")
            return straight_schedule(min(sizes), self.max_epochs)
        if self.algorithm != "hyperband":
            return straight_schedule(self.max_trials or DEFAULT_MAX_TRIALS, self.max_epochs)
        return hyperband_schedule(
            self.max_epochs,
            self.factor,
            iterations=self.hyperband_iterations,
            min_epochs=self.min_epochs,
            kind=self.schedule,
        )


class StopSpec(Section):
    """When a search has found enough.

    Trials are judged in address order, so that the answer does not depend on the number of workers: what comes after
    the deciding trial is no part of the result, even where it ran.
    """

    target: float | None = Field(default=None, allow_inf_nan=False)
    """No new trial starts once the best score is at least this good."""
    no_improvement: int | None = Field(default=None, ge=1)
    """No new trial starts after so many trials without a better score than the best before them."""
