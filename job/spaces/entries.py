"""The entries of a spec's `space`, with the fields of KerasTuner's `hp.Int`, `hp.Float`, `hp.Choice` and so on."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Scalar = bool | int | float | str
Sampling = Literal["linear", "log", "reverse_log"]

# Relative error allowed when a step is checked against its range: steps such as 0.1 have no exact binary form.
_STEP_TOLERANCE = 1e-9


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    parent_name: str | None = Field(default=None, description="The entry that decides whether this one is active.")
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

    def _check_range(self, minimum: float, maximum: float, step: float | None, default: float | None) -> None:
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
                f"step {step} must be above {0 if self.sampling == 'linear' else 1} with sampling {self.sampling!r}"
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

    def _value_at(self, index: int, minimum: float, maximum: float, step: float) -> float:
        """The index-th value, computed as KerasTuner does: a condition compares for equality to the last bit."""
        if self.sampling == "linear":
            return minimum + index * step
        grown = minimum * step**index
        return grown if self.sampling == "log" else maximum + minimum - grown

    def _made(self, value: float, minimum: float, maximum: float, step: float | None) -> float | None:
        """Return a value as the range makes it: 0.30000000000000004 for 0.3 of 0, 0.1, …; None where it has none."""
        if step is None or minimum == maximum:
            return value if minimum <= value <= maximum else None
        # Backwards, a logarithmic range grows away from its upper bound.
        grown = maximum + minimum - value if self.sampling == "reverse_log" else value
        if self.sampling != "linear" and grown <= 0:
            return None
        index = round(self._steps(minimum, grown, step))
        if not 0 <= index < self._count(minimum, maximum, step):
            return None
        made = self._value_at(index, minimum, maximum, step)
        is_it = math.isclose(made, value, rel_tol=_STEP_TOLERANCE, abs_tol=_STEP_TOLERANCE * step)
        return made if is_it else None


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

    def value_at(self, index: int) -> int:
        """The index-th value, from the lower bound up; with `reverse_log` from the upper bound down."""
        if self.step is None or self.min_value == self.max_value:
            return self.min_value + index
        return int(self._value_at(index, self.min_value, self.max_value, self.step))

    def contains(self, value: Scalar) -> bool:
        """Whether the range has this value."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self._made(value, self.min_value, self.max_value, self.step) == value


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
    default: float | None = Field(default=None, description="The value outside the search.", allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_range(self.min_value, self.max_value, self.step, self.default)
        return self

    def size(self) -> int | None:
        """How many values the entry can take; None for a continuous range."""
        if self.min_value == self.max_value:
            return 1
        return None if self.step is None else self._count(self.min_value, self.max_value, self.step)

    def value_at(self, index: int) -> float:
        """The index-th value, from the lower bound up; with `reverse_log` from the upper bound down."""
        if self.step is None or self.min_value == self.max_value:
            return self.min_value
        return self._value_at(index, self.min_value, self.max_value, self.step)

    def contains(self, value: Scalar) -> bool:
        """Whether the range has this value."""
        return not isinstance(value, bool | str) and self.made(value) is not None

    def made(self, value: float) -> float | None:
        """Return the value as the search will have it, which may differ in the last bit; None outside the range."""
        return self._made(value, self.min_value, self.max_value, self.step)


class ChoiceEntry(_Entry):
    """One of the listed values, all of one type."""

    type: Literal["choice"]
    values: tuple[Scalar, ...] = Field(min_length=1, strict=False, description="The values to choose from.")
    ordered: bool | None = Field(
        default=None, description="Whether the order means something; default: yes for numbers."
    )
    default: Scalar | None = Field(default=None, description="The value outside the search; default: the first.")

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers_among_floats_are_floats(cls, data: object) -> object:
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


def spell_out(value: object) -> object:
    """An entry's fields, where a spec may be shorter: a bare value is fixed, a bare list is a choice."""
    if isinstance(value, bool | int | float | str):
        return {"type": "fixed", "value": value}
    if isinstance(value, list | tuple):
        return {"type": "choice", "values": list(value)}
    return value


class _Shorthands:
    """Adds the bare value and the bare list to an entry's JSON Schema; pydantic sees only what they stand for."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        scalar = {"type": ["boolean", "number", "string"]}
        return {
            "anyOf": [
                handler(schema),
                {"description": "A bare value: fixed, not searched.", **scalar},
                {"description": "A bare list: a choice.", "type": "array", "items": scalar, "minItems": 1},
            ]
        }


AnyEntry = IntEntry | FloatEntry | ChoiceEntry | BooleanEntry | FixedEntry
SpaceEntry = Annotated[
    Annotated[AnyEntry, Field(discriminator="type")],
    BeforeValidator(spell_out),
    _Shorthands(),
]
Space = dict[str, SpaceEntry]
