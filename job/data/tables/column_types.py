"""What each column of a table holds, decided over all its rows. Imports pyarrow.

A Parquet file declares its types. Of a CSV file all values of a column must be numbers, booleans (true, false) or
dates and times (ISO 8601) for it to be such a column; one that has anything else is a column of strings.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from job.data.tables.columns import Column, ColumnType, TextForm
from job.data.tables.reading import Batch, TableFiles, kind_of_type
from job.data.tables.text_forms import likeness_of, may_have_groups
from job.data.tables.values import is_text, known_texts, look_like_numbers, plain, reads_as
from job.errors import DataError
from job.spec.sections import ColumnSpec, DataSpec

# A column with so many numbers among its texts was probably meant to be one of numbers.
_MOSTLY = 0.9
# So many different values of a column are looked at closely.
_EXAMPLES = 1000
_SHOWN = 3
_PLAIN = TextForm()
# A longer text is no category, and every row would take as much room as the longest.
LONGEST_TEXT = 1000


def decide_columns(
    table: TableFiles, names: Iterable[str], spec: DataSpec, stated: Mapping[str, ColumnSpec]
) -> tuple[tuple[Column, ...], int]:
    """Read all rows for what the columns hold.

    Args:
        table: the files.
        names: the columns to look at.
        spec: the `data` section.
        stated: its `columns`, or what is known of these columns from another table.

    Returns:
        The columns, in the order of `names`, and how many rows there are.

    Raises:
        DataError: a column holds what no table may, or texts that are too long; names it.
    """
    names = tuple(names)
    looked_at = {name: _make_look(table, name, spec, stated.get(name, ColumnSpec())) for name in names}
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

    def __init__(self, name: str, declared: ColumnType | None, form: TextForm = _PLAIN, *, whole: bool = False) -> None:
        self.name = name
        self.form = form
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
        return Column(self.name, self._declared or "string", self._whole, self._longest, form=self.form)


class _LookAtTexts(_Look):
    """Of a column of texts whose type the spec does not state.

    Args:
        name: the column's.
        missing: texts that stand for a missing value.
        form: how its numbers and dates are written, as far as the spec says it.
        shown: the table's name in messages.
        is_encoded: whether the spec says how its texts become numbers: then they are categories, however they look.

    Attributes:
        candidates: what it can be besides a column of strings.
    """

    candidates: ClassVar[tuple[ColumnType, ...]] = ("number", "boolean", "date")

    def __init__(self, name: str, missing: frozenset[str], form: TextForm, shown: str, *, is_encoded: bool) -> None:
        super().__init__(name, None, form)
        self._missing = missing
        self._shown = shown
        self._is_encoded = is_encoded
        self._alive = list(self.candidates)
        self._known = 0
        self._whole = True
        self._examples: dict[str, str] = {}
        self._odd: str | None = None
        self._code: str | None = None

    def take(self, batch: Batch, values: pa.Array) -> None:
        super().take(batch, values)
        texts = known_texts(plain(values), self._missing)
        known = len(texts) - texts.null_count
        if known == 0:
            return
        self._known += known
        self._note_examples(batch, texts)
        alive = [kind for kind in self._alive if reads_as(texts, kind, self.form)]
        if "number" in self._alive and "number" not in alive:
            self._note_odd(batch, texts)
        self._alive = alive
        if "number" in self._alive:
            self._whole = self._whole and _are_whole(texts)
            self._note_codes(texts)

    def _note_examples(self, batch: Batch, texts: pa.Array) -> None:
        if len(self._examples) < _EXAMPLES:
            for row, text in enumerate(texts.slice(0, _EXAMPLES).to_pylist()):
                if text is not None:
                    self._examples.setdefault(text, batch.place(row))

    def _note_odd(self, batch: Batch, texts: pa.Array) -> None:
        like = look_like_numbers(texts)
        if not like.all():
            row = int((~like).argmax())
            self._odd = f"{texts[row].as_py()!r} ({batch.place(row)})"

    def _note_codes(self, texts: pa.Array) -> None:
        """Digits with a zero before them are a code, such as a postal one, and no number."""
        if self._code is None and self.form.is_plain:
            codes = pc.fill_null(pc.match_substring_regex(texts, "^0[0-9]+$"), fill_value=False)
            if pc.any(codes).as_py():
                self._code = texts.filter(codes)[0].as_py()

    def column(self) -> Column:
        if self._alive and self._code is None:
            # Nothing but missing values: as numbers they are at least all NaN.
            kind = self._alive[0]
            if kind == "number" and self.form.is_plain and may_have_groups(self._examples):
                raise self._unclear(
                    "numbers with points that may stand between thousands",
                    'data.thousands: "." reads them so, data.columns: '
                    f"{{{self.name}: {{type: number}}}} takes the points for decimal ones",
                )
            whole = kind == "number" and self._known > 0 and self._whole
            return Column(self.name, kind, whole=whole, form=self.form)
        if self._code is not None and self._alive:
            note = (
                f"column {self.name!r} has values with zeros before them, such as {self._code!r}: read as texts; "
                f"data.columns: {{{self.name}: {{type: number}}}} reads numbers"
            )
            return Column(self.name, "string", longest=self._longest, note=note)
        texts = list(self._examples)
        like = None if self._is_encoded else likeness_of(self.name, texts)
        if like is not None:
            raise self._unclear(like.what, like.advice)
        if texts and not self.form.is_plain and look_like_numbers(pa.array(texts, pa.string())).all():
            raise self._unclear("numbers with a decimal point", "data.decimal and data.thousands say otherwise")
        return Column(self.name, "string", longest=self._longest, note=self._mostly_numbers(texts))

    def _unclear(self, what: str, advice: str) -> DataError:
        shown = ", ".join(f"{text!r} ({place})" for text, place in list(self._examples.items())[:_SHOWN])
        return DataError(
            f"{self._shown}: the values of column {self.name!r} look like {what}: {shown}",
            advice=f"{advice}; data.columns: {{{self.name}: {{type: string}}}} takes them for categories.",
        )

    def _mostly_numbers(self, texts: list[str]) -> str | None:
        numbers = int(look_like_numbers(pa.array(texts, pa.string())).sum())
        if numbers < _MOSTLY * len(texts):
            return None
        odd = len(texts) - numbers
        if odd == 0 or self._odd is None:
            return (
                f"column {self.name!r} holds texts that look like numbers: data.columns: {{{self.name}: {{type: "
                "number}} reads them so"
            )
        counted = len(texts) if len(texts) < _EXAMPLES else f"first {len(texts)} different"
        return (
            f"column {self.name!r} is read as strings because {odd} of its {counted} values "
            f"{'is no number' if odd == 1 else 'are no numbers'}, the first {self._odd}; data.missing_values names "
            "texts that stand for a missing value"
        )


class _LookAtDeclaredTexts(_LookAtTexts):
    """Of a Parquet file's column of texts: they stay texts, but may look like numbers or dates."""

    candidates: ClassVar[tuple[ColumnType, ...]] = ()


def _are_whole(texts: pa.Array) -> bool:
    try:
        texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _make_look(table: TableFiles, name: str, spec: DataSpec, stated: ColumnSpec) -> _Look:
    said = stated.type != "auto"
    form = TextForm(spec.decimal, spec.thousands, stated.date_format or spec.date_format, signs=said)
    missing, is_encoded = frozenset(spec.missing_values), stated.encoding is not None
    if said:
        kind: ColumnType = stated.type  # type: ignore[assignment]  # what is left of the spec's literals
        return _Look(name, kind, form)
    if table.kind == "csv":
        return _LookAtTexts(name, missing, form, table.shown, is_encoded=is_encoded)
    declared = table.declared[name]
    found = kind_of_type(declared)
    if found is None:
        raise DataError(
            f"{table.shown}: column {name!r} is of type {declared}, which cannot be a model's input or target",
            advice=f"Leave it out with data.exclude: [{name}], or write it as numbers or texts.",
        )
    if found == "string":
        return _LookAtDeclaredTexts(name, missing, form, table.shown, is_encoded=is_encoded)
    if found == "null":
        return _Look(name, "number")
    return _Look(name, found, whole=pa.types.is_integer(declared))  # type: ignore[arg-type]  # neither null nor None
