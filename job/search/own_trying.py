"""What `job.search.own_check` has done in a process of its own: the user's model is tried step by step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import keras_tuner

from job.errors import JobError, ModelCodeError, Problem, SpecError
from job.export.proof import require_faithful
from job.export.reader import Reader
from job.logs import get_logger
from job.models import NarrowedHyperParameters, OwnModel, discover
from job.models.answers import Answers, answers_of
from job.models.declaring import declared_entry
from job.models.fitting import shape_problem
from job.models.own_space import BATCH_SIZE
from job.plan import values_in_words
from job.search.algorithms import planned_over
from job.search.checked_model import CheckedModel, Samples, is_stated, learns_numbers
from job.search.sampling import AddressedSampler, count_points
from job.search.trial_plan import TrialPlan
from job.training.building import build_model, own_fit
from job.training.device import prepare_process
from job.training.engine import computing_in, open_engine
from job.training.fit import FitEpochs
from job.training.objective import completed
from job.training.own_fit import Stretch
from job.training.rows import gathered

# Configurations that are tried besides the default values.
_DRAWS = 3


def check_model(report: Callable[[str], None], plan: TrialPlan, samples: Samples, reader: Reader) -> CheckedModel:
    """Load, declare, build, train, score and publish: what `checked_plan` does in a process of its own.

    It is what trials and the retraining do, on a few rows: with default values, and with a few that are drawn.

    Args:
        report: told what is being done.
        plan: see there.
        samples: raw rows, and how they are prepared.
        reader: loads what is published.
    """
    prepare_process(threads=plan.spec.resources.threads_per_trial)
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
        needs_code=trying.published(cores, samples, reader),
        returns_number=tried.returns_number,
        answers=answers_of(tried.model),
        logged=tried.logged,
    )


def _built(model_code: OwnModel, hp: keras_tuner.HyperParameters, plan: TrialPlan) -> keras.Model:

    keras.utils.set_random_seed(plan.spec.seed % 2**32)
    with computing_in(plan.spec.training.precision):
        return model_code.checked_build(hp)


@dataclass(frozen=True, slots=True)
class _Tried:
    model: keras.Model
    returns_number: bool
    logged: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Trying:
    """Models of the user's code, tried step by step; what goes wrong is told by the user's own line."""

    code: OwnModel
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

    def fits(self, model: keras.Model, hp: keras_tuner.HyperParameters) -> None:
        """Require that the outputs fit the targets, as far as a loss of Keras's needs it."""
        if not _is_plain(model) or self.code.has_own_fit:
            return
        size = self.code.batch_size(hp.values)
        x, *rest = self.plan.open(size).train.batch(gathered, slice(0, size))
        with computing_in(self.plan.spec.training.precision), self._blaming("called on one batch"):
            outputs = model(x, training=False)
        target, stated = self.plan.target, is_stated(self.plan)
        problem = shape_problem(model, outputs, rest[0] if rest else None, target, stated=stated)
        if problem is not None:
            raise ModelCodeError(self.code.located(problem))

    def trained(self, values: Mapping[str, Any]) -> _Tried:
        """Train an epoch of two steps, as a trial does, and score it; the objective must be among what is logged."""
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

    def _require_objective(self, logs: Mapping[str, float], answers: Answers | None) -> None:
        deciding = [term.name for term in self.plan.spec.search.objective_terms] or [self.plan.objective]
        missing = [name for name in deciding if name not in logs]
        if self.plan.spec.search.objective == "auto" and learns_numbers(self.plan, answers):
            # The objective will be that of the task that the model has.
            missing = [] if "val_loss" in logs else missing
        if not missing:
            return
        found = f"the model does not log {missing[0]}, the objective, but {', '.join(sorted(logs))}"
        raise ModelCodeError(
            self.code.located(found),
            advice="model.compile(metrics=[…]) says what is logged; search.objective names one of it.",
        )

    def drawn(self, space: keras_tuner.HyperParameters) -> Iterator[keras.Model]:
        """Models with a few other values, each trained a step; values that the code refuses are a trial's affair."""
        sampler = AddressedSampler(space, self.plan.spec.seed)
        for number in range(_DRAWS):
            values = sampler.draw(number)
            if values is None:
                return
            try:
                yield self.trained(values).model
            except ModelCodeError as error:
                get_logger().debug("a drawn configuration does not work", hyperparameters=values, reason=error.message)

    def published(self, cores: Sequence[keras.Model], samples: Samples, reader: Reader) -> bool:
        """Publish the models as they would be published, and load them again; whether that needs the user's code."""
        with self._blaming("saved", "the model cannot be published: "):
            return require_faithful(cores, samples.preparation, samples.raw, reader, dict(self.code.custom_objects()))


def _is_plain(model: keras.Model) -> bool:
    """Whether calling the model on inputs alone is what its training does."""
    steps = {getattr(kind, "train_step") for kind in (keras.Model, keras.Sequential)}  # noqa: B009 - of a class
    return type(model).train_step in steps


def _require_a_used_batch_size(plan: TrialPlan, code: OwnModel, declared: set[str]) -> None:
    """Refuse a size of a batch that only the spec names, and that a `fit` of the user's own would never hear of."""
    if code.has_own_fit and BATCH_SIZE in plan.spec.space and BATCH_SIZE not in {*declared, *code.fit_parameters}:
        message = "the model's own fit neither declares it nor names it among its parameters: it would have no effect"
        raise SpecError([Problem(f"space.{BATCH_SIZE}", message)])


def _require_a_plan(plan: TrialPlan, space: keras_tuner.HyperParameters) -> None:
    """A grid must end; and a space that is too small for the search is worth a word."""
    schedule, points = planned_over(plan.spec, space), count_points(space)
    if points is not None and points < schedule.configurations:
        get_logger().warning(
            "the space has fewer points than the search starts configurations: each is tried once",
            points=points,
            configurations=schedule.configurations,
        )


def _in_words(space: keras_tuner.HyperParameters) -> dict[str, str]:

    entries: dict[str, str] = {}
    for entry in space.space:
        conditions = " and ".join(
            f"{one.name} {' or '.join(str(value) for value in one.values)}" for one in entry.conditions
        )
        words = values_in_words(declared_entry(entry)) + (f", with {conditions}" if conditions else "")
        entries[entry.name] = f"{entries[entry.name]}; {words}" if entry.name in entries else words
    return entries
