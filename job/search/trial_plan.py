"""All that a process needs to run a search's trials, in a form that travels between processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job.errors import DataError, Problem, SpecError
from job.own_code import OwnCode
from job.records import Direction
from job.sealing import provenance_of
from job.spaces import BUILDERS, CNN
from job.spec import JobSpec
from job.spec.fields import listed
from job.spec.objectives import asked_metrics, deciding_metrics, objective_of, possible_metrics
from job.target import Target

if TYPE_CHECKING:
    from job.data import Dataset, RowFiles
    from job.data.nested import Nested
    from job.models import TunableModel
    from job.training.trial import TrialSetting


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What to train, on which files.

    Attributes:
        files: the training rows and, after them, the validation rows; with `data.folds` all rows to divide.
        input_shape: of one prepared row; nested as the inputs are.
        target: what is to be predicted.
        metrics: what to log besides what the task always has.
        class_weight: what training rows of each class count, by class number; None where all count alike.
        checkpoints, tensorboard: the folders that trials write to.
        code: of the user's own model; None for a built-in builder.
        space: what that code declares, as KerasTuner's configuration of it; None until it has been checked.
        fingerprint: of the data.
        is_bound: whether what the run stores says which run it is of; not where an earlier version has begun it.
    """

    spec: JobSpec
    files: "RowFiles"
    input_shape: "Nested"
    target: Target
    objective: str
    direction: Direction
    checkpoints: Path
    tensorboard: Path | None
    metrics: tuple[str, ...] = ()
    class_weight: Mapping[int, float] | None = None
    code: OwnCode | None = None
    space: Mapping[str, Any] | None = None
    fingerprint: str = ""
    is_bound: bool = True

    @property
    def provenance(self) -> str | None:
        """Of the run: see `job.sealing`."""
        if not self.is_bound:
            return None
        return provenance_of(self.spec.hash(), self.fingerprint, None if self.code is None else self.code.sha256)

    def hypermodel(self) -> "TunableModel":
        """The builder that the spec names, over the spec's space. Imports TensorFlow.

        Raises:
            ModelCodeError: the user's own code cannot be loaded.
        """
        from job.models import BUILDER_CLASSES, Facts, Span, open_own_model  # noqa: PLC0415 - see above

        if self.code is not None:
            return open_own_model(self.code, Facts.of(self.input_shape, self.target), self.space)
        builder = BUILDER_CLASSES[str(self.spec.model.builder)]
        return builder(
            self.spec.space,
            input_shape=self.input_shape,
            target=self.target,
            metrics=self.metrics,
            span=Span(self.files.rows_per_training, self.spec.search.max_epochs),
        )

    def open(self, sample: int | None = None) -> "TrialSetting":
        """Place the rows on this process's device. Imports TensorFlow.

        Args:
            sample: how many rows of each split, to try a model on; then there are no folds, which only choose among
                the rows. None for all of them.
        """
        from job.training.kept_engines import KeptEngines  # noqa: PLC0415 - see above
        from job.training.rows import place_rows  # noqa: PLC0415
        from job.training.stopping import EarlyStopping  # noqa: PLC0415
        from job.training.trial import TrialSetting  # noqa: PLC0415

        if self.code is not None:
            import keras  # noqa: PLC0415 - see above

            # Filtered, an error has lost the lines of the user's own that led to it.
            keras.config.disable_traceback_filtering()
        timeout = self.spec.limits.trial_timeout
        stopping, folds = self.spec.early_stopping, self.files.folds
        rows = self.files.open_train().part(slice(0, sample))
        train = place_rows(rows, class_weight=self.class_weight)
        if folds is None:
            validation = place_rows(self.files.open_validation().part(slice(0, sample)))
        else:
            # The same rows, on which classes count alike.
            validation = train.with_weights(rows.sample_weight)
        return TrialSetting(
            hypermodel=self.hypermodel(),
            train=train,
            validation=validation,
            objective=self.objective,
            direction=self.direction,
            checkpoints=self.checkpoints,
            provenance=self.provenance or "",
            timeout=None if timeout is None else timeout.total_seconds(),
            checkpoint_interval=self.spec.limits.checkpoint_interval.total_seconds(),
            tensorboard=self.tensorboard,
            kept=KeptEngines(),
            compile_mode=self.spec.training.compile,
            precision=self.spec.training.precision,
            terms=self.spec.search.objective_terms,
            executions=self.spec.search.executions_per_trial,
            folds=None if folds is None or sample is not None else folds.open(),
            early_stopping=None if stopping.patience is None else EarlyStopping(stopping.patience, stopping.min_delta),
        )


