"""The user's own model: `build_model(hp)`, or a KerasTuner HyperModel."""

import copy
import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner

from job.data.nested import Nested
from job.errors import JobError
from job.logs import get_logger
from job.models.own_space import BATCH_SIZE
from job.models.tunable import TunableModel
from job.own_code import OwnCode, Place, code_error, describe, describe_at, load_object, objects_by_name, place_of
from job.spaces import Scalar
from job.target import Target

DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Facts:
    """What code may ask to be given, by naming it among its parameters.

    Attributes:
        input_shape: of one prepared row; nested as the inputs are.
        classes: how many classes there are; None unless the task is a classification.
    """

    input_shape: Nested
    classes: int | None

    @classmethod
    def of(cls, input_shape: Nested, target: Target) -> "Facts":
        """From what is known of the data."""
        return cls(input_shape, None if target.class_names is None else len(target.class_names))

    def named_by(self, signature: inspect.Signature) -> dict[str, Any]:
        """Those that a function names."""
        given = {"input_shape": self.input_shape, "classes": self.classes}
        return {name: value for name, value in given.items() if name in signature.parameters}


class OwnModel(TunableModel):
    """The user's builder, loaded.

    Args:
        code: where it comes from.
        build: what makes a model.
        place: where that is defined.
        facts: what it is given besides.
        frozen: the space as KerasTuner's configuration of it; None while it is being found out.
    """

    def __init__(
        self,
        code: OwnCode,
        build: Callable[..., Any],
        place: Place | None,
        facts: Mapping[str, Any],
        frozen: Mapping[str, Any] | None,
    ) -> None:
        super().__init__(name=code.function, tunable=True)
        self.code = code
        self.place = place
        self._own_build = build
        self._facts = facts
        # KerasTuner changes the configuration that it reads.
        self._frozen = None if frozen is None else keras_tuner.HyperParameters.from_config(copy.deepcopy(dict(frozen)))
        self._late: set[str] = set()

    def declare(self, hp: keras_tuner.HyperParameters) -> Mapping[str, Any]:
        """Declare the frozen space; returns the current values. Runs none of the user's code."""
        if self._frozen is None:
            raise RuntimeError("the space of the user's code is not known yet")
        hp.merge(self._frozen)
        return dict(hp.values)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """What the user's code makes of the values. Raises whatever that raises, but never ends the process."""
        try:
            model = self._own_build(hp, **self._facts)
        except SystemExit as error:
            raise RuntimeError(f"the code ends the process (sys.exit, code {error.code})") from error
        self._report_late(hp)
        return model

    def checked_build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Like `build`, and the model is one that can be trained.

        Raises:
            ModelCodeError: it is not, or the code raised; with the user's own line.
        """
        try:
            model = self.build(hp)
        except JobError:
            raise
        except Exception as error:
            raise code_error("model", self.explain(error)) from error
        if not isinstance(model, keras.Model):
            kind = "None" if model is None else type(model).__name__
            raise code_error(
                "model", self.located(f"expected a keras.Model, and the function returns {kind}"), advice=_advice(model)
            )
        if not model.compiled:
            raise code_error(
                "model",
                self.located("the model is not compiled"),
                advice="Call model.compile(optimizer=…, loss=…, metrics=[…]) before you return it.",
            )
        return model

    def explain(self, error: BaseException) -> str:
        """What went wrong, by the user's own file and line."""
        return describe(error, self.code, self.place)

    def located(self, finding: str) -> str:
        """A finding of ours about the whole builder."""
        return describe_at(finding, self.code, self.place)

    def _report_late(self, hp: keras_tuner.HyperParameters) -> None:
        if self._frozen is None:
            return
        known = {entry.name for entry in self._frozen.space}
        for entry in hp.space:
            if entry.name not in known and entry.name not in self._late:
                self._late.add(entry.name)
                get_logger().warning(
                    "a hyperparameter was declared after the search began: it is not searched, and has its default",
                    name=entry.name,
                    value=hp.values.get(entry.name),
                )

    # What a `fit` of the user's own has declared when it was last called.
    declared_in_fit: tuple[Any, ...] = ()

    @property
    def fit_parameters(self) -> Mapping[str, inspect.Parameter]:
        """What a `fit` of the user's own takes after `hp` and `model`; empty where there is none."""
        return {}

    @property
    def has_own_fit(self) -> bool:
        """Whether a `fit` of the user's own trains."""
        return False

    def graph_key(self, values: Mapping[str, Scalar]) -> Hashable:
        """None: which values change the graph is not known."""
        del values
        return None

    def batch_size(self, values: Mapping[str, Scalar]) -> int:
        """The hyperparameter `batch_size`, where there is one."""
        return int(values.get(BATCH_SIZE, DEFAULT_BATCH_SIZE))

    def custom_objects(self) -> Mapping[str, Any]:
        """The user's classes and functions, for Keras to find by name."""
        return objects_by_name(self.code)


