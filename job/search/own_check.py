"""Trying the user's own model before the search: in a process of its own, on one batch.

What is wrong with it is told by its own file and line, before any trial is started; and its space is found out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from job.errors import JobError, ModelCodeError, Problem, SpecError
from job.logs import get_logger
from job.own_code import run_contained
from job.search.fork_server import end_fork_server, worker_context
from job.search.trial_plan import TrialPlan
from job.spec.objectives import objective_of
from job.spec.sections import Objective
from job.target import Target

if TYPE_CHECKING:
    import keras
    import keras_tuner

    from job.data import Dataset, Preparation
    from job.data.nested import Nested
    from job.models import OwnModel
    from job.models.answers import Answers

# However long a trial may take: importing TensorFlow, and compiling a large model once.
_PATIENCE_SECONDS = 900.0
# Rows that the published form of the model is tried on.
_RAW_ROWS = 32
# What the number is called that a `fit` of the user's own returns, as KerasTuner calls it.
RETURNED = "default_objective"
# Configurations that are tried besides the default values.
_DRAWS = 3


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


def checked_plan(plan: TrialPlan, dataset: "Dataset") -> "tuple[TrialPlan, Dataset]":
    """The plan with the space that the user's code declares; it has built, trained, scored and saved models.

    Args:
        plan: of a model of the user's own.
        dataset: what it is trained on; its test rows are not looked at.

    Returns:
        The plan, and the data set, whose task follows the model where the targets alone left it open.

    Raises:
        ModelCodeError: the code does not work, by the user's own file and line.
        SpecError: the spec's `space` does not fit what the code declares.
    """
    if plan.code is None:
        return plan, dataset
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
    return _decided(replace(plan, space=checked.space), dataset, checked)


def _decided(plan: TrialPlan, dataset: "Dataset", checked: CheckedModel) -> "tuple[TrialPlan, Dataset]":
    """What the model says of its task and its objective."""
    target = _followed(plan, dataset, checked)
    if target is not None:
        reason = "a loss of numbers" if target.task == "regression" else "a loss of classes"
        get_logger().info("task taken from the model", task=target.task, reason=f"it has {reason}")
        note = f"the targets are for a {target.task} all the same: the model has {reason} (data.task)"
        dataset = replace(dataset, target=target, notes=(*dataset.notes, note))
        plan = replace(plan, target=target)
    if plan.spec.search.objective == "auto":
        objective = objective_of(plan.spec.search, plan.target, built_in=False)
        if target is not None and objective.name not in checked.logged:
            objective = Objective(name="val_loss", direction="min")
        if checked.returns_number:
            objective = Objective(name=RETURNED, direction="min")
            get_logger().info("the number that fit returns is the objective; less of it is better")
        plan = replace(plan, objective=objective.name, direction=objective.direction)
    return plan, dataset


def _followed(plan: TrialPlan, dataset: "Dataset", checked: CheckedModel) -> Target | None:
    """The target as the model takes it; None where it is as it was guessed, or as the spec says it.

    Whole numbers may be classes as well as ratings, few or many of them: unless the spec says it, the model does.
    """
    from job.data.targets import numbered_classes, with_scale  # noqa: PLC0415 - with it comes NumPy

    if _is_stated(plan):
        return None
    if _learns_numbers(plan, checked.answers):
        return with_scale(Target("regression"), dataset.train.y.reshape(-1).astype("float32"))
    if checked.answers == "classes" and plan.target.task == "regression":
        return numbered_classes(dataset.train_and_validation.y, dataset.test.y)
    return None


def _is_stated(plan: TrialPlan) -> bool:
    return plan.spec.data.task != "auto" or plan.class_weight is not None


def _learns_numbers(plan: TrialPlan, answers: "Answers | None") -> bool:
    """Whether a model takes for numbers what by the labels alone may be classes."""
    return not _is_stated(plan) and answers == "numbers" and plan.target.has_numbers


def check_model(report: Callable[[str], None], plan: TrialPlan, samples: Samples) -> CheckedModel:
    """Load, declare, build, train, score and publish: what `checked_plan` does in a process of its own.

    It is what trials and the retraining do, on a few rows: with default values, and with a few that are drawn.

    Args:
        report: told what is being done.
        plan: see there.
        samples: raw rows, and how they are prepared.
    """
    from job.training.device import prepare_process  # noqa: PLC0415 - TensorFlow, in this process alone

    prepare_process(threads=plan.spec.resources.threads_per_trial)
    import keras  # noqa: PLC0415 - likewise

    from job.models import NarrowedHyperParameters, OwnModel, discover  # noqa: PLC0415
    from job.models.answers import answers_of  # noqa: PLC0415

    # Filtered, an error has lost the lines that led to it.
    keras.config.disable_traceback_filtering()
    report("loaded")
    model_code = plan.hypermodel()
    if not isinstance(model_code, OwnModel):
        raise TypeError("only the user's own models need this")
    report("asked for a model")
    hp = NarrowedHyperParameters(plan.spec.space)
    model = _built(model_code, hp, plan)
    trying = _Trying(model_code, plan, report)
    trying.fits(model, hp)
    tried = trying.trained(hp.values)
    report("asked for its hyperparameters")
    found = discover(
        lambda more: _built(model_code, more, plan), plan.spec.space, first=hp, of_fit=model_code.declared_in_fit
    )
    if found.problems:
        raise SpecError(found.problems)
    _require_a_plan(plan, found.space)
    _require_a_used_batch_size(plan, model_code, {entry.name for entry in (*hp.space, *model_code.declared_in_fit)})
    cores = [tried.model, *trying.drawn(found.space)]
    return CheckedModel(
        space=found.space.get_config(),
        entries=_in_words(found.space),
        parameters=int(tried.model.count_params()),
        needs_code=trying.published(cores, samples),
        returns_number=tried.returns_number,
        answers=answers_of(tried.model),
        logged=tried.logged,
    )


def _built(model_code: "OwnModel", hp: "keras_tuner.HyperParameters", plan: TrialPlan) -> "keras.Model":
    import keras  # noqa: PLC0415 - see check_model

    from job.training.engine import computing_in  # noqa: PLC0415

    keras.utils.set_random_seed(plan.spec.seed % 2**32)
    with computing_in(plan.spec.training.precision):
        return model_code.checked_build(hp)


@dataclass(frozen=True, slots=True)
class _Tried:
    model: "keras.Model"
    returns_number: bool
    logged: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Trying:
    """Models of the user's code, tried step by step; what goes wrong is told by the user's own line."""

    code: "OwnModel"
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

    def fits(self, model: "keras.Model", hp: "keras_tuner.HyperParameters") -> None:
        """Require that the outputs fit the targets, as far as a loss of Keras's needs it."""
        from job.models.fitting import shape_problem  # noqa: PLC0415 - see check_model
        from job.training.engine import computing_in  # noqa: PLC0415
        from job.training.rows import gathered  # noqa: PLC0415

        if not _is_plain(model) or self.code.has_own_fit:
            return
        size = self.code.batch_size(hp.values)
        x, *rest = self.plan.open(size).train.batch(gathered, slice(0, size))
        with computing_in(self.plan.spec.training.precision), self._blaming("called on one batch"):
            outputs = model(x, training=False)
        target, stated = self.plan.target, _is_stated(self.plan)
        problem = shape_problem(model, outputs, rest[0] if rest else None, target, stated=stated)
        if problem is not None:
            raise ModelCodeError(self.code.located(problem))

    def trained(self, values: Mapping[str, Any]) -> _Tried:
        """Train an epoch of two steps, as a trial does, and score it; the objective must be among what is logged."""
        from job.models.answers import answers_of  # noqa: PLC0415 - see check_model
        from job.training.building import build_model, own_fit  # noqa: PLC0415 - see check_model
        from job.training.engine import open_engine  # noqa: PLC0415
        from job.training.fit import FitEpochs  # noqa: PLC0415
        from job.training.objective import completed  # noqa: PLC0415
        from job.training.own_fit import Stretch  # noqa: PLC0415

        size = self.code.batch_size(values)
        setting = self.plan.open(size + 1)
        engine_of = partial(build_model, self.code, dict(values), self.plan.spec.seed)
        fit = own_fit(self.code, dict(values))
        logs: dict[str, float] = {}
        number = None
        with self._blaming("trained on one batch"):
            engine = open_engine(
                engine_of,
                setting.train,
                setting.validation,
                size,
                compile_mode=setting.compile_mode,
                precision=setting.precision,
                own_fit=fit,
            )
            if isinstance(engine, FitEpochs) and engine.has_own_fit:
                result = engine.train_stretch(Stretch(self.plan.spec.seed, 0, 1, logs.update))
                number = result.number
                logs |= result.logs[-1] if result.logs else {}
            else:
                logs = engine.train(engine.order(self.plan.spec.seed, 0))
        with self._blaming("scored on one batch"):
            if number is None:
                logs = completed(logs, setting, engine) if fit is not None else logs | engine.validate()
        if number is None:
            self._require_objective(logs, answers_of(engine.model))
        return _Tried(engine.model, number is not None, frozenset(logs))

    def _require_objective(self, logs: Mapping[str, float], answers: "Answers | None") -> None:
        deciding = [term.name for term in self.plan.spec.search.objective_terms] or [self.plan.objective]
        missing = [name for name in deciding if name not in logs]
        if self.plan.spec.search.objective == "auto" and _learns_numbers(self.plan, answers):
            # The objective will be that of the task that the model has.
            missing = [] if "val_loss" in logs else missing
        if not missing:
            return
        found = f"the model does not log {missing[0]}, the objective, but {', '.join(sorted(logs))}"
        raise ModelCodeError(
            self.code.located(found),
            advice="model.compile(metrics=[…]) says what is logged; search.objective names one of it.",
        )

    def drawn(self, space: "keras_tuner.HyperParameters") -> Iterator["keras.Model"]:
        """Models with a few other values, each trained a step; values that the code refuses are a trial's affair."""
        from job.search.sampling import AddressedSampler  # noqa: PLC0415 - see check_model

        sampler = AddressedSampler(space, self.plan.spec.seed)
        for number in range(_DRAWS):
            values = sampler.draw(number)
            if values is None:
                return
            try:
                yield self.trained(values).model
            except ModelCodeError as error:
                get_logger().debug("a drawn configuration does not work", hyperparameters=values, reason=error.message)

    def published(self, cores: "Sequence[keras.Model]", samples: Samples) -> bool:
        """Publish the models as they would be published, and load them again; whether that needs the user's code."""
        from job.export.proof import require_faithful  # noqa: PLC0415 - see check_model

        with self._blaming("saved", "the model cannot be published: "):
            return require_faithful(
                cores, samples.preparation, samples.raw, self.code.code, dict(self.code.custom_objects())
            )


