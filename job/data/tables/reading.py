"""The files of a table, read in batches of bounded size. Imports pyarrow."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from job.data.source_files import SourceFile
from job.errors import DataError
from job.spec.csv_text import hinted_delimiter, is_gzip, undecodable_row

TableKind = Literal["csv", "parquet"]

# A line of a CSV file must fit into a block.
_BLOCK_BYTES = 4 * 1024 * 1024
# Parquet is read through buffers of this size, one per column: a row group of its own may not fit into memory.
_BUFFER_BYTES = 128 * 1024
_BATCH_VALUES = 1 << 20
_MOST_BATCH_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows of one file.

    Attributes:
        first_row: of these rows in their file, from 0.
        rows: one column each, strings as texts.
    """

    file: SourceFile
    first_row: int
    rows: pa.RecordBatch

    def place(self, row: int) -> str:
        """Where a row of this batch stands, as people count: from 1, without the header."""
        return f"{self.file.shown}: row {self.number(row)}"

    def number(self, row: int) -> int:
        """The number of a row of this batch in its file, from 1."""
        return self.first_row + row + 1


class TableFiles:
    """Files with the same columns.

    Args:
        files: at least one; rows come in their order.
        kind: of all of them.
        form: of CSV files.

    Attributes:
        header: the columns, in the order of the first file; without unnamed ones at the end.
        unnamed: how many these are.
        indexes: the columns that Parquet files call an index.
        declared: the types that Parquet files declare, by column; empty for CSV files.

    Raises:
        DataError: a file cannot be read or has other columns; names the file and the columns.
    """

    def __init__(self, files: Sequence[SourceFile], kind: TableKind, form: "CsvForm | None" = None) -> None:
        self.files = tuple(files)
        self.kind = kind
        self._form = form or CsvForm()
        self.unnamed = 0
        self.indexes: tuple[str, ...] = ()
        self.declared: dict[str, pa.DataType] = {}
        self.header: tuple[str, ...] = ()
        for file in self.files:
            self._check(file)

    @property
    def shown(self) -> str:
        """How messages name the table: its only file, or the first and how many more."""
        first = self.files[0].shown
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """All rows, file after file.

        Args:
            columns: which to read; those of CSV files come as texts, missing values as empty ones.

        Raises:
            DataError: a file is damaged; names it.
        """
        for file in self.files:
            row = 0
            with self._clear_errors(file):
                read = _csv_batches if self.kind == "csv" else _parquet_batches
                for rows in read(file.path, columns, self._form):
                    if rows.num_rows:
                        yield Batch(file, row, rows)
                        row += rows.num_rows

    def _check(self, file: SourceFile) -> None:
        with self._clear_errors(file):
            schema = self._schema(file.path)
            # pyarrow decodes names when they are asked for.
            names = tuple(schema.names)
        if self.kind == "csv":
            named = max((place for place, name in enumerate(names, start=1) if name), default=0)
            self.unnamed, names = max(self.unnamed, len(names) - named), names[:named]
        else:
            self.indexes = (*self.indexes, *(name for name in _indexes_of(schema) if name not in self.indexes))
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise DataError(f"{file.shown}: more than one column is called {', '.join(map(repr, repeated))}")
        if not self.header:
            self.header = names
        for problem, these in (
            ("lacks", [name for name in self.header if name not in names]),
            ("also has", [name for name in names if name not in self.header]),
        ):
            if these:
                raise DataError(
                    f"{file.shown} {problem} {', '.join(map(repr, these))}, unlike {self.files[0].shown}: all files of "
                    "a table must have the same columns"
                )
        if self.kind == "parquet":
            self._note_types(file, schema)

    def _note_types(self, file: SourceFile, schema: pa.Schema) -> None:
        for name in self.header:
            found, known = schema.field(name).type, self.declared.get(name)
            if known is None or pa.types.is_null(known):
                self.declared[name] = found
            elif not pa.types.is_null(found) and kind_of_type(found) != kind_of_type(known):
                raise DataError(
                    f"{file.shown}: column {name!r} is of type {found}, but in other files of the table it is {known}"
                )
            elif pa.types.is_floating(found):
                self.declared[name] = found

    def _schema(self, path: Path) -> pa.Schema:
        if self.kind == "parquet":
            return pa_parquet.read_schema(path)
        with _opened_csv(path, None, self._form) as reader:
            return reader.schema

    @contextmanager
    def _clear_errors(self, file: SourceFile) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            raise self._undecodable(file) from error
        except pa.ArrowInvalid as error:
            if "UTF8" in str(error) and self.kind == "csv":
                raise self._undecodable(file) from error
            if "straddl" in str(error):
                raise DataError(
                    f"{file.shown}: a line has more than {_BLOCK_BYTES >> 20} MiB",
                    advice="a quotation mark that nothing closes makes one of the rest of the file",
                ) from error
            raise DataError(f"{file.shown}: cannot be read: {_first_line(error)}") from error
        except FileNotFoundError:
            raise
        except (pa.ArrowException, EOFError, OSError) as error:
            # pyarrow calls a compressed stream that is cut short an OSError, too.
            raise DataError(f"{file.shown}: is damaged or of another format: {_first_line(error)}") from error

    def _undecodable(self, file: SourceFile) -> DataError:
        place = undecodable_row(file.path, self._form.delimiter, self._form.encoding)
        return DataError(
            f"{file.shown}: {place} is no text in {self._form.encoding}",
            advice="data.text_encoding names the encoding, often cp1252 or latin-1; of Excel's Unicode text utf-16.",
        )


