"""Search spaces as data: the entries of a spec's `space`, and what each built-in builder can be given.

`validate` and `plan` know both without TensorFlow; `job.models` builds from them. Entries and field names are
KerasTuner's (`keras_tuner.HyperParameters.Int`, `Float`, `Choice`, `Boolean`, `Fixed`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Scalar = bool | int | float | str
Sampling = Literal["linear", "log", "reverse_log"]

# Relative error allowed when a step is checked against its range: steps such as 0.1 have no exact binary form.
_STEP_TOLERANCE = 1e-9


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    parent_name: str | None = Field(
        default=None, description="The entry that decides whether this one is active."
    )
    parent_values: tuple[Scalar, ...] | None = Field(
        default=None, strict=False, description="The parent's values with which this entry is active."
    )

    @model_validator(mode="after")
    def _parent_is_whole(self) -> Self:
        if (self.parent_name is None) != (self.parent_values is None):
            raise ValueError("parent_name and parent_values belong together: give both or neither")
        return self

    def size(self) -> int | None:
        """How many values the entry can take; None for a continuous range."""
        raise NotImplementedError


class _NumericalEntry(_Entry):
    sampling: Sampling = Field(default="linear", description="How a range is sampled.")

    def _check_range(
        self, minimum: float, maximum: float, step: float | None, default: float | None
    ) -> None:
        if minimum > maximum:
            raise ValueError(f"min_value {minimum} is greater than max_value {maximum}")
        if self.sampling != "linear" and minimum <= 0:
            raise ValueError(f"sampling {self.sampling!r} needs min_value above 0, found {minimum}")
        if default is not None and not minimum <= default <= maximum:
            raise ValueError(f"default {default} lies outside {minimum} to {maximum}")
        if step is None:
            return
        if step <= (0 if self.sampling == "linear" else 1):
            raise ValueError(
                f"step {step} must be above {0 if self.sampling == 'linear' else 1} with sampling "
                f"{self.sampling!r}"
            )
        if minimum < maximum:
            self._check_step_fits(minimum, maximum, step)

    def _check_step_fits(self, minimum: float, maximum: float, step: float) -> None:
        steps = self._steps(minimum, maximum, step)
        if abs(steps - round(steps)) > _STEP_TOLERANCE * max(1.0, steps) or round(steps) == 0:
            raise ValueError(f"step {step} does not fit: from min_value {minimum} it never meets {maximum}")

    def _steps(self, minimum: float, maximum: float, step: float) -> float:
        if self.sampling == "linear":
            return (maximum - minimum) / step
        return math.log(maximum / minimum) / math.log(step)

    def _count(self, minimum: float, maximum: float, step: float) -> int:
        return round(self._steps(minimum, maximum, step)) + 1


class IntEntry(_NumericalEntry):
    """Whole numbers from `min_value` to `max_value`, both included."""

    type: Literal["int"]
    min_value: int = Field(description="Lower bound, included.")
    max_value: int = Field(description="Upper bound, included.")
    step: int | None = Field(
        default=None, description="Distance between values (a factor with log sampling); default 1."
    )
    default: int | None = Field(default=None, description="The value outside the search.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_range(self.min_value, self.max_value, self.step, self.default)
        return self

    def size(self) -> int | None:
        """How many values the entry can take."""
        if self.step is None:
            return self.max_value - self.min_value + 1
        return self._count(self.min_value, self.max_value, self.step)


class FloatEntry(_NumericalEntry):
    """Numbers from `min_value` to `max_value`."""

    type: Literal["float"]
    min_value: float = Field(description="Lower bound, included.", allow_inf_nan=False)
    max_value: float = Field(description="Upper bound, included.", allow_inf_nan=False)
    step: float | None = Field(
        default=None,
        description="Distance between values (a factor with log sampling); default: continuous.",
        allow_inf_nan=False,
    )
    default: float | None = Field(
        default=None, description="The value outside the search.", allow_inf_nan=False
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_range(self.min_value, self.max_value, self.step, self.default)
        return self

    def size(self) -> int | None:
        """How many values the entry can take; None for a continuous range."""
        if self.min_value == self.max_value:
            return 1
        return None if self.step is None else self._count(self.min_value, self.max_value, self.step)


class ChoiceEntry(_Entry):
    """One of the listed values, all of one type."""

    type: Literal["choice"]
    values: tuple[Scalar, ...] = Field(min_length=1, strict=False, description="The values to choose from.")
    ordered: bool | None = Field(
        default=None, description="Whether the order means something; default: yes for numbers."
    )
    default: Scalar | None = Field(
        default=None, description="The value outside the search; default: the first."
    )

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers_among_floats_are_floats(cls, data: Any) -> Any:
        """`[0.01, 1]` means 0.01 and 1.0; KerasTuner takes one type only."""
        if not isinstance(data, Mapping) or not isinstance(data.get("values"), list | tuple):
            return data
        values = data["values"]
        kinds = {type(value) for value in values}
        return {**data, "values": [float(v) for v in values]} if kinds == {int, float} else data

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = sorted({type(value).__name__ for value in self.values})
        if len(kinds) > 1:
            raise ValueError(f"values must all be of one type, found {' and '.join(kinds)}")
        if len(set(self.values)) < len(self.values):
            raise ValueError("values must differ from each other")
        if self.default is not None and self.default not in self.values:
            raise ValueError(f"default {self.default!r} is not among the values")
        if self.ordered and kinds[0] not in {"int", "float"}:
            raise ValueError("ordered: true needs numbers")
        return self

    def size(self) -> int | None:
        """How many values the entry can take."""
        return len(self.values)


class BooleanEntry(_Entry):
    """True or false."""

    type: Literal["boolean"]
    default: bool = Field(default=False, description="The value outside the search.")

    def size(self) -> int | None:
        """How many values the entry can take."""
        return 2


class FixedEntry(_Entry):
    """One value, not searched. A bare value in a spec means this."""

    type: Literal["fixed"]
    value: Scalar = Field(description="The value.")

    def size(self) -> int | None:
        """How many values the entry can take."""
        return 1


def _spell_out(value: Any) -> Any:
    """A bare value is fixed; a bare list is a choice."""
    if isinstance(value, bool | int | float | str):
        return {"type": "fixed", "value": value}
    if isinstance(value, list | tuple):
        return {"type": "choice", "values": list(value)}
    return value


AnyEntry = IntEntry | FloatEntry | ChoiceEntry | BooleanEntry | FixedEntry
SpaceEntry = Annotated[
    Annotated[AnyEntry, Field(discriminator="type")],
    BeforeValidator(_spell_out),
]
Space = dict[str, SpaceEntry]


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One thing that a built-in builder can be given.

    Attributes:
        entry: what is searched where the spec says nothing; a FixedEntry is the builder's constant.
        kind: the type its values must have.
        minimum, maximum: the values that the builder accepts; `exclusive` excludes the bounds themselves.
        choices: the values that the builder accepts, where they can be listed.
    """

    name: str
    entry: AnyEntry
    kind: type[int] | type[float] | type[str] | type[bool]
    meaning: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Builder:
    """A built-in model builder, declared as data; `job.models` holds the code of the same name."""

    name: str
    meaning: str
    hyperparameters: tuple[Hyperparameter, ...]

    def hyperparameter(self, name: str) -> Hyperparameter | None:
        """The declaration of this name, if the builder has it."""
        return next((h for h in self.hyperparameters if h.name == name), None)

    def resolve(self, space: Mapping[str, AnyEntry]) -> dict[str, AnyEntry]:
        """The entries to search: the builder's own, replaced and added to by the spec's.

        The builder's constants are left out unless the spec names them. An entry follows its parent, as
        KerasTuner requires; otherwise the builder's order holds.
        """
        searched = {
            h.name: space.get(h.name, h.entry)
            for h in self.hyperparameters
            if h.name in space or not isinstance(h.entry, FixedEntry)
        }
        ordered: dict[str, AnyEntry] = {}
        while searched:
            ready = [n for n, e in searched.items() if e.parent_name not in searched]
            # A cycle of parents is a spec error that the checks report; here it must only not hang.
            for name in ready or list(searched):
                ordered[name] = searched.pop(name)
        return ordered

    def constants(self) -> dict[str, Scalar]:
        """The values of what is not searched unless a spec names it."""
        return {h.name: h.entry.value for h in self.hyperparameters if isinstance(h.entry, FixedEntry)}


