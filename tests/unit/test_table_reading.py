"""CSV and Parquet files: which are read, what their columns hold, and what is said of those that cannot be used."""

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.data.pins import ObjectPins
from job.data.source_files import source_files
from job.data.tables.column_types import decide_columns
from job.data.tables.columns import roles_of
from job.data.tables.raw import write_raw
from job.data.tables.reading import CsvForm, TableFiles
from job.errors import DataError
from job.records import SourceObject
from job.spec import DataSpec
from job.spec.sections import ColumnSpec

CSV = (".csv", ".csv.gz")


def table_of(path, kind="csv", **settings):
    files = source_files(str(path), field="source", suffixes=CSV if kind == "csv" else (".parquet",),
                         folder=path.parent, pins=ObjectPins())  # fmt: skip
    return TableFiles(files, kind, CsvForm(**settings))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def columns_of(table, stated=None, missing=()):
    spec = DataSpec(source="s3://b/t.csv", missing_values=tuple(missing))
    columns, rows = decide_columns(table, table.header, spec, stated or {})
    return {column.name: column for column in columns}, rows


def raw_of(table, folder, *, missing=(), stated=None, **spec):
    spec = DataSpec(source="s3://b/t.csv", missing_values=tuple(missing), **spec)
    roles = roles_of(spec, table.header, table.shown)
    columns, rows = decide_columns(table, roles.all, spec, stated or {})
    return write_raw(table, columns, roles, rows=rows, missing=frozenset(missing), folder=folder, field="source")


TYPES = """number;whole;flag;day;time;zoned;text;empty;almost
1.5;1;true;2020-01-02;2020-01-02 12:00:00;2020-01-02T12:00:00Z;a;;1
NA;;FALSE;;;;;;2
-2e3;3;;1970-01-01;1970-01-02 06:00;1970-01-01T00:00:00+01:00;NA;;abc
.5;4;True;1969-12-31;2020-01-02 12:00:00.5;1970-01-01T12:00:00Z;"two
lines";;4
"""


def test_types_are_decided_over_all_rows(tmp_path):
    """Numbers, booleans, dates and times are found where every value is one; anything else is a string."""
    columns, rows = columns_of(table_of(write(tmp_path / "t.csv", TYPES), delimiter=";"))
    assert rows == 4
    assert {name: column.type for name, column in columns.items()} == {
        "number": "number", "whole": "number", "flag": "boolean", "day": "date", "time": "date", "zoned": "date",
        "text": "string", "empty": "number", "almost": "string",
    }  # fmt: skip
    assert [name for name, column in columns.items() if column.whole] == ["whole"]
    assert columns["text"].longest == len("two\nlines")


def test_values_are_numbers_days_and_texts(tmp_path):
    """Booleans are 0 and 1, dates and times days since 1970, missing numbers NaN, missing strings ''."""
    table = table_of(write(tmp_path / "t.csv", TYPES), delimiter=";")
    raw = raw_of(table, tmp_path, target="almost", exclude=("whole",))
    names = [column.name for column in raw.columns]
    found = {name: raw.features.numbers[:, position] for position, name in enumerate(names[:6])}
    nan = np.nan
    np.testing.assert_array_equal(found["number"], np.array([1.5, nan, -2000, 0.5], np.float32))
    np.testing.assert_array_equal(found["flag"], [1, 0, nan, 1])
    np.testing.assert_array_equal(found["day"], [18263, nan, 0, -1])
    np.testing.assert_allclose(found["time"], [18263.5, nan, 1.25, 18263.5])
    np.testing.assert_allclose(found["zoned"], [18263.5, nan, -1 / 24, 0.5], rtol=1e-6)
    assert raw.features.strings["text"].tolist() == ["a", "", "NA", "two\nlines"]
    assert raw.missing == {"number": 1, "flag": 1, "day": 1, "time": 1, "zoned": 1, "text": 1, "empty": 4}


