"""Checks of what the `data` section says of tables; see `job.spec.checks`."""

import codecs
from collections.abc import Iterator

from job.spec.drafts import Check, Finding, check
from job.spec.fields import nearest
from job.spec.model import JobSpec
from job.spec.sections import DataSpec
from job.spec.sources import TABLE_KINDS, source_kind

# What only tables, and what only CSV files know.
_TABLE_FIELDS = (
    "target",
    "features",
    "exclude",
    "weight",
    "group",
    "time",
    "columns",
    "missing",
    "impute",
    "indicate_missing",
    "drop_duplicates",
    "encoding",
    "vocabulary_size",
    "hash_bins",
)
_CSV_FIELDS = ("delimiter", "missing_values")
# The columns that are something else than features.
ROLES = ("target", "weight", "group", "time")


def is_table(data: DataSpec) -> bool:
    """Whether the source is one of named columns."""
    return source_kind(data) in TABLE_KINDS


@check("data.source", "data.format", "data.split")
def table_fields_have_a_use(spec: JobSpec) -> Iterator[Finding]:
    """What is said of columns would be ignored in silence where there are none."""
    data, default, kind = spec.data, DataSpec(), source_kind(spec.data)
    if kind is None:
        return
    useless = (() if kind in TABLE_KINDS else _TABLE_FIELDS) + (() if kind == "csv" else _CSV_FIELDS)
    # Features of TFRecord files are named, too; see `job.spec.file_checks`.
    of_records = {"target", "features"} if kind == "tfrecord" else set()
    for field in (field for field in useless if field not in of_records):
        if getattr(data, field) != getattr(default, field):
            expected = "a .csv file" if field in _CSV_FIELDS else "a table (a .csv or .parquet file)"
            yield Finding(("data", field), f"needs data.source to be {expected}")
    if kind not in TABLE_KINDS and data.split in {"group", "time"}:
        yield Finding(("data", "split"), "expected stratified or random: only a table has columns to go by")


@check("data.text_encoding")
def encoding_is_known(spec: JobSpec) -> Iterator[Finding]:
    """Python knows how text of that encoding is read."""
    try:
        codecs.lookup(spec.data.text_encoding)
    except LookupError:
        yield Finding(
            ("data", "text_encoding"), "expected the name of a text encoding, such as utf-8, cp1252 or latin-1"
        )


@check("data.source", "data.format", "data.rescale")
def rescale_is_for_arrays(spec: JobSpec) -> Iterator[Finding]:
    """The columns of a table are standardised one by one."""
    if is_table(spec.data) and spec.data.rescale != "auto":
        yield Finding(("data", "rescale"), "has no effect on a table, whose columns are standardised")


@check("data.source", "data.format", "data.target", "model")
def table_has_a_target(spec: JobSpec) -> Iterator[Finding]:
    """Nothing but the spec says which column is to be predicted."""
    if is_table(spec.data) and spec.data.target is None:
        yield Finding(("data", "target"), "expected the name of the column to predict", shows_value=False)


@check("data.split", "data.group", "data.time")
def split_has_its_column(spec: JobSpec) -> Iterator[Finding]:
    """A split by group or time goes by a column, and such a column is of use to no other split."""
    data = spec.data
    for kind in ("group", "time"):
        column = getattr(data, kind)
        if data.split == kind and column is None:
            yield Finding(("data", kind), f"expected the name of a column, for data.split: {kind}", shows_value=False)
        elif data.split not in {"auto", kind} and column is not None:
            yield Finding(("data", kind), f"has no effect on data.split: {data.split}")
    if data.split == "auto" and data.group is not None and data.time is not None:
        yield Finding(("data", "split"), "expected group or time: both columns are named", shows_value=False)


@check("data.features", "data.exclude", *(f"data.{role}" for role in ROLES))
def columns_have_one_role(spec: JobSpec) -> Iterator[Finding]:
    """The target would predict itself; a column that is named twice in a list is a slip."""
    data = spec.data
    for field in ("features", "exclude"):
        names = getattr(data, field) or ()
        for position, name in enumerate(names):
            if name in names[:position]:
                yield Finding(("data", field, position), "is named twice")
            if field == "exclude" and name in (data.features or ()):
                yield Finding(("data", field, position), "is among data.features, too")
            for role in ROLES:
                # A time or a group may well be predicted from; a target may not, nor may the rows' weights.
                if name == getattr(data, role) and (field == "exclude" or role in {"target", "weight"}):
                    yield Finding(("data", field, position), f"is data.{role} already")
    for position, role in enumerate(ROLES):
        for other in ROLES[:position]:
            name = getattr(data, role)
            if name is not None and name == getattr(data, other) and {role, other} != {"group", "time"}:
                yield Finding(("data", role), f"is data.{other} already")


@check("data.columns", "data.encoding", "data.features", *(f"data.{role}" for role in ROLES))
def column_encodings_have_a_use(spec: JobSpec) -> Iterator[Finding]:
    """Only strings are encoded, each column one way."""
    data = spec.data
    for name, column in data.columns.items():
        path = ("data", "columns", name)
        if name in data.exclude:
            yield Finding(path, "is among data.exclude", shows_value=False)
        encoding = column.encoding or data.encoding
        for field, needed in (("vocabulary_size", "vocabulary"), ("hash_bins", "hashing")):
            if getattr(column, field) is not None and encoding != needed:
                yield Finding((*path, field), f"needs encoding: {needed}; it is {encoding}")
        for field in ("encoding", "vocabulary_size", "hash_bins"):
            if getattr(column, field) is not None and column.type not in {"auto", "string"}:
                yield Finding((*path, field), f"is for strings; the column's type is {column.type}")


def columns_named(data: DataSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every column that a spec names, and where."""
    for role in ROLES:
        name = getattr(data, role)
        if name is not None:
            yield ("data", role), name
    for field in ("features", "exclude"):
        for position, name in enumerate(getattr(data, field) or ()):
            yield ("data", field, position), name
    for name in data.columns:
        yield ("data", "columns", name), name


def unknown_columns(data: DataSpec, header: tuple[str, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The columns that a spec names and a table does not have: where, and what might have been meant."""
    for path, name in columns_named(data):
        if name not in header:
            close = nearest(name, header)
            hint = f"; did you mean {close}?" if close else ""
            yield path, f"the table has no column {name!r}{hint}"


TABLE_CHECKS: tuple[Check, ...] = (
    table_fields_have_a_use,
    encoding_is_known,
    rescale_is_for_arrays,
    table_has_a_target,
    split_has_its_column,
    columns_have_one_role,
    column_encodings_have_a_use,
)