# The tutorial's space (TensorFlow, "Introduction to the Keras Tuner"): one hidden layer of 32 to 512 units,
# learning rate 1e-2, 1e-3 or 1e-4.
MLP = Builder(
    name="mlp",
    meaning="flatten, hidden dense layers, one output per class (logits); Adam",
    hyperparameters=(
        Hyperparameter(
            "units",
            IntEntry(type="int", min_value=32, max_value=512, step=32),
            int,
            "units of each hidden layer",
            minimum=1,
        ),
        Hyperparameter(
            "learning_rate",
            ChoiceEntry(type="choice", values=(1e-2, 1e-3, 1e-4)),
            float,
            "Adam's learning rate",
            minimum=0.0,
            exclusive=True,
        ),
        Hyperparameter(
            "hidden_layers",
            FixedEntry(type="fixed", value=1),
            int,
            "number of hidden layers",
            minimum=0,
        ),
        Hyperparameter(
            "activation",
            FixedEntry(type="fixed", value="relu"),
            str,
            "activation of the hidden layers",
            choices=("elu", "gelu", "leaky_relu", "relu", "selu", "silu", "sigmoid", "softplus", "tanh"),
        ),
        Hyperparameter(
            "dropout",
            FixedEntry(type="fixed", value=0.0),
            float,
            "share of a hidden layer's outputs dropped in training",
            minimum=0.0,
            maximum=0.95,
        ),
        Hyperparameter(
            "batch_size",
            FixedEntry(type="fixed", value=32),
            int,
            "rows per training step",
            minimum=1,
        ),
    ),
)

