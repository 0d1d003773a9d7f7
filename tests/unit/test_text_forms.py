"""Numbers and dates as people write them: read so where the spec says it, refused with advice where it does not."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.data.pins import ObjectPins
from job.data.source_files import source_files
from job.data.tables.column_types import decide_columns
from job.data.tables.columns import TextForm, roles_of
from job.data.tables.indexes import without_indexes
from job.data.tables.reading import CsvForm, TableFiles
from job.data.tables.text_forms import likeness_of
from job.data.tables.values import numbers_of
from job.errors import DataError
from job.spec import DataSpec
from job.spec.csv_text import header_of

GERMAN = "größe;klasse\n1;ja\n2;jä\n"


def table_of(path, kind="csv", **form):
    files = source_files(str(path), field="source", suffixes=(".csv", ".csv.gz", ".parquet"), folder=path.parent,
                         pins=ObjectPins())  # fmt: skip
    return TableFiles(files, kind, CsvForm(**form))


def column_of(path, kind="csv", delimiter=";", **spec):
    table = table_of(path, kind, delimiter=delimiter)
    wanted = DataSpec(source="t.csv", **spec)
    columns, _ = decide_columns(table, table.header[:1], wanted, dict(wanted.columns))
    return columns[0]


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=1),
    st.sampled_from([(".", ","), (",", "."), (",", " "), (",", "\u00a0"), (",", None), (".", "'"), (".", None)]),
)
def test_what_is_written_with_separators_is_read_back(hundredths, signs):
    """Numbers of every pair of separators come back as they were."""
    decimal, thousands = signs
    swap = str.maketrans({".": decimal, ",": thousands or ""})
    texts = [f"{number / 100:,.2f}".translate(swap) for number in hundredths]
    read = numbers_of(pa.array(texts), "number", frozenset(), TextForm(decimal, thousands))
    np.testing.assert_allclose(read, np.array(hundredths) / 100)


@pytest.mark.parametrize("text", ["1.23", "12,34,5", "1 234,5", "1,2.3"])
def test_what_is_not_of_the_stated_form_is_no_number(text):
    """A group that is no group of three, or another separator, is refused and not read as some other number."""
    with pytest.raises(ValueError, match="row 1"):
        numbers_of(pa.array(["1,5", text]), "number", frozenset(), TextForm(",", "."))


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        (["1,5", "2", "-0,25"], "data.decimal"),
        (["1.234,50", "12,00", "7"], "data.thousands"),
        (["1,234", "12,500,000", "7"], "data.thousands"),
        (["12 %", "7.5%"], "type: number"),
        (["(1.234,50)", "(12)", "7"], "minus sign"),
        (["€ 12", "1,50 €"], "type: number"),
        (["31.12.2020", "1.2.21"], "data.date_format"),
        (["12/31/2020", "01/02/2021 10:00"], "data.date_format"),
    ],
)
def test_what_looks_like_numbers_or_dates_names_the_field_that_reads_it(texts, field):
    """Each way of writing names its own field."""
    like = likeness_of("a", texts)
    assert like is not None
    assert field in like.advice


@pytest.mark.parametrize("texts", [["red", "blue"], ["A1", "B2"], ["a,b", "c,d"], ["1-2", "3-4"], []])
def test_categories_look_like_nothing_else(texts):
    """Words and codes stay categories."""
    assert likeness_of("a", texts) is None


@pytest.mark.parametrize(
    ("texts", "is_unclear"),
    [
        (["950", "1.234", "12.500"], True),
        (["0", "1.234"], False),
        (["950", "1.25", "1.234"], False),
        (["1.234", "2.500"], False),
        (["950", "0.125"], False),
        (["950", "1050"], False),
    ],
)
def test_points_that_may_stand_between_thousands_are_asked_for(tmp_path, texts, is_unclear):
    """Whole numbers below 1,000 beside numbers with three digits after the point: no guess decides which they are."""
    path = tmp_path / "t.csv"
    path.write_text("a;b\n" + "".join(f"{text};1\n" for text in texts))
    if is_unclear:
        with pytest.raises(DataError, match=r"points that may stand between thousands: '950' .*row 1") as refused:
            column_of(path)
        assert 'data.thousands: "."' in str(refused.value.advice)
    else:
        assert column_of(path).type == "number"
    assert column_of(path, columns={"a": {"type": "number"}}).type == "number"


@pytest.mark.parametrize("rows", [["1,5", "1.234"], ["7", "1.234"]])
def test_a_point_before_three_digits_is_never_a_decimal_one_beside_commas(tmp_path, rows):
    """With data.decimal "1.234" is no fraction, whether its batch has a comma or not; other columns may have points."""
    path = tmp_path / "t.csv"
    path.write_text("a;b\n" + "".join(f"{row};52.25\n" for row in rows))
    with pytest.raises(DataError, match="look like"):
        column_of(path, decimal=",")
    assert numbers_of(pa.array(["52.25", "1,5"]), "number", frozenset(), TextForm(",")).tolist() == [52.25, 1.5]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_decimal_commas_are_asked_for_in_both_kinds_of_files(tmp_path, kind):
    """Texts with commas never become categories unsaid, also where a Parquet file declares texts."""
    path = tmp_path / f"t.{kind}"
    values = ["1,5", "2,25", "3,0"]
    if kind == "csv":
        path.write_text("a;b\n" + "".join(f"{value};1\n" for value in values))
    else:
        pq.write_table(pa.table({"a": values}), path)
    with pytest.raises(DataError, match=r"decimal comma: '1,5' .*row 1") as refused:
        column_of(path, kind)
    assert "data.decimal" in str(refused.value.advice)


def test_a_stated_comma_makes_numbers_in_csv(tmp_path):
    """With data.decimal the column is one of numbers, and so are columns without a fraction."""
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;1\n2;1\n")
    assert column_of(path, decimal=",").type == "number"


def test_numbers_as_texts_in_parquet_are_said(tmp_path):
    """Texts of plain numbers stay texts, with a note that says how to read numbers."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["1", "2.5"]}), path)
    column = column_of(path, "parquet")
    assert column.type == "string"
    assert "{a: {type: number}}" in column.note


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig", "utf-8"])
def test_text_encodings_are_read_alike(tmp_path, encoding, packed):
    """Header and rows are the same whatever the encoding, packed or not, for both readers of the header."""
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    content = GERMAN.encode(encoding)
    path.write_bytes(gzip.compress(content) if packed else content)
    table = table_of(path, delimiter=";", encoding="utf-8" if encoding == "utf-8-sig" else encoding)
    assert table.header == header_of(path, ";", table._form.encoding) == ("größe", "klasse")  # noqa: SLF001  # as given
    assert [batch.rows.column("klasse").to_pylist() for batch in table.batches(["klasse"])] == [["ja", "jä"]]


