"""What each column of a table holds, decided over all its rows. Imports pyarrow.

A Parquet file declares its types. Of a CSV file all values of a column must be numbers, booleans (true, false) or
dates and times (ISO 8601) for it to be such a column; one that has anything else is a column of strings.
"""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from job.data.tables.columns import Column, ColumnType
from job.data.tables.reading import Batch, TableFiles, kind_of_type
from job.data.tables.values import is_text, known_texts, look_like_numbers, plain, reads_as
from job.errors import DataError
from job.spec.sections import ColumnSpec

# A column with so many numbers among its texts was probably meant to be one of numbers.
_MOSTLY = 0.9
# A longer text is no category, and every row would take as much room as the longest.
LONGEST_TEXT = 1000
_CANDIDATES: tuple[ColumnType, ...] = ("number", "boolean", "date")


def decide_columns(
    table: TableFiles, names: Iterable[str], stated: Mapping[str, ColumnSpec], missing: frozenset[str]
) -> tuple[tuple[Column, ...], int]:
    """Read all rows for what the columns hold.

    Args:
        table: the files.
        names: the columns to look at.
        stated: the spec's `data.columns`.
        missing: texts that stand for a missing value in every column.

    Returns:
        The columns, in the order of `names`, and how many rows there are.

    Raises:
        DataError: a column holds what no table may, or texts that are too long; names it.
    """
    names = tuple(names)
    looked_at = {name: _make_look(table, name, stated.get(name, ColumnSpec()).type, missing) for name in names}
    # Numbers of Parquet files need no look: only the count of rows, which any one column gives.
    read = [name for name, look in looked_at.items() if look.reads] or list(names[:1])
    rows = 0
    for batch in table.batches(read):
        for name in read:
            looked_at[name].take(batch, batch.rows.column(name))
        rows += batch.rows.num_rows
    if rows == 0:
        raise DataError(f"{table.shown} has no rows")
    columns = tuple(look.column() for look in looked_at.values())
    for column in columns:
        if column.longest > LONGEST_TEXT:
            raise DataError(
                f"{table.shown}: column {column.name!r} has texts of up to {column.longest} characters: categories of "
                f"at most {LONGEST_TEXT} are expected",
                advice=f"Leave the column out with data.exclude: [{column.name}].",
            )
    return columns, rows


class _Look:
    """What is known of one column.

    Attributes:
        reads: whether its values must be read to know more.
    """

    def __init__(self, name: str, declared: ColumnType | None, *, whole: bool = False) -> None:
        self.name = name
        self.reads = declared in {None, "string"}
        self._declared = declared
        self._whole = whole
        self._longest = 0

    def take(self, batch: Batch, values: pa.Array) -> None:
        """Look at some more values."""
        del batch
        texts = plain(values)
        if self.reads and len(texts):
            texts = texts if is_text(texts.type) else texts.cast(pa.string())
            self._longest = max(self._longest, pc.max(pc.utf8_length(texts)).as_py() or 0)

    def column(self) -> Column:
        """What the column is."""
        return Column(self.name, self._declared or "string", self._whole, self._longest)


class _LookAtTexts(_Look):
    """Of a CSV file's column whose type is not stated."""

    def __init__(self, name: str, missing: frozenset[str]) -> None:
        super().__init__(name, None)
        self._missing = missing
        self._alive = list(_CANDIDATES)
        self._known = 0
        self._whole = True
        self._numbers = 0
        self._counts_numbers = True
        self._odd: str | None = None

    def take(self, batch: Batch, values: pa.Array) -> None:
        super().take(batch, values)
        if not self._alive and not self._counts_numbers:
            return
        texts = known_texts(plain(values), self._missing)
        known = len(texts) - texts.null_count
        if known == 0:
            return
        before = self._known
        self._known += known
        self._alive = [kind for kind in self._alive if reads_as(texts, kind)]
        if "number" in self._alive:
            self._numbers += known
            self._whole = self._whole and _are_whole(texts)
        elif self._counts_numbers:
            self._count_numbers(batch, texts, known, before)

    def _count_numbers(self, batch: Batch, texts: pa.Array, known: int, before: int) -> None:
        like = look_like_numbers(texts)
        self._numbers += known - int((~like).sum())
        if self._odd is None and not like.all():
            row = int((~like).argmax())
            self._odd = f"{texts[row].as_py()!r} ({batch.place(row)})"
        # A column of words has no number among its first values either, and looking for them takes time.
        self._counts_numbers = self._numbers >= _MOSTLY * (before + known) / 2

    def column(self) -> Column:
        if self._alive:
            # Nothing but missing values: as numbers they are at least all NaN.
            kind = self._alive[0]
            return Column(self.name, kind, whole=kind == "number" and self._known > 0 and self._whole)
        note = None
        if self._counts_numbers and self._numbers >= _MOSTLY * self._known:
            odd = self._known - self._numbers
            note = (
                f"column {self.name!r} is read as strings because {odd} of its {self._known} values "
                f"{'is no number' if odd == 1 else 'are no numbers'}, the first {self._odd}; data.missing_values names "
                "texts that stand for a missing value"
            )
        return Column(self.name, "string", longest=self._longest, note=note)


def _are_whole(texts: pa.Array) -> bool:
    try:
        texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _make_look(table: TableFiles, name: str, stated: str, missing: frozenset[str]) -> _Look:
    if stated != "auto":
        kind: ColumnType = stated  # type: ignore[assignment]  # what is left of the spec's literals
        return _Look(name, kind)
    if table.kind == "csv":
        return _LookAtTexts(name, missing)
    declared = table.declared[name]
    found = kind_of_type(declared)
    if found is None:
        raise DataError(
            f"{table.shown}: column {name!r} is of type {declared}, which cannot be a model's input or target",
            advice=f"Leave it out with data.exclude: [{name}], or write it as numbers or texts.",
        )
    if found == "null":
        return _Look(name, "number")
    return _Look(name, found, whole=pa.types.is_integer(declared))  # type: ignore[arg-type]  # neither null nor None
