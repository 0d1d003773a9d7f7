"""The sections that say how models are trained: `training`, `early_stopping`, `resources` and `retrain`."""

from typing import Annotated, Literal

from pydantic import Field

from job.spec.sections.section import Section


class TrainingSpec(Section):
    """How each trial is trained."""

    compile: Literal["auto", "always", "never"] = "auto"
    """Whether XLA compiles training epochs; `auto` decides by layers, shapes and device, the same way every time, and
    may compile the optimizer's update alone."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """What layers compute in. The mixed ones keep float32 weights, pay on GPUs, and publish a model that answers in
    float32."""
    metrics: tuple[str, ...] = Field(default=(), strict=False)
    """What built-in models log after every epoch and on the test split, besides what they always do."""
    class_weight: Literal["none", "balanced"] | dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = "none"
    """How much the training rows of each class count, by class name; classes that are not named count 1. `balanced`
    makes all classes count alike, however many rows they have. Scores of validation and test rows are not weighted."""


class EarlyStoppingSpec(Section):
    """When a configuration stops training before its epochs are over."""

    patience: int | None = Field(default=None, ge=1)
    """So many epochs in a row without a better objective end its training, counted over all rungs: promoted, it
    keeps its score and trains no further. Without it nothing stops early."""
    min_delta: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """By more than this the objective must beat the best before it."""


class ResourcesSpec(Section):
    """What each trial is given of the machine."""

    executor: Literal["processes", "inline"] = "processes"
    """Where trials run: in worker processes, or one after the other in the job's own."""
    threads_per_trial: int = Field(default=1, ge=1)
    """TensorFlow's threads on a CPU. Small models train faster with one; results depend on it in the last bits."""
    trials_per_gpu: int = Field(default=1, ge=1)
    """How many trials share a GPU."""


class RetrainSpec(Section):
    """How the published model is trained."""

    on: Literal["train_and_validation", "train"] = "train_and_validation"
    """`train_and_validation` uses every row but the test split. `train` keeps the validation split apart and
    publishes the best, by the objective, of the retrained models and the search's own."""
    epochs: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """How long; `auto` takes as many steps as the best trial had taken when it scored best."""
    seeds: int = Field(default=1, ge=1)
    """With `on: train`, how many fresh initialisations to train."""
    attempts: int = Field(default=3, ge=1)
    """With `on: train_and_validation`, from how many seeds to try, the best trial's own first, before the search's own
    model is published instead."""
    tolerance: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """With `on: train_and_validation`, how much worse than the best trial the retrained model may score, on
    training rows and on validation rows: as a share of what training had gained there over untrained weights."""
