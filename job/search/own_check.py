"""Trying the user's own model before the search: in a process of its own, on one batch.

What is wrong with it is told by its own file and line, before any trial is started; and its space is found out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from job.errors import JobError, ModelCodeError, SpecError
from job.logs import get_logger
from job.own_code import run_contained
from job.search.fork_server import end_fork_server, worker_context
from job.search.trial_plan import TrialPlan

if TYPE_CHECKING:
    import keras
    import keras_tuner

    from job.data import Dataset, Preparation, Rows
    from job.data.nested import Nested
    from job.models import OwnModel

# However long a trial may take: importing TensorFlow, and compiling a large model once.
_PATIENCE_SECONDS = 900.0
# Rows that the published form of the model is tried on.
_RAW_ROWS = 32
# How many configurations besides the default values are tried in that form.
_DRAWS = 3


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """What is known of a model that works.

    Attributes:
        space: KerasTuner's configuration of the frozen space.
        entries: the space in words.
        parameters: how many the model has with default values.
        needs_code: whether `model.keras` loads only where the user's own classes are.
    """

    space: Mapping[str, Any]
    entries: Mapping[str, str]
    parameters: int
    needs_code: bool


@dataclass(frozen=True, slots=True)
class Samples:
    """A few validation rows as they are in the source, and how rows are prepared."""

    preparation: "Preparation"
    raw: "Nested"

    @classmethod
    def of(cls, dataset: "Dataset") -> "Samples":
        """Of a data set; its test rows are not looked at."""
        from job.data.nested import map_leaves  # noqa: PLC0415 - with it comes NumPy

        return cls(dataset.preparation, map_leaves(lambda leaf: leaf[:_RAW_ROWS].copy(), dataset.validation.x))


def checked_plan(plan: TrialPlan, dataset: "Dataset") -> TrialPlan:
    """The plan with the space that the user's code declares; it has built, trained, scored and saved a model.

    Args:
        plan: of a model of the user's own.
        dataset: what it is trained on; its test rows are not looked at.

    Raises:
        ModelCodeError: the code does not work, by the user's own file and line.
        SpecError: the spec's `space` does not fit what the code declares.
    """
    if plan.code is None:
        return plan
    timeout = plan.spec.limits.trial_timeout
    patience = max(_PATIENCE_SECONDS, 0.0 if timeout is None else timeout.total_seconds())
    try:
        checked = run_contained(
            worker_context(),
            plan.code,
            check_model,
            plan,
            Samples.of(dataset),
            patience=patience,
            level=plan.spec.logs.level,
        )
    except BaseException:
        end_fork_server()
        raise
    if plan.spec.resources.executor == "inline":
        end_fork_server()
    get_logger().info(
        "model checked",
        model=plan.code.shown,
        sha256=plan.code.sha256,
        space=dict(checked.entries),
        parameters=checked.parameters,
        needs_code=checked.needs_code,
    )
    return replace(plan, space=checked.space)


def check_model(report: Callable[[str], None], plan: TrialPlan, samples: Samples) -> CheckedModel:
    """Load, declare, build, train and score one batch, save: what `checked_plan` does in a process of its own.

    Args:
        report: told what is being done.
        plan: see there.
        samples: raw rows, and how they are prepared.
    """
    from job.training.device import prepare_process  # noqa: PLC0415 - TensorFlow, in this process alone

    prepare_process(threads=plan.spec.resources.threads_per_trial)
    import keras  # noqa: PLC0415 - likewise

    from job.models import NarrowedHyperParameters, OwnModel, discover  # noqa: PLC0415

    # Filtered, an error has lost the lines that led to it.
    keras.config.disable_traceback_filtering()
    report("loaded")
    model_code = plan.hypermodel()
    if not isinstance(model_code, OwnModel):
        raise TypeError("only the user's own models need this")
    report("asked for a model")
    hp = NarrowedHyperParameters(plan.spec.space)
    model = _built(model_code, hp, plan)
    tried = _Trying(model_code, model, plan, report)
    tried.one_batch(hp)
    report("asked for its hyperparameters")
    found = discover(lambda more: _built(model_code, more, plan), plan.spec.space, first=hp)
    if found.problems:
        raise SpecError(found.problems)
    _require_a_plan(plan, found.space)
    report("saved")
    needs_code = tried.require_faithful(samples, found.space)
    return CheckedModel(
        space=found.space.get_config(),
        entries=_in_words(found.space),
        parameters=int(model.count_params()),
        needs_code=needs_code,
    )


def _built(model_code: "OwnModel", hp: "keras_tuner.HyperParameters", plan: TrialPlan) -> "keras.Model":
    import keras  # noqa: PLC0415 - see check_model

    from job.training.engine import computing_in  # noqa: PLC0415

    keras.utils.set_random_seed(plan.spec.seed % 2**32)
    with computing_in(plan.spec.training.precision):
        return model_code.checked_build(hp)


@dataclass(frozen=True, slots=True)
class _Trying:
    """One model, tried step by step; what goes wrong is told by the user's own line."""

    code: "OwnModel"
    model: "keras.Model"
    plan: TrialPlan
    report: Callable[[str], None]

    @contextmanager
    def _blaming(self, doing: str, prefix: str = "") -> Iterator[None]:
        self.report(doing)
        try:
            yield
        except JobError:
            raise
        # An exit would end this process without a word.
        except (Exception, SystemExit) as error:
            raise ModelCodeError(prefix + self.code.explain(error)) from error

    def one_batch(self, hp: "keras_tuner.HyperParameters") -> None:
        """Train on a batch and score on another; the objective must be among what is logged."""
        import numpy as np  # noqa: PLC0415 - see check_model

        from job.data.nested import map_leaves, row_count  # noqa: PLC0415
        from job.training.building import bound_fit  # noqa: PLC0415
        from job.training.engine import computing_in  # noqa: PLC0415
        from job.training.fit import FitEpochs  # noqa: PLC0415
        from job.training.rows import place_rows  # noqa: PLC0415

        size = self.code.batch_size(hp.values)
        train, validation = (self._first(rows, size) for rows in self._rows())
        with computing_in(self.plan.spec.training.precision):
            with self._blaming("called on one batch"):
                outputs = self.model(map_leaves(np.asarray, train.x), training=False) if self._is_plain() else None
            self._require_fitting(outputs, train.y)
            fit = bound_fit(self.code, hp, self.model) if hasattr(self.code, "fit_parameters") else None
            with self._blaming("trained on one batch"):
                engine = FitEpochs(self.model, place_rows(train), place_rows(validation), size, fit=fit)
                logs = engine.train(np.arange(row_count(train.x)))
            with self._blaming("scored on one batch"):
                logs |= engine.validate()
        if self.plan.objective not in logs:
            raise ModelCodeError(
                self.code.located(
                    f"the model does not log {self.plan.objective}, the objective, but {', '.join(sorted(logs))}"
                ),
                advice="model.compile(metrics=[…]) says what is logged; search.objective names one of it.",
            )

    def _rows(self) -> "tuple[Rows, Rows]":
        from job.data.nested import row_count  # noqa: PLC0415 - see check_model

        train, validation = self.plan.files.open_train(), self.plan.files.open_validation()
        return train, validation if row_count(validation.x) else train

    @staticmethod
    def _first(rows: "Rows", count: int) -> "Rows":
        return rows.part(slice(0, count))

    def _is_plain(self) -> bool:
        """Whether calling the model on inputs alone is what its training does."""
        import keras  # noqa: PLC0415 - see check_model

        steps = {getattr(kind, "train_step") for kind in (keras.Model, keras.Sequential)}  # noqa: B009 - of a class
        return type(self.model).train_step in steps

    def _require_fitting(self, outputs: "Nested", y: "Nested") -> None:
        from job.models.fitting import shape_problem  # noqa: PLC0415 - see check_model

        problem = None if outputs is None else shape_problem(self.model, outputs, y, self.plan.target)
        if problem is not None:
            raise ModelCodeError(self.code.located(problem))

    def require_faithful(self, samples: Samples, space: "keras_tuner.HyperParameters") -> bool:
        """See that what would be published is what was trained, with default values and with others of the space.

        Returns:
            Whether what is published needs the user's code.
        """
        from job.export.proof import require_faithful  # noqa: PLC0415 - see check_model

        cores = [self.model, *(self._trained(space, number) for number in range(_DRAWS))]
        with self._blaming("saved", "the model cannot be published: "):
            return require_faithful(cores, samples.preparation, samples.raw, self.code.code, self.code.custom_objects())

    def _trained(self, space: "keras_tuner.HyperParameters", number: int) -> "keras.Model":
        import keras_tuner  # noqa: PLC0415 - see check_model

        hp = keras_tuner.HyperParameters.from_config(space.get_config())
        for entry in hp.space:
            if hp.is_active(entry):
                hp.values[entry.name] = entry.random_sample(number)
        drawn = replace(self, model=_built(self.code, hp, self.plan))
        drawn.one_batch(hp)
        return drawn.model


def _require_a_plan(plan: TrialPlan, space: "keras_tuner.HyperParameters") -> None:
    """A grid must end; and a space that is too small for the search is worth a word."""
    from job.search.algorithms import planned_over  # noqa: PLC0415 - see check_model
    from job.search.sampling import count_points  # noqa: PLC0415

    schedule, points = planned_over(plan.spec, space), count_points(space)
    if points is not None and points < schedule.configurations:
        get_logger().warning(
            "the space has fewer points than the search starts configurations: each is tried once",
            points=points,
            configurations=schedule.configurations,
        )


def _in_words(space: "keras_tuner.HyperParameters") -> dict[str, str]:
    from job.models.own_space import declared_entry  # noqa: PLC0415 - see check_model
    from job.plan import values_in_words  # noqa: PLC0415

    entries: dict[str, str] = {}
    for entry in space.space:
        conditions = " and ".join(
            f"{one.name} {' or '.join(str(value) for value in one.values)}" for one in entry.conditions
        )
        words = values_in_words(declared_entry(entry)) + (f", with {conditions}" if conditions else "")
        entries[entry.name] = f"{entries[entry.name]}; {words}" if entry.name in entries else words
    return entries
