"""What a table's preparation learns from the training rows, read in pieces. Pure NumPy."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, chunks
from job.data.tables.columns import NUMERIC, Column
from job.data.tables.preparation import NumberColumn, StringColumn, TablePreparation, input_names
from job.data.tables.raw import TableRows
from job.errors import DataError
from job.spec import DataSpec
from job.spec.sections import ColumnSpec

# The median is that of so many rows at most, evenly spaced: an exact one would keep whole columns in memory.
_MEDIAN_ROWS = 1 << 20
# Of more different values than this the rarest are forgotten on the way.
_MOST_COUNTED = 1 << 20
# float32 has 24 bits: values that differ by less than a few of the last bits are one value.
_RESOLVED = 1e5
_IDENTIFIER_ROWS = 20
_NEARLY_ALL = 0.9
_SHOWN_CHARACTERS, _SHOWN_TEXT = 30, 90
_NAMED = 20


@dataclass(frozen=True, slots=True)
class _Moments:
    """Of each column of numbers: how many are known, their mean and deviation."""

    known: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def fit_preparation(spec: DataSpec, columns: Sequence[Column], train: TableRows) -> tuple[TablePreparation, list[str]]:
    """Learn the preparation of a table's columns.

    Args:
        spec: the `data` section.
        columns: the features: those of numbers, then those of strings, as in `train`.
        train: the training rows and no others.

    Returns:
        The preparation, and what the log should say.
    """
    inputs = input_names(column.name for column in columns)
    notes = list(_notes_on_names({name: given for name, given in inputs.items() if given != name}))
    numeric = [column for column in columns if column.type in NUMERIC]
    moments = _moments_of(train.numbers)
    medians = _medians_of(train.numbers) if spec.impute == "median" else moments.mean
    numbers = []
    for position, column in enumerate(numeric):
        known, mean, deviation = (
            int(moments.known[position]),
            float(moments.mean[position]),
            float(moments.deviation[position]),
        )
        notes += _notes_on_numbers(column.name, known, mean, deviation)
        numbers.append(
            NumberColumn(
                name=column.name,
                input=inputs[column.name],
                type=column.type,
                fill=float(medians[position]),
                mean=mean,
                scale=1.0 if _is_constant(mean, deviation) else 1.0 / deviation,
                indicated=spec.indicate_missing and 0 < known < train.rows,
            )
        )
    strings = []
    for column in columns[len(numeric) :]:
        stated = spec.columns.get(column.name, ColumnSpec())
        string, said = _fit_strings(spec, stated, column.name, inputs[column.name], train.strings[column.name])
        strings.append(string)
        notes += said
    return TablePreparation(tuple(numbers), tuple(strings)), notes


def _notes_on_names(renamed: Mapping[str, str]) -> Iterator[str]:
    if renamed:
        shown = [f"{given} is {name!r}" for name, given in list(renamed.items())[:_NAMED]]
        more = f" and {len(renamed) - _NAMED} more" if len(renamed) > _NAMED else ""
        yield f"inputs of the model that are not named as their column: {', '.join(shown)}{more}"


def _moments_of(numbers: NDArray[np.float32]) -> _Moments:
    """By Chan, Golub and LeVeque's merging of pieces ("Updating Formulae and a Pairwise Algorithm", 1979)."""
    width = numbers.shape[1]
    known, mean, squares = np.zeros(width, np.int64), np.zeros(width), np.zeros(width)
    for piece in chunks(numbers) if width else ():
        values = piece.astype(np.float64)
        missing = np.isnan(values)
        count = len(values) - missing.sum(axis=0)
        values[missing] = 0.0
        divisor = np.maximum(count, 1)
        piece_mean = values.sum(axis=0) / divisor
        differences = values - piece_mean
        differences[missing] = 0.0
        total = known + count
        shift = piece_mean - mean
        share = count / np.maximum(total, 1)
        squares += (differences**2).sum(axis=0) + shift**2 * known * share
        mean = np.where(count > 0, mean + shift * share, mean)
        known = total
    return _Moments(known, mean, np.sqrt(squares / np.maximum(known, 1)))


