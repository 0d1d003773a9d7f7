"""What is done to the columns of a table before the trained core sees them. Pure description."""

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray
from job.data.preparation import Preparation
from job.data.tables.columns import ColumnType
from job.data.tables.farmhash import fingerprint64

# Layers around the inputs have names of their own in the published model; TensorFlow takes none called `self`.
_TAKEN = re.compile(r"self|(sequential|functional|activation|model|mlp|cnn|linear|core)(_\d+)?|prepare_.*")
_LISTED_VALUES = 20


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column of numbers: missing ones are replaced, then all standardised.

    Attributes:
        name: the column.
        input: what the published model calls it.
        type: number, boolean (0 or 1) or date (days since 1970-01-01).
        fill: what takes the place of a missing number.
        mean, scale: what is subtracted, and what the difference is then multiplied by.
        indicated: whether another prepared column has 1 where the number is missing.
    """

    name: str
    input: str
    type: ColumnType
    fill: float
    mean: float
    scale: float
    indicated: bool


@dataclass(frozen=True, slots=True)
class StringColumn:
    """A column of strings: a prepared column for each value, with 1 where a row has it.

    Attributes:
        name: the column.
        input: what the published model calls it.
        vocabulary: the values that are told apart, '' for a missing one among them; empty for hashing.
        unknown: whether a first prepared column is for all other values. Where the training rows have no others, its
            weights could not be learned, and other values are 0 in all columns.
        bins: of hashing, how many; the first is for missing values. 0 for a vocabulary.
    """

    name: str
    input: str
    vocabulary: tuple[str, ...]
    unknown: bool
    bins: int = 0

    @property
    def width(self) -> int:
        """How many prepared columns there are."""
        return self.bins or len(self.vocabulary) + self.unknown

    def places(self, values: AnyArray) -> NDArray[np.int64]:
        """The prepared column that is 1 for each value; -1 for none.

        Args:
            values: shape (rows,), strings.
        """
        different, positions = np.unique(values, return_inverse=True)
        texts = [str(value) for value in different]
        if self.bins:
            found = [_bin(text, self.bins) for text in texts]
        else:
            place = {value: number + self.unknown for number, value in enumerate(self.vocabulary)}
            found = [place.get(text, 0 if self.unknown else -1) for text in texts]
        return np.array(found, dtype=np.int64)[positions]


@dataclass(frozen=True, slots=True)
class TablePreparation(Preparation):
    """The columns of a table, side by side as one row of float32: numbers, where they were missing, then strings."""

    numbers: tuple[NumberColumn, ...]
    strings: tuple[StringColumn, ...]

    @property
    def is_identity(self) -> bool:
        """Never: raw rows are columns, prepared ones are one array."""
        return False

    @property
    def width(self) -> int:
        """Numbers in a prepared row."""
        indicators = sum(column.indicated for column in self.numbers)
        return len(self.numbers) + indicators + sum(column.width for column in self.strings)

    @property
    def indicated(self) -> tuple[int, ...]:
        """The positions, among the columns of numbers, of those that another column says the missing values of."""
        return tuple(number for number, column in enumerate(self.numbers) if column.indicated)

    @property
    def inputs(self) -> dict[str, str]:
        """What the published model calls each column."""
        columns: tuple[NumberColumn | StringColumn, ...] = (*self.numbers, *self.strings)
        return {column.name: column.input for column in columns}

    def constants(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Fill, mean and scale of the columns of numbers, as every implementation must use them."""
        rows = [(column.fill, column.mean, column.scale) for column in self.numbers]
        fill, mean, scale = np.array(rows, dtype=np.float32).reshape(-1, 3).T
        return np.ascontiguousarray(fill), np.ascontiguousarray(mean), np.ascontiguousarray(scale)

    def prepare(self, x: Mapping[str, AnyArray]) -> NDArray[np.float32]:
        """Prepare raw rows, as the published model's layers do.

        Args:
            x: by the model's name of each column, shape (rows,): float32 with NaN for missing values, or strings with
                '' for them.

        Returns:
            Shape (rows, width).
        """
        rows = len(next(iter(x.values())))
        numbers = np.empty((rows, len(self.numbers)), dtype=np.float32)
        for position, column in enumerate(self.numbers):
            numbers[:, position] = x[column.input]
        return self.prepare_columns(numbers, [x[column.input] for column in self.strings])

    def prepare_columns(self, numbers: NDArray[np.float32], strings: Sequence[AnyArray]) -> NDArray[np.float32]:
        """Prepare columns of numbers that lie side by side, (rows, numbers), and columns of strings, each (rows,)."""
        fill, mean, scale = self.constants()
        prepared = np.zeros((len(numbers), self.width), dtype=np.float32)
        missing = np.isnan(numbers)
        count = len(self.numbers)
        # In float32 throughout, as the layers do.
        prepared[:, :count] = (np.where(missing, fill, numbers) - mean) * scale
        indicators = self.indicated
        prepared[:, count : count + len(indicators)] = missing[:, indicators]
        start, every_row = count + len(indicators), np.arange(len(numbers))
        for column, values in zip(self.strings, strings, strict=True):
            places = column.places(values)
            known = places >= 0
            prepared[every_row[known], start + places[known]] = 1.0
            start += column.width
        return prepared

    def profile(self) -> dict[str, Any]:
        """How each column is encoded, by name."""
        return {"input_columns": len(self.numbers) + len(self.strings), "prepared_columns": self.width}

    def column_profiles(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is done to each column, by name."""
        for number in self.numbers:
            yield (
                number.name,
                {
                    "input": number.input,
                    "fill": number.fill,
                    "mean": number.mean,
                    "deviation": 1 / number.scale,
                    "indicates_missing": number.indicated,
                },
            )
        for text in self.strings:
            encoding = {"hash_bins": text.bins} if text.bins else {"vocabulary": list(text.vocabulary[:_LISTED_VALUES])}
            yield text.name, {"input": text.input, "width": text.width, **encoding}


def input_names(columns: Iterable[str]) -> dict[str, str]:
    """A name for each column that Keras, TensorFlow's SavedModel and ONNX all take and keep as it is.

    Small ASCII letters, digits and underscores, beginning with a letter, no word of Python, all different: SavedModel
    takes no others, and writes small letters for large ones.
    """
    names: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"[^a-z0-9_]", "_", column.lower())
        if not re.match(r"[a-z]", name):
            name = f"column_{name.lstrip('_')}"
        if keyword.iskeyword(name) or _TAKEN.fullmatch(name):
            name = f"{name}_"
        unique, number = name, 2
        while unique in names.values():
            unique, number = f"{name}_{number}", number + 1
        names[column] = unique
    return names


def _bin(text: str, bins: int) -> int:
    return 0 if not text else 1 + fingerprint64(text.encode()) % (bins - 1)