def test_a_target_may_not_be_missing(tmp_path):
    """The message names the column, how many rows lack it, and which."""
    text = "a,y\n" + "".join(f"{number},{'' if number % 3 == 0 else 'x'}\n" for number in range(1, 61))
    with pytest.raises(DataError) as caught:
        raw_of(table_of(write(tmp_path / "t.csv", text)), tmp_path, target="y")
    assert "column 'y' (data.target) is missing in 20 rows" in caught.value.message
    assert caught.value.message.endswith("t.csv, rows 3, 6, 9, 12, 15, 18, 21, 24, 27, 30 …")


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        ("a,y,w\n1,2,-1\n", {"weight": "w"}, r"t\.csv: row 1: column 'w' \(data\.weight\) is -1, below 0"),
        ("a,y,w\n1,2,0\n3,4,0\n", {"weight": "w"}, r"column 'w' \(data\.weight\) is 0 in all rows"),
        ("a,y,w\n1,2,x\n", {"weight": "w"}, r"column 'w' \(data\.weight\) has texts: numbers are expected"),
        ("a,y,w\n1,2,\n", {"weight": "w"}, r"column 'w' \(data\.weight\) is missing in 1 rows: .*rows 1$"),
        ("a,y,t\n1,2,noon\n", {"time": "t"}, r"\(data\.time\) has texts: numbers, dates or times are expected"),
        ("a,y\n1,2\ninf,3\n", {}, r"t\.csv: row 2: column 'a' has inf: a finite number"),
        ("a,y\n1e39,2\n", {}, r"t\.csv: row 1: column 'a' has 1e\+39: a finite number that float32 can hold"),
        ("a,y\n1,2\n", {"features": ("b",)}, r"data\.features\.0: the table has no column 'b'"),
        ("a,b,y\n1,2\n", {}, r"t\.csv: cannot be read: CSV parse error: .*Expected 3 columns, got 2"),
        ("y\n1\n", {}, "no column is left to predict 'y' from"),
        ("a,a,y\n1,2,3\n", {}, "more than one column is called 'a'"),
        ("a,y\n", {}, "has no rows"),
        ("", {}, r"t\.csv: cannot be read: Empty CSV file"),
        (f"a,y\n{'x' * 1001},2\n", {}, "column 'a' has texts of up to 1001 characters"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, text, spec, message):
    """A message says which file, column and row it is, and what was expected."""
    with pytest.raises(DataError, match=message):
        raw_of(table_of(write(tmp_path / "t.csv", text)), tmp_path, target="y", **spec)


def test_a_stated_type_must_fit_every_value(tmp_path):
    """A column that is said to be one of numbers has no other values; the first that is none is shown."""
    text = "a,y\n" + "".join(f"{number},1\n" for number in range(5000)) + "abc,1\n7,1\n"
    table = table_of(write(tmp_path / "t.csv", text))
    stated = {"a": ColumnSpec(type="number")}
    with pytest.raises(DataError, match=r"t\.csv: row 5001: column 'a' has 'abc', which is no number"):
        raw_of(table, tmp_path, target="y", stated=stated)
    assert raw_of(table, tmp_path, target="y", stated=stated, missing=("abc",)).missing["a"] == 1


def test_a_few_texts_among_numbers_are_told(tmp_path):
    """A column that is nearly one of numbers is read as strings, and the log says which value makes it so."""
    text = "a,b,y\n" + "".join(f"{number},n{number},1\n" for number in range(100)) + "abc,z,1\n"
    columns, _ = columns_of(table_of(write(tmp_path / "t.csv", text)))
    assert columns["a"].type == "string"
    assert "1 of its 101 values is no number, the first 'abc' (" in columns["a"].note
    assert "row 101" in columns["a"].note
    assert columns["b"].note is None