def _medians_of(numbers: NDArray[np.float32]) -> NDArray[np.float64]:
    step = -(-len(numbers) // _MEDIAN_ROWS)
    medians = np.zeros(numbers.shape[1])
    for position in range(numbers.shape[1]):
        column = numbers[::step, position]
        known = column[~np.isnan(column)]
        if len(known):
            medians[position] = float(np.median(known.astype(np.float64)))
    return medians


def _is_constant(mean: float, deviation: float) -> bool:
    # Rounding makes equal numbers differ from their mean in the last bit; and float32 must hold the reciprocal.
    return deviation <= max(np.finfo(np.float64).eps * abs(mean), 1e-30)


def _notes_on_numbers(name: str, known: int, mean: float, deviation: float) -> Iterator[str]:
    if known == 0:
        yield f"column {name!r} has no value in the training rows: it says nothing"
    elif _is_constant(mean, deviation):
        yield f"column {name!r} is {mean:g} in all training rows: it says nothing"
    elif abs(mean) > _RESOLVED * deviation:
        yield (
            f"column {name!r} has values of {mean:.6g} +- {deviation:.3g}, which float32 resolves poorly: subtract a "
            "constant"
        )


def _fit_strings(
    spec: DataSpec, stated: ColumnSpec, name: str, input_name: str, values: AnyArray
) -> tuple[StringColumn, list[str]]:
    counts, dropped = _count(values)
    notes = []
    if len(counts) == 1 and not dropped:
        notes.append(f"column {name!r} is {next(iter(counts))!r} in all training rows: it says nothing")
    elif not _is_said(spec, stated):
        _refuse_identifiers(name, counts, dropped=dropped)
    if (stated.encoding or spec.encoding) == "hashing":
        return StringColumn(name, input_name, (), unknown=False, bins=stated.hash_bins or spec.hash_bins), notes
    size = stated.vocabulary_size or spec.vocabulary_size
    # By frequency, equal ones by code point: the same on every machine. A missing value is told apart, however rare.
    frequent = sorted(counts.items(), key=lambda item: (item[0] != "", -item[1], item[0]))[:size]
    rest = len(counts) - len(frequent)
    if rest or dropped:
        notes.append(
            f"column {name!r} has {'at least ' if dropped else ''}{len(counts)} different values in the training rows: "
            f"the {len(frequent)} most frequent are told apart (data.vocabulary_size), the others are one"
        )
    return StringColumn(name, input_name, tuple(value for value, _ in frequent), unknown=bool(rest or dropped)), notes


def _is_said(spec: DataSpec, stated: ColumnSpec) -> bool:
    """Whether the spec says that a column's texts are categories, or how they become numbers."""
    return stated.type != "auto" or stated.encoding is not None or spec.encoding != "vocabulary"


def _refuse_identifiers(name: str, counts: Mapping[str, int], *, dropped: bool) -> None:
    """A column nearly all of whose values differ says nothing by what they are: as categories it would be noise."""
    known = sum(count for value, count in counts.items() if value)
    if known < _IDENTIFIER_ROWS or not (dropped or len(counts) > _NEARLY_ALL * known):
        return
    examples = ", ".join(repr(value[:_SHOWN_CHARACTERS]) for value in sorted(counts) if value)[:_SHOWN_TEXT]
    raise DataError(
        f"column {name!r} has hardly a value twice in the training rows ({len(counts)} different ones in {known} rows, "
        f"such as {examples}): it looks like identifiers, free text, or numbers or dates written in a way of their own",
        advice=f"data.exclude: [{name}] leaves it out; data.columns: {{{name}: {{type: string}}}} takes its values for "
        "categories.",
    )


def _count(values: AnyArray) -> tuple[Mapping[str, int], bool]:
    """How often each value occurs, and whether rare ones were forgotten because there are so many."""
    counts: Counter[str] = Counter()
    dropped = False
    for piece in chunks(values):
        different, found = np.unique(piece, return_counts=True)
        counts.update(dict(zip(map(str, different), map(int, found), strict=True)))
        if len(counts) > _MOST_COUNTED:
            counts = Counter({value: count for value, count in counts.items() if count > 1})
            dropped = True
        if len(counts) > _MOST_COUNTED:
            counts = Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: _MOST_COUNTED // 2]))
    return counts, dropped