def _is_plain(model: "keras.Model") -> bool:
    """Whether calling the model on inputs alone is what its training does."""
    import keras  # noqa: PLC0415 - see check_model

    steps = {getattr(kind, "train_step") for kind in (keras.Model, keras.Sequential)}  # noqa: B009 - of a class
    return type(model).train_step in steps


def _require_a_used_batch_size(plan: TrialPlan, code: "OwnModel", declared: set[str]) -> None:
    """Refuse a size of a batch that only the spec names, and that a `fit` of the user's own would never hear of."""
    from job.models.own_space import BATCH_SIZE  # noqa: PLC0415 - see check_model

    if code.has_own_fit and BATCH_SIZE in plan.spec.space and BATCH_SIZE not in {*declared, *code.fit_parameters}:
        message = "the model's own fit neither declares it nor names it among its parameters: it would have no effect"
        raise SpecError([Problem(f"space.{BATCH_SIZE}", message)])


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
    from job.models.declaring import declared_entry  # noqa: PLC0415 - see check_model
    from job.plan import values_in_words  # noqa: PLC0415

    entries: dict[str, str] = {}
    for entry in space.space:
        conditions = " and ".join(
            f"{one.name} {' or '.join(str(value) for value in one.values)}" for one in entry.conditions
        )
        words = values_in_words(declared_entry(entry)) + (f", with {conditions}" if conditions else "")
        entries[entry.name] = f"{entries[entry.name]}; {words}" if entry.name in entries else words
    return entries