BUILDERS: dict[str, Builder] = {MLP.name: MLP}


def space_size(entries: Mapping[str, AnyEntry]) -> int | None:
    """The number of distinct points of a resolved space; None if an entry is continuous.

    A conditional entry counts only under its parent's values.
    """
    return _points(list(entries.items()), {})


def _points(entries: list[tuple[str, AnyEntry]], chosen: dict[str, Scalar]) -> int | None:
    if not entries:
        return 1
    (name, entry), rest = entries[0], entries[1:]
    if entry.parent_name is not None and chosen.get(entry.parent_name) not in (entry.parent_values or ()):
        return _points(rest, chosen)
    size = entry.size()
    children = {child.parent_name for _, child in rest}
    if name not in children:
        below = _points(rest, chosen)
        return None if size is None or below is None else size * below
    counts = [_points(rest, {**chosen, name: value}) for value in values_of(entry)]
    return None if any(count is None for count in counts) else sum(c for c in counts if c is not None)


def values_of(entry: AnyEntry) -> tuple[Scalar, ...]:
    """All values of an entry, in order; raises ValueError for a continuous range."""
    match entry:
        case FixedEntry():
            return (entry.value,)
        case BooleanEntry():
            return (False, True)
        case ChoiceEntry():
            return entry.values
        case IntEntry() | FloatEntry():
            return tuple(_range_values(entry))
    raise AssertionError(entry)


def _range_values(entry: IntEntry | FloatEntry) -> list[Scalar]:
    count = entry.size()
    if count is None:
        raise ValueError("a continuous range has no list of values")
    low, high = entry.min_value, entry.max_value
    kind = type(low)
    if entry.step is None:
        return [kind(low + index) for index in range(count)]
    if entry.sampling == "linear":
        return [kind(low + index * entry.step) for index in range(count)]
    powers = [low * entry.step**index for index in range(count)]
    if entry.sampling == "log":
        return [kind(value) for value in powers]
    return sorted(kind(high + low - value) for value in powers)