def test_compressed_marked_and_divided_files_are_one_table(tmp_path):
    """Gzip, a byte order mark, and parts in a folder read as the same rows in the order of their names."""
    folder = tmp_path / "parts"
    write(folder / "b.csv", "y,a\n3,c\n")
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfa,y\na,1\nb,2\n"))
    write(folder / "_SUCCESS", "")
    write(folder / "notes.txt", "no table")
    write(folder / ".hidden" / "c.csv", "a,y\nd,4\n")
    raw = raw_of(table_of(folder), tmp_path, target="y")
    assert raw.target.values.tolist() == [1, 2, 3]
    assert raw.features.strings["a"].tolist() == ["a", "b", "c"]


def test_files_with_other_columns_are_refused(tmp_path):
    """The message names the file and its columns."""
    write(tmp_path / "parts" / "a.csv", "a,y\n1,2\n")
    write(tmp_path / "parts" / "b.csv", "a,z\n1,2\n")
    with pytest.raises(DataError, match=r"b\.csv lacks 'y', unlike .*a\.csv"):
        table_of(tmp_path / "parts")


def test_an_empty_folder_is_a_data_error(tmp_path):
    """A folder without a file of the kind says what was looked for."""
    (tmp_path / "parts").mkdir()
    with pytest.raises(DataError, match=r"there is no file that ends in \.csv or \.csv\.gz"):
        table_of(tmp_path / "parts")


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def test_parquet_declares_its_types(tmp_path):
    """Numbers, booleans, dates, times and texts of a Parquet file are what the file says, missing ones included."""
    file = parquet(
        tmp_path / "t.parquet",
        i=pa.array([1, None, 3, 4], pa.int32()),
        d=pa.array([Decimal("1.5"), Decimal(2), None, Decimal(4)], pa.decimal128(5, 2)),
        b=[True, None, False, True],
        day=[date(1970, 1, 2), None, date(1969, 12, 31), date(2020, 1, 2)],
        ns=pa.array([datetime(1970, 1, 2, 12, tzinfo=UTC), None, None, None], pa.timestamp("ns", "UTC")),
        s=["x", None, "", "NA"],
        c=pa.array(["p", "q", None, "p"]).dictionary_encode(),
        n=pa.nulls(4),
        y=[1, 0, 1, 0],
    )
    raw = raw_of(table_of(file, "parquet"), tmp_path, target="y")
    found = dict(zip([column.name for column in raw.columns], raw.features.numbers.T, strict=False))
    nan = np.nan
    np.testing.assert_array_equal(found["i"], [1, nan, 3, 4])
    np.testing.assert_array_equal(found["d"], [1.5, 2, nan, 4])
    np.testing.assert_array_equal(found["b"], [1, nan, 0, 1])
    np.testing.assert_array_equal(found["day"], [1, nan, -1, 18263])
    np.testing.assert_array_equal(found["ns"], [1.5, nan, nan, nan])
    np.testing.assert_array_equal(found["n"], [nan] * 4)
    assert raw.features.strings["s"].tolist() == ["x", "", "", "NA"]
    assert raw.features.strings["c"].tolist() == ["p", "q", "", "p"]
    assert raw.target.values.dtype == np.int64


def test_parquet_types_that_no_model_takes_are_refused(tmp_path):
    """A list is no feature: the message says so and how to go on without it."""
    file = parquet(tmp_path / "t.parquet", a=[[1], [2]], y=[1, 2])
    with pytest.raises(DataError, match=r"column 'a' is of type list.*, which cannot be a model's input") as caught:
        raw_of(table_of(file, "parquet"), tmp_path, target="y")
    assert "data.exclude: [a]" in caught.value.advice


def test_parquet_files_must_agree_on_types(tmp_path):
    """A column of texts in one file and of numbers in another is refused; whole and other numbers go together."""
    folder = tmp_path / "parts"
    folder.mkdir()
    parquet(folder / "a.parquet", a=[1, 2], y=[1, 2])
    parquet(folder / "b.parquet", a=[1.5, 2.5], y=[1, 2])
    assert raw_of(table_of(folder, "parquet"), tmp_path, target="y").features.numbers[:, 0].tolist() == [1, 2, 1.5, 2.5]
    parquet(folder / "c.parquet", a=["x", "y"], y=[1, 2])
    with pytest.raises(
        DataError, match=r"c\.parquet: column 'a' is of type string, but in other files .* it is double"
    ):
        table_of(folder, "parquet")