@pytest.mark.parametrize(
    ("text", "place"),
    [("größe;b\n1;2\n", "the header"), ('a;b\n1;"x\ny"\n\n2;jä\n', "row 2"), ("sep=;\na;b\n1;jä\n", "row 1")],
)
def test_another_encoding_is_named_with_its_place(tmp_path, text, place):
    """Header or row is named, counted as rows are, with the field that helps."""
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"t\.csv: {place} is no text in utf-8") as refused:
        list(table_of(path, delimiter=";").batches(["b"]))
    assert "data.text_encoding" in str(refused.value.advice)


@pytest.mark.parametrize("name", ["", "id", "index", "Unnamed: 0"])
@pytest.mark.parametrize("start", [0, 1])
def test_what_counts_the_rows_is_left_out_unless_named(tmp_path, name, start):
    """A column called like an index that counts through is no feature; data.columns keeps it."""
    path = tmp_path / "t.csv"
    path.write_text(f"{name},x,y\n" + "".join(f"{start + row},{row % 3},{row % 2}\n" for row in range(9)))
    table = table_of(path)

    def features(**said):
        spec = DataSpec(source="t.csv", target="y", **said)
        return without_indexes(spec, table, roles_of(spec, table.header, "t.csv"))

    roles, notes = features()
    assert roles.features == ("x",)
    assert any(repr(name) in note for note in notes)
    if name:
        assert features(columns={name: {"type": "number"}})[0].features == (name, "x")


def test_an_index_by_the_files_own_metadata_is_left_out(tmp_path):
    """What pandas notes as an index is none of the features, whatever it is called."""
    path = tmp_path / "t.parquet"
    table = pa.table({"x": [3, 1, 2], "y": [0, 1, 0], "when": [9, 2, 5]})
    pq.write_table(table.replace_schema_metadata({"pandas": '{"index_columns": ["when"]}'}), path)
    files = table_of(path, "parquet")
    spec = DataSpec(source="t.parquet", target="y")
    assert without_indexes(spec, files, roles_of(spec, files.header, "t"))[0].features == ("x",)


def test_unnamed_columns_at_the_end_are_dropped_together(tmp_path):
    """A spreadsheet's empty columns behind the last name are no columns."""
    path = tmp_path / "t.csv"
    path.write_text("a,b,,\n1,2,,\n")
    table = table_of(path)
    assert (table.header, table.unnamed) == (("a", "b"), 2)
