"""What kind of source a spec names."""

import pytest

from job.spec import DataSpec
from job.spec.sources import names_folder, source_kind


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("digits", "builtin"),
        ("rows.npz", "npz"),
        ("s3://bucket/rows.CSV", "csv"),
        ("rows.csv.gz", "csv"),
        ("/data/rows.parquet", "parquet"),
        ("rows.tfrecord", "tfrecord"),
        ("rows.tfrecord.gz", "tfrecord"),
        ("module.py", "python"),
        ("s3://bucket/rows/", None),
        ("folder", None),
    ],
)
def test_a_name_says_what_it_is(source, kind):
    """A source is what its name ends with; a folder's name says nothing."""
    assert source_kind(DataSpec(source=source)) == kind


def test_the_format_wins_over_the_name():
    """What `data.format` states holds whatever the name."""
    assert source_kind(DataSpec(source="s3://bucket/rows/", format="csv")) == "csv"
    assert source_kind(DataSpec(source="rows.csv", format="parquet")) == "parquet"


def test_a_folder_is_told_from_a_file_by_its_name():
    """Only a name without a file's ending is a folder's."""
    assert names_folder("s3://bucket/rows/")
    assert names_folder("folder")
    assert not names_folder("rows.csv.gz")
    assert not names_folder("digits")