def test_a_file_of_another_format_is_a_data_error(tmp_path):
    """What is no Parquet file is said to be none."""
    with pytest.raises(DataError, match=r"t\.parquet"):
        table_of(write(tmp_path / "t.parquet", "a,y\n1,2\n"), "parquet")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 9))
def test_batches_do_not_matter(tmp_path_factory, numbers, batch_rows):
    """Types and values are the same whatever pieces a file is read in."""
    folder = tmp_path_factory.mktemp("batches")
    values = ["7", "x", "", "2020-01-01"]
    file = parquet(folder / "t.parquet", s=[values[number] for number in numbers], y=numbers)
    whole = raw_of(table_of(file, "parquet"), folder, target="y")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("job.data.tables.reading._MOST_BATCH_ROWS", batch_rows)
        pieces = raw_of(table_of(file, "parquet"), folder, target="y")
    assert pieces.features.strings["s"].tolist() == whole.features.strings["s"].tolist()
    assert pieces.hashes.tolist() == whole.hashes.tolist()
    assert pieces.missing == whole.missing


def test_a_prefix_is_read_as_the_run_first_saw_it(tmp_path, bucket, s3_admin):
    """Every object is pinned by its key; one that came later is not read, one that is gone is a data error."""
    for name in ("a", "b"):
        s3_admin.put_object(Bucket=bucket, Key=f"table/{name}.csv", Body=f"a,y\n{name},1\n".encode())
    url = f"s3://{bucket}/table/"
    arguments = {"field": "source", "suffixes": CSV, "folder": tmp_path}
    first = ObjectPins()
    files = source_files(url, pins=first, **arguments)
    assert [file.relative for file in files] == ["a.csv", "b.csv"]
    assert {name: pin.location for name, pin in first.read.items()} == {
        "source/a.csv": f"{url}a.csv", "source/b.csv": f"{url}b.csv",
    }  # fmt: skip
    s3_admin.put_object(Bucket=bucket, Key="table/aa.csv", Body=b"a,y\nnew,1\n")
    again = source_files(url, pins=ObjectPins(first.read), **arguments)
    assert [file.relative for file in again] == ["a.csv", "b.csv"]
    assert all(isinstance(pin, SourceObject) for pin in first.read.values())
    s3_admin.delete_object(Bucket=bucket, Key="table/b.csv")
    with pytest.raises(DataError, match=r"b\.csv: there is no such object any more"):
        source_files(url, pins=ObjectPins(first.read), **arguments)


def test_a_table_of_thousands_of_columns_is_refused_unless_some_are_named(tmp_path):
    """Each feature is an input of the published model, and TensorFlow takes many minutes over 5,000."""
    wide = {f"c{number}": np.zeros(3, "float32") for number in range(5000)}
    pq.write_table(pa.table({**wide, "y": np.arange(3)}), tmp_path / "wide.parquet")
    table = table_of(tmp_path / "wide.parquet", "parquet")
    with pytest.raises(DataError, match=r"wide.parquet: 5000 columns to predict 'y' from; .*at most 2000") as caught:
        raw_of(table, tmp_path, target="y")
    assert "data.features" in caught.value.advice
    assert len(raw_of(table, tmp_path, target="y", features=["c7", "c4000"]).columns) == 2


def test_a_wide_table_names_some_of_its_columns(tmp_path):
    """A message is for people."""
    header = ",".join(f"c{number}" for number in range(5000))
    table = table_of(write(tmp_path / "t.csv", f"{header}\n{header}\n"))
    with pytest.raises(DataError, match="nowhere") as caught:
        raw_of(table, tmp_path, target="nowhere")
    assert caught.value.advice.endswith("c99 and 4900 more.")
