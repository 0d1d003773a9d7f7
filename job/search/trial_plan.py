"""All that a process needs to run a search's trials, in a form that travels between processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from job.errors import DataError
from job.records import Direction
from job.spaces import BUILDERS
from job.spec import JobSpec
from job.spec.checks import objective_of
from job.target import Target

if TYPE_CHECKING:
    from job.data import Dataset, RowFiles
    from job.models import TunableModel
    from job.training.trial import TrialSetting


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What to train, on which files.

    Attributes:
        files: the training rows and, after them, the validation rows; with `data.folds` all rows to divide.
        input_shape: of one prepared row of a single input.
        target: what is to be predicted.
        checkpoints, tensorboard: the folders that trials write to.
    """

    spec: JobSpec
    files: "RowFiles"
    input_shape: tuple[int, ...]
    target: Target
    objective: str
    direction: Direction
    checkpoints: Path
    tensorboard: Path | None

    def hypermodel(self) -> "TunableModel":
        """The builder that the spec names, over the spec's space. Imports TensorFlow."""
        from job.models import BUILDER_CLASSES  # noqa: PLC0415 - see above

        builder = BUILDER_CLASSES[self.spec.model.builder]
        return builder(self.spec.space, input_shape=self.input_shape, target=self.target)

    def open(self) -> "TrialSetting":
        """Place the rows on this process's device. Imports TensorFlow."""
        from job.training.kept_engines import KeptEngines  # noqa: PLC0415 - see above
        from job.training.rows import place_rows  # noqa: PLC0415
        from job.training.stopping import EarlyStopping  # noqa: PLC0415
        from job.training.trial import TrialSetting  # noqa: PLC0415

        timeout = self.spec.limits.trial_timeout
        stopping, folds = self.spec.early_stopping, self.files.folds
        return TrialSetting(
            hypermodel=self.hypermodel(),
            train=place_rows(self.files.open_train()),
            validation=None if folds is not None else place_rows(self.files.open_validation()),
            objective=self.objective,
            direction=self.direction,
            checkpoints=self.checkpoints,
            timeout=None if timeout is None else timeout.total_seconds(),
            checkpoint_interval=self.spec.limits.checkpoint_interval.total_seconds(),
            tensorboard=self.tensorboard,
            kept=KeptEngines(),
            compile_mode=self.spec.training.compile,
            precision=self.spec.training.precision,
            terms=self.spec.search.objective_terms,
            executions=self.spec.search.executions_per_trial,
            folds=None if folds is None else folds.open(),
            early_stopping=None if stopping.patience is None else EarlyStopping(stopping.patience, stopping.min_delta),
        )


def trial_plan(spec: JobSpec, dataset: "Dataset", scratch: Path) -> TrialPlan:
    """The plan of a search over a data set's training and validation rows.

    Args:
        spec: what to search.
        dataset: what to train on.
        scratch: a local folder for checkpoints and TensorBoard logs.

    Raises:
        DataError: the builder cannot take rows of this shape.
    """
    _require_rows_of_the_builder(spec, dataset)
    objective = objective_of(spec.search)
    return TrialPlan(
        spec=spec,
        files=dataset.files,
        input_shape=dataset.prepared_shape,
        target=dataset.target,
        objective=objective.name,
        direction=objective.direction,
        checkpoints=scratch / "checkpoints",
        tensorboard=scratch / "tensorboard" if spec.logs.tensorboard else None,
    )


def _require_rows_of_the_builder(spec: JobSpec, dataset: "Dataset") -> None:
    """Refuse rows that no trial could be built for, before anything imports TensorFlow."""
    builder, shape = BUILDERS[spec.model.builder], dataset.prepared_shape
    if not builder.takes_rows_of(shape):
        fitting = [name for name, other in BUILDERS.items() if other.takes_rows_of(shape)]
        raise DataError(
            f"{dataset.source} has rows of shape {shape}, but model.builder {builder.name} takes "
            f"{builder.rows_in_words}",
            advice=f"For these rows there is model.builder: {' or '.join(fitting)}.",
        )
