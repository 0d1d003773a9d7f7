"""Texts and typed values of a column as the numbers and strings that models take. Imports pyarrow."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from job.data.arrays import AnyArray
from job.data.tables.columns import ColumnType, TextForm
from job.data.tables.text_forms import read_numbers, read_times

# What stands for a missing value in columns of numbers, booleans and dates; in strings each may be a value.
MISSING_TEXTS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?", "-")

_PLAIN = TextForm()
_BOOLEANS = {"true": 1.0, "false": 0.0}
_MICROSECONDS_PER_DAY = 86_400_000_000
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


class UnreadableValueError(ValueError):
    """A value is not of its column's type.

    Attributes:
        row: within the values given.
        value: as it was read.
    """

    def __init__(self, row: int, value: object) -> None:
        super().__init__(f"{value!r} in row {row}")
        self.row = row
        self.value = value


def without_missing(texts: pa.Array, missing: frozenset[str]) -> pa.Array:
    """Texts with null in place of those that stand for a missing value."""
    return pc.if_else(pc.is_in(texts, pa.array(sorted({"", *missing}))), pa.scalar(None, texts.type), texts)


def known_texts(texts: pa.Array, missing: frozenset[str]) -> pa.Array:
    """Texts of a column that is no column of strings: trimmed, with null for every missing value."""
    return without_missing(pc.utf8_trim_whitespace(texts), missing | frozenset(MISSING_TEXTS))


def numbers_of(
    values: pa.Array, column_type: ColumnType, missing: frozenset[str], form: TextForm = _PLAIN
) -> NDArray[np.float64]:
    """Values of a column of numbers, booleans or dates, NaN for missing ones.

    A boolean is 0 or 1; a date or time is days since 1970-01-01, in UTC where it states a zone.

    Args:
        values: texts, or values of a Parquet column.
        column_type: of the column.
        missing: texts that stand for a missing value, besides MISSING_TEXTS.
        form: how texts are written.

    Raises:
        UnreadableValueError: a text is not of this type.
    """
    values = plain(values)
    if not is_text(values.type):
        return _typed_numbers(values)
    texts = known_texts(values, missing)
    try:
        if column_type == "boolean":
            return _as_float64(_booleans(texts))
        return _as_float64(_in_days(read_times(texts, form)) if column_type == "date" else read_numbers(texts, form))
    except pa.ArrowInvalid as error:
        row = _first_unreadable(texts, column_type, form)
        raise UnreadableValueError(row, values[row].as_py()) from error


def strings_of(values: pa.Array, missing: frozenset[str]) -> AnyArray:
    """Values of a column of strings, '' for missing ones."""
    values = plain(values)
    texts = (values if is_text(values.type) else values.cast(pa.string())).cast(pa.string())
    if missing:
        texts = without_missing(texts, missing)
    # Of what NumPy makes of objects the width is that of the longest text.
    return np.asarray(pc.fill_null(texts, "").to_numpy(zero_copy_only=False), dtype=np.str_)


def plain(values: pa.Array) -> pa.Array:
    """Without a dictionary, and all in one piece."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def is_text(declared: pa.DataType) -> bool:
    """Whether values of this type are texts."""
    return bool(pa.types.is_string(declared) or pa.types.is_large_string(declared) or pa.types.is_string_view(declared))


def reads_as(texts: pa.Array, column_type: ColumnType, form: TextForm = _PLAIN) -> bool:
    """Whether all texts (of `known_texts`) are of a type."""
    try:
        if column_type == "boolean":
            _booleans(texts)
        elif column_type == "date":
            read_times(texts, form)
        else:
            read_numbers(texts, form)
    except pa.ArrowInvalid:
        return False
    return True


def look_like_numbers(texts: pa.Array) -> NDArray[np.bool_]:
    """Which texts are numbers; a missing one is."""
    return np.asarray(pc.fill_null(pc.match_substring_regex(texts, _NUMBER), fill_value=True), dtype=np.bool_)


def _typed_numbers(values: pa.Array) -> NDArray[np.float64]:
    types = pa.types
    if types.is_null(values.type):
        return np.full(len(values), np.nan)
    if types.is_boolean(values.type):
        return _as_float64(values.cast(pa.uint8()))
    if types.is_date(values.type) or types.is_timestamp(values.type):
        # Nanoseconds since 1970 end in 2262, and below microseconds nothing is left in a float anyway.
        return _as_float64(_in_days(values.cast(pa.timestamp("us", getattr(values.type, "tz", None)), safe=False)))
    return _as_float64(values)


def _as_float64(values: pa.Array) -> NDArray[np.float64]:
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _booleans(texts: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(texts)
    known = pc.is_in(lower, pa.array(list(_BOOLEANS)))
    if pc.any(pc.and_(pc.is_valid(texts), pc.invert(known))).as_py():
        raise pa.ArrowInvalid("neither true nor false")
    return pc.if_else(pc.is_null(texts), pa.scalar(None, pa.bool_()), pc.equal(lower, "true")).cast(pa.uint8())


def _in_days(times: pa.Array) -> pa.Array:
    return pc.divide(times.cast(pa.int64()).cast(pa.float64(), safe=False), float(_MICROSECONDS_PER_DAY))


def _first_unreadable(texts: pa.Array, column_type: ColumnType, form: TextForm) -> int:
    """The first text that is not of a type, by halving; one of them is known to be none."""
    start, count = 0, len(texts)
    while count > 1:
        half = count // 2
        if reads_as(texts.slice(start, half), column_type, form):
            start, count = start + half, count - half
        else:
            count = half
    return start