class OwnModelWithFit(OwnModel):
    """A HyperModel of the user's that trains in its own way, a stretch of epochs per call."""

    def __init__(self, *arguments: Any, fit: Callable[..., Any]) -> None:  # noqa: ANN401 - see OwnModel
        super().__init__(*arguments)
        self._own_fit = fit
        self._failed_in_fit: BaseException | None = None
        self.declared_in_fit: tuple[Any, ...] = ()

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - KerasTuner's
        """A stretch of epochs by the user's code."""
        try:
            return self._own_fit(hp, model, *args, **kwargs)
        except SystemExit as error:
            raise RuntimeError(f"the code ends the process (sys.exit, code {error.code})") from error
        except Exception as error:
            self._failed_in_fit = error
            raise
        finally:
            self.declared_in_fit = tuple(hp.space)

    @property
    def has_own_fit(self) -> bool:
        """It does."""
        return True

    def explain(self, error: BaseException) -> str:
        """What went wrong, by the user's own file and line: what `fit` raised is not `build`'s."""
        place = place_of(self._own_fit) if error is self._failed_in_fit else self.place
        return describe(error, self.code, place)

    @property
    def fit_parameters(self) -> Mapping[str, inspect.Parameter]:
        """What the user's `fit` takes after `hp` and `model`."""
        return dict(list(inspect.signature(self._own_fit).parameters.items())[2:])


def open_own_model(code: OwnCode, facts: Facts, frozen: Mapping[str, Any] | None = None) -> OwnModel:
    """Load the user's code, and see that it is a builder.

    Args:
        code: at hand.
        facts: what it may ask for.
        frozen: the space, once it is known.

    Raises:
        ModelCodeError: it cannot be loaded, or is no builder; with the user's own line.
    """
    found = load_object(code)
    place = place_of(found)
    hypermodel: Any = None
    given: dict[str, Any] = {}
    if isinstance(found, type) and issubclass(found, keras_tuner.HyperModel):
        given = _given(code, found, place, facts)
        try:
            hypermodel = found(**given)
        except (Exception, SystemExit) as error:
            raise code_error("model", describe(error, code, place)) from error
    elif isinstance(found, keras_tuner.HyperModel):
        hypermodel, place = found, place_of(type(found))
    if hypermodel is None:
        if not callable(found) or isinstance(found, type):
            message = f"{code.function} is no function build_model(hp) and no keras_tuner.HyperModel"
            raise code_error("model", describe_at(message, code, place or Place(code.file, 1)))
        return OwnModel(code, found, place, _given(code, found, place, facts, hp=True), frozen)
    # KerasTuner hides a subclass's own build behind a wrapper.
    own_build = type(hypermodel).build
    place = place_of(own_build) or place
    build = _declaring(hypermodel)
    if type(hypermodel).fit is keras_tuner.HyperModel.fit:
        return OwnModel(code, build, place, {}, frozen)
    return OwnModelWithFit(code, build, place, {}, frozen, fit=hypermodel.fit)


def _declaring(hypermodel: keras_tuner.HyperModel) -> Callable[[keras_tuner.HyperParameters], Any]:
    """Its `build`, after what it declares apart from that."""

    def build(hp: keras_tuner.HyperParameters) -> Any:  # noqa: ANN401 - of the user's code
        hypermodel.declare_hyperparameters(hp)
        return hypermodel.build(hp)

    return build


def _given(code: OwnCode, function: Any, place: Place | None, facts: Facts, *, hp: bool = False) -> dict[str, Any]:  # noqa: ANN401 - whatever the user has written
    """The facts that a function or class names; everything else it must do without."""
    signature = inspect.signature(function)
    given = facts.named_by(signature)
    try:
        signature.bind(*([None] if hp else []), **given)
    except TypeError as error:
        called = f"{code.function}({'hp' if hp else ''})"
        message = f"it cannot be called as {called}: {error}; found {code.function}{signature}"
        raise code_error(
            "model",
            describe_at(message, code, place),
            advice="Besides hp it may name input_shape and classes, and is then given these." if hp else None,
        ) from error
    return given


def _advice(model: object) -> str | None:
    return "Does it end without a return?" if model is None else None
