"""What `validate` knows of a table without reading it: the header of a local CSV file."""

import gzip

import pytest

from job.cli import main
from job.resolve import check_access
from job.spec import DataSpec, JobSpec


def problems_of(capsys, *args):
    code = main(["validate", *args], {})
    return code, capsys.readouterr().err


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "parts"])
def test_unknown_columns_are_reported_before_anything_is_read(capsys, tmp_path, name):
    """Every column that the header lacks is named with its field, and what might have been meant."""
    text = b"\xef\xbb\xbfage;income;bought\n31;2;yes\n"
    if name == "parts":
        (tmp_path / name).mkdir()
        (tmp_path / name / "part-0.csv").write_bytes(text)
    else:
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    document = (
        f"data: {{source: {tmp_path / name}, format: csv, delimiter: ';', target: bougth, features: [age, incme],"
        " weight: w, columns: {agee: {type: string}}}"
    )
    code, said = problems_of(capsys, "--spec", document)
    assert code == 10
    assert "data.target: the table has no column 'bougth'; did you mean bought?" in said
    assert "data.features[1]: the table has no column 'incme'; did you mean income?" in said
    assert "data.weight: the table has no column 'w'" in said
    assert "data.columns.agee: the table has no column 'agee'; did you mean age?" in said
    assert "data.features[0]" not in said


def test_a_table_with_the_named_columns_is_fine(capsys, tmp_path):
    """A spec whose columns are in the header passes."""
    (tmp_path / "table.csv").write_text("a,b,y\n1,2,3\n")
    code, _ = problems_of(capsys, "--set", f"data.source={tmp_path}/table.csv", "--set", "data.target=y")
    assert code == 0


def test_a_folder_of_tables_must_exist(capsys, tmp_path):
    """A folder that is not there is reported with the rest."""
    document = f"data: {{source: {tmp_path}/none/, format: parquet, target: y}}"
    code, said = problems_of(capsys, "--spec", document)
    assert code == 10
    assert "data.source: there is no such file or folder" in said


def test_a_prefix_that_holds_nothing_is_found_before_the_run(bucket, s3_admin, tmp_path):
    """An empty prefix is reported by field path; one with an object passes."""
    s3_admin.put_object(Bucket=bucket, Key="tables/a.csv", Body=b"a,y\n1,2\n")

    def problems(prefix):
        data = DataSpec(source=f"s3://{bucket}/{prefix}/", format="csv", target="y")
        return [str(found.problem) for found in check_access(JobSpec(data=data, output=str(tmp_path)))]

    assert problems("tables") == []
    (problem,) = problems("nothing")
    assert problem.startswith("data.source: there is nothing in this folder or under this prefix")