def trial_plan(spec: JobSpec, dataset: "Dataset", scratch: Path, code: OwnCode | None = None) -> TrialPlan:
    """The plan of a search over a data set's training and validation rows.

    Args:
        spec: what to search.
        dataset: what to train on.
        scratch: a local folder for checkpoints and TensorBoard logs.
        code: of the user's own model.

    Raises:
        DataError: the builder cannot take rows of this shape.
        SpecError: a metric or a class weight is not one of this task, which the spec left to the data.
    """
    _require_rows_of_the_builder(spec, dataset)
    objective = objective_of(spec.search, dataset.target, built_in=spec.built_in is not None)
    metrics: tuple[str, ...] = ()
    if spec.built_in is not None:
        deciding = deciding_metrics(spec.search, objective)
        metrics = asked_metrics(spec.training, deciding, dataset.target.task)
        _require_metrics_of_the_task(deciding, spec.training.metrics, dataset)
    from job.data.class_weights import class_weights  # noqa: PLC0415 - NumPy; a published run does without

    weights = None if spec.training.class_weight == "none" else class_weights(spec.training.class_weight, dataset)
    return TrialPlan(
        spec=spec,
        files=dataset.files,
        input_shape=dataset.prepared_shape,
        target=dataset.target,
        objective=objective.name,
        direction=objective.direction,
        checkpoints=scratch / "checkpoints",
        tensorboard=scratch / "tensorboard" if spec.logs.tensorboard else None,
        metrics=metrics,
        class_weight=weights,
        code=code,
        fingerprint=dataset.fingerprint,
    )


def _require_metrics_of_the_task(deciding: Sequence[str], metrics: Sequence[str], dataset: "Dataset") -> None:
    """Refuse what the spec's checks could not: there the task was not known yet."""
    task = dataset.target.task
    known = possible_metrics(task)
    fields = ["search.objective"] if len(deciding) == 1 else [f"search.objective[{i}]" for i in range(len(deciding))]
    asked = {
        **dict(zip(fields, deciding, strict=True)),
        **{f"training.metrics[{i}]": name for i, name in enumerate(metrics)},
    }
    why = f"the targets of {dataset.source} make a {task} (data.task)"
    problems = [
        Problem(path, f"{why}, which logs {listed(tuple(known), 'and')}", value=name)
        for path, name in asked.items()
        if name not in known
    ]
    if problems:
        raise SpecError(problems)


def _require_rows_of_the_builder(spec: JobSpec, dataset: "Dataset") -> None:
    """Refuse rows that no trial could be built for, before anything imports TensorFlow."""
    from job.data.preparation import is_channels_first  # noqa: PLC0415 - NumPy; a published run does without

    builder, shape = spec.built_in, dataset.prepared_shape
    if builder is None:
        return
    if dataset.target.task == "custom" or not hasattr(dataset.prepared, "shape"):
        raise DataError(
            f"{dataset.source} has several inputs or targets of its own kind, which no built-in builder takes",
            advice="Such data takes a model of your own: model.source.",
        )
    if not builder.takes_rows_of(shape):
        fitting = [name for name, other in BUILDERS.items() if other.takes_rows_of(shape)]
        raise DataError(
            f"{dataset.source} has rows of shape {shape}, but model.builder {builder.name} takes "
            f"{builder.rows_in_words}",
            advice=f"For these rows there is model.builder: {' or '.join(fitting)}.",
        )
    if builder is CNN and is_channels_first(shape):
        raise DataError(
            f"{dataset.source} has rows of shape {shape}, which are images with their channels first; model.builder "
            "cnn takes (height, width, channels)",
            advice="numpy.moveaxis(x, 1, -1) puts the channels last. If they are none, mlp or a model of your own "
            "takes the rows as they are.",
        )
