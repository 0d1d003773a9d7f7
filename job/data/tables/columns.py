"""What the columns of a table are, and what each is for."""

from dataclasses import dataclass, field
from typing import Literal

from job.errors import DataError
from job.spec import DataSpec
from job.spec.table_checks import unknown_columns

ColumnType = Literal["number", "boolean", "date", "string"]

# What models are given as numbers: a boolean as 0 and 1, a date or time as days since 1970-01-01.
NUMERIC: frozenset[ColumnType] = frozenset({"number", "boolean", "date"})


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a column's numbers and dates are written.

    Attributes:
        decimal: what stands before a number's fraction.
        thousands: what stands between groups of three digits; None for nothing.
        date_format: as `strptime` takes it; None for ISO 8601.
        signs: whether percent and currency signs are passed over.
    """

    decimal: str = "."
    thousands: str | None = None
    date_format: str | None = None
    signs: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether pyarrow reads such numbers by itself."""
        return self.decimal == "." and self.thousands is None and not self.signs


@dataclass(frozen=True, slots=True)
class Column:
    """A column as all its rows are read.

    Attributes:
        type: what its values are.
        whole: whether all its numbers are whole.
        longest: characters of its longest text; 0 for other types.
        note: what the log should say of how the type was found.
        form: how its texts are written.
    """

    name: str
    type: ColumnType
    whole: bool = False
    longest: int = 0
    note: str | None = None
    form: TextForm = field(default_factory=TextForm)


@dataclass(frozen=True, slots=True)
class Roles:
    """What columns are for.

    Attributes:
        features: in the table's order.
    """

    features: tuple[str, ...]
    target: str
    weight: str | None = None
    group: str | None = None
    time: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        others = (self.target, self.weight, self.group, self.time)
        return tuple(dict.fromkeys([*self.features, *(name for name in others if name is not None)]))


# TensorFlow takes a minute over a graph of 1,000 inputs; over 5,000 it was ended after seven.
MOST_FEATURES = 2000
# Of a table's columns in a message.
_NAMED = 100


def roles_of(spec: DataSpec, header: tuple[str, ...], shown: str) -> Roles:
    """What the columns of a table are for.

    Args:
        spec: the `data` section.
        header: the table's columns.
        shown: the table's name in messages.

    Raises:
        DataError: a column that the spec names is not there, or no feature is left.
    """
    problems = [f"data.{'.'.join(map(str, path[1:]))}: {message}" for path, message in unknown_columns(spec, header)]
    if problems:
        more = f" and {len(header) - _NAMED} more" if len(header) > _NAMED else ""
        raise DataError(f"{shown}: {'; '.join(problems)}", advice=f"It has {', '.join(header[:_NAMED])}{more}.")
    if spec.target is None:
        raise DataError(f"{shown}: data.target must name the column to predict")
    # Where a split goes by time or group, that column says little of rows to come, unless it is asked for.
    others = {spec.target, spec.weight, spec.group, spec.time, *spec.exclude}
    chosen = spec.features if spec.features is not None else tuple(name for name in header if name not in others)
    if not chosen:
        raise DataError(f"{shown}: no column is left to predict {spec.target!r} from")
    features = tuple(name for name in header if name in chosen)
    if len(features) > MOST_FEATURES:
        raise DataError(
            f"{shown}: {len(features)} columns to predict {spec.target!r} from; a model takes at most {MOST_FEATURES}, "
            "because each is an input of its own",
            advice="name those that matter in data.features, or give numbers as one array (docs/data.md, .npz)",
        )
    return Roles(features, spec.target, spec.weight, spec.group, spec.time)
