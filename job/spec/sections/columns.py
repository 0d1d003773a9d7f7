"""What can be said of one column of a table: the entries of `data.columns`."""

from typing import Literal

from pydantic import Field

from job.spec.sections.section import Section

DEFAULT_VOCABULARY_SIZE = 100
DEFAULT_HASH_BINS = 64
# Each value is a column of the prepared rows, four bytes per row.
LARGEST_ENCODING = 100_000


class ColumnSpec(Section):
    """How one column of a table is read and encoded; what is not said is decided as for all columns."""

    type: Literal["auto", "number", "boolean", "date", "string"] = "auto"
    """What the values are. `auto` looks at all rows of a CSV file, and takes a Parquet file's own type."""
    date_format: str | None = Field(default=None, min_length=1)
    """Of dates, instead of `data.date_format`."""
    encoding: Literal["vocabulary", "hashing"] | None = None
    """Of strings, instead of `data.encoding`."""
    vocabulary_size: int | None = Field(default=None, ge=1, le=LARGEST_ENCODING)
    """Of strings, instead of `data.vocabulary_size`."""
    hash_bins: int | None = Field(default=None, ge=3, le=LARGEST_ENCODING)
    """Of strings, instead of `data.hash_bins`."""