def kind_of_type(declared: pa.DataType) -> str | None:
    """What a declared type is to a model: a column type, `null`, or None for what a table cannot hold."""
    types = pa.types
    value = declared.value_type if types.is_dictionary(declared) else declared
    for kind, tests in (
        ("null", (types.is_null,)),
        ("boolean", (types.is_boolean,)),
        ("number", (types.is_integer, types.is_floating, types.is_decimal)),
        ("date", (types.is_date, types.is_timestamp)),
        ("string", (types.is_string, types.is_large_string, types.is_string_view)),
    ):
        if any(test(value) for test in tests):
            return kind
    return None


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How CSV files are written: what stands between values, and how text is encoded."""

    delimiter: str = ","
    encoding: str = "utf-8"


@contextmanager
def _opened_csv(path: Path, columns: Sequence[str] | None, form: CsvForm) -> Iterator[pa_csv.CSVStreamingReader]:
    compression = "gzip" if is_gzip(path) else None
    # What Excel takes for a hint is no header.
    hinted = hinted_delimiter(path, form.encoding)
    texts = pa_csv.ConvertOptions(strings_can_be_null=False, null_values=[])
    if columns is not None:
        texts.include_columns = list(columns)
        texts.column_types = dict.fromkeys(columns, pa.string())
    reading = pa_csv.ReadOptions(block_size=_BLOCK_BYTES, encoding=form.encoding, skip_rows=0 if hinted is None else 1)
    parsing = pa_csv.ParseOptions(delimiter=hinted or form.delimiter, newlines_in_values=True)
    with (
        pa.input_stream(str(path), compression=compression, buffer_size=_BLOCK_BYTES) as stream,
        pa_csv.open_csv(stream, read_options=reading, parse_options=parsing, convert_options=texts) as reader,
    ):
        yield reader


def _indexes_of(schema: pa.Schema) -> tuple[str, ...]:
    """The columns that pandas has written as an index, by what it notes of itself in the file."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        return tuple(name for name in noted.get("index_columns", ()) if isinstance(name, str) and name in schema.names)
    except (ValueError, AttributeError, TypeError):
        return ()


def _csv_batches(path: Path, columns: Sequence[str], form: CsvForm) -> Iterator[pa.RecordBatch]:
    with _opened_csv(path, columns, form) as reader:
        for rows in reader:
            yield rows.select(list(columns))


def _parquet_batches(path: Path, columns: Sequence[str], _form: CsvForm) -> Iterator[pa.RecordBatch]:
    rows = max(1, min(_MOST_BATCH_ROWS, _BATCH_VALUES // max(1, len(columns))))
    with pa_parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=rows, columns=list(columns), use_threads=False):
            yield batch.select(list(columns))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
