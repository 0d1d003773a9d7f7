"""From a table to splits: who is in which, what the preparation has seen, and what the profile says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.data import load_dataset
from job.data.splits import UndrawableError, draw_groups, draw_last
from job.data.tables.row_hashes import hash_rows, repeated
from job.errors import DataError
from job.spec import DataSpec

ROWS = 240
HEADER = "id,age,city,member,day,label,amount,weight,group"
CITIES = ["Bonn", "Köln", "", "Ulm"]


def line(number, **changes):
    values = {
        "id": number,
        "age": "" if number % 10 == 0 else 20 + number % 50,
        "city": CITIES[number % 4],
        "member": ["true", "false"][number % 2],
        "day": f"2020-{1 + number % 12:02d}-{1 + number % 28:02d}",
        "label": ["no", "yes", "maybe"][number % 3],
        "amount": number * 1.5,
        "weight": 1 + number % 3,
        "group": f"g{number % 17}",
    } | changes
    return ",".join(str(value) for value in values.values())


def write(path, lines):
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "table.csv", [line(number) for number in range(ROWS)])


@pytest.fixture
def load(tmp_path):
    def loaded(source, seed=0, **spec):
        spec = {"target": "label", "exclude": ("weight", "group"), **spec}
        for role in ("weight", "group", "time"):
            if role in spec:
                spec["exclude"] = tuple(name for name in spec["exclude"] if name != spec[role])
        # The tests tell rows by it: what only counts the rows is left out unless it is named.
        spec["columns"] = {"id": {"type": "number"}, **spec.get("columns", {})}
        folder = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
        return load_dataset(DataSpec(source=str(source), **spec), seed=seed, scratch=folder)

    return loaded


def ids(split):
    return split.x["id"].astype(int).tolist()


def test_splits_partition_the_rows_class_by_class(load, table):
    """Every row is in one split, every class in proportion; the same seed gives the same splits."""
    dataset = load(table)
    assert sorted(number for split in dataset.splits.values() for number in ids(split)) == list(range(ROWS))
    assert {name: split.rows for name, split in dataset.splits.items()} == {"train": 173, "validation": 43, "test": 24}
    assert list(dataset.class_counts(dataset.test).values()) == [8, 8, 8]
    assert [ids(split) for split in load(table).splits.values()] == [ids(split) for split in dataset.splits.values()]
    assert ids(load(table, seed=1).test) != ids(dataset.test)


def test_a_split_is_its_rows(load, table):
    """Inputs, targets and weights of a row stay together, in raw and in prepared rows."""
    dataset = load(table, weight="weight", features=("id", "city", "age"))
    for split in dataset.splits.values():
        for position, number in enumerate(ids(split)):
            assert split.x["city"][position] == CITIES[number % 4]
            assert dataset.class_names[split.y[position]] == ["no", "yes", "maybe"][number % 3]
            assert split.sample_weight[position] == 1 + number % 3
            age = split.x["age"][position]
            assert np.isnan(age) if number % 10 == 0 else age == 20 + number % 50
    rows = dataset.files.open()
    np.testing.assert_array_equal(rows.x, dataset.preparation.prepare(dataset.train_and_validation.x))
    np.testing.assert_array_equal(rows.y, dataset.train_and_validation.y)
    np.testing.assert_array_equal(rows.sample_weight, dataset.train_and_validation.sample_weight)
    assert len(dataset.files.open_train().x) == dataset.train_rows


def test_prepared_rows_are_standardised_by_the_training_rows_alone(load, table):
    """Over the training rows numbers have mean 0 and deviation 1, and missing ones are 0 and pointed out."""
    dataset = load(table, features=("age", "member", "day"))
    train = dataset.prepared_train
    np.testing.assert_allclose(train[:, :3].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train[:, 1:3].std(axis=0), 1, rtol=1e-5)
    known = ~np.isnan(dataset.train.x["age"])
    np.testing.assert_allclose(train[known, 0].std(), 1, rtol=1e-5)
    assert np.array_equal(train[:, 3], (~known).astype(np.float32))
    np.testing.assert_allclose(train[~known, 0], 0, atol=1e-6)


def test_what_validation_and_test_rows_hold_changes_no_preparation(load, tmp_path):
    """Other values in rows that are not trained on leave the preparation as it was."""
    before = load(write(tmp_path / "a.csv", [line(number) for number in range(ROWS)]))
    apart = {*ids(before.validation), *ids(before.test)}
    changed = [line(n, age=9999, city="Paris") if n in apart else line(n) for n in range(ROWS)]
    assert load(write(tmp_path / "b.csv", changed)).preparation == before.preparation


def test_groups_stay_together(load, table):
    """No group is in two splits, and about the asked share of rows is drawn."""
    dataset = load(table, group="group", features=("id",))
    groups = [{number % 17 for number in ids(split)} for split in dataset.splits.values()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert 10 <= dataset.test.rows <= 24
    assert dataset.source_profile["split"] == "group"


def test_the_last_rows_are_tested_on(load, table):
    """By time, training rows come before validation rows, and those before test rows."""
    dataset = load(table, time="amount", features=("id",), target="label")
    assert ids(dataset.train) == list(range(173))
    assert ids(dataset.validation) == list(range(173, 216))
    assert ids(dataset.test) == list(range(216, 240))


def test_dates_order_rows(load, table):
    """Dates are compared as dates."""
    dataset = load(table, time="day", features=("id", "day"), split="time")
    latest = dataset.train.x["day"].max()
    assert latest <= dataset.validation.x["day"].min()
    assert dataset.validation.x["day"].max() <= dataset.test.x["day"].min()


def test_duplicates_are_dropped_before_rows_are_divided(load, tmp_path):
    """Of equal rows the first stays; without dropping them the log says that there are some."""
    lines = [line(number) for number in range(ROWS)] + [line(number, weight=9) for number in range(0, ROWS, 2)]
    table = write(tmp_path / "table.csv", lines)
    dataset = load(table, drop_duplicates=True)
    assert sorted(number for split in dataset.splits.values() for number in ids(split)) == list(range(ROWS))
    assert dataset.profile()["duplicates_dropped"] == 120
    kept = load(table)
    assert kept.rows == 360
    assert kept.profile()["duplicates"] == 120
    assert kept.profile()["duplicates_dropped"] == 0
    assert any("120 rows are the same as another one" in note for note in kept.notes)


def test_rows_given_to_test_on_are_not_trained_on(load, table, tmp_path):
    """With duplicates dropped, a row of the test file that the source has, too, is tested on alone."""
    test = write(tmp_path / "test.csv", [line(number) for number in range(60)])
    dataset = load(table, test_source=str(test), drop_duplicates=True)
    assert ids(dataset.test) == list(range(60))
    assert not {*ids(dataset.train), *ids(dataset.validation)} & set(range(60))


def test_rows_given_apart_may_hold_what_training_never_saw(load, table, tmp_path):
    """Unknown and longer categories and missing values of a test table are kept as they are, and prepared."""
    test = write(tmp_path / "test.csv", [line(n, city="Sankt Peter-Ording", age="") for n in range(1000, 1020)])
    dataset = load(table, test_source=str(test), features=("id", "city", "age"))
    assert set(dataset.test.x["city"].tolist()) == {"Sankt Peter-Ording"}
    prepared = dataset.preparation.prepare(dataset.test.x)
    assert np.isfinite(prepared).all()
    (city,) = dataset.preparation.strings
    assert city.vocabulary[0] == ""
    assert not city.unknown
    assert (prepared[:, -city.width :] == 0).all()


def test_a_table_given_apart_must_have_the_sources_types(load, table, tmp_path):
    """A text where the source has numbers is an error that names its file."""
    test = write(tmp_path / "test.csv", [line(number, age="old") for number in range(20)])
    with pytest.raises(DataError, match=r"test\.csv: row 1: column 'age' has 'old', which is no number"):
        load(table, test_source=str(test))


def test_a_label_that_training_never_saw_is_refused(load, table, tmp_path):
    """A class of the test table alone is an error that names the column."""
    test = write(tmp_path / "test.csv", [line(number, label="never") for number in range(20)])
    with pytest.raises(DataError, match=r"test\.csv: column 'label': label 'never' .* does not occur"):
        load(table, test_source=str(test))


def test_missing_values_are_rejected_where_that_is_asked(load, table):
    """The message names the columns with how many values they lack."""
    with pytest.raises(DataError, match=r"values are missing in columns 'age' \(24\), 'city' \(60\)"):
        load(table, missing="reject")
    assert load(table, missing="reject", features=("id", "member")).rows == ROWS


def test_a_regression_is_told_by_its_target(load, table):
    """Numbers with a fraction are predicted; their splits are drawn at random."""
    dataset = load(table, target="amount", exclude=("label", "weight", "group"))
    assert dataset.target.task == "regression"
    assert dataset.target.mean == pytest.approx(float(dataset.train.y.mean()))
    assert dataset.source_profile["split"] == "random"
    with pytest.raises(DataError, match=r"data\.split: stratified needs classes"):
        load(table, target="amount", split="stratified")


def test_medians_stand_for_missing_numbers(load, tmp_path):
    """With `impute: median` a missing number is the median of the training rows."""
    lines = [line(number, age="" if number % 10 == 0 else (number % 7) ** 4) for number in range(ROWS)]
    dataset = load(write(tmp_path / "t.csv", lines), features=("id", "age"), impute="median")
    age = dataset.train.x["age"]
    assert dataset.preparation.numbers[1].fill == np.median(age[~np.isnan(age)])
    assert dataset.preparation.numbers[1].mean == pytest.approx(np.nanmean(age))


def test_vocabularies_hold_the_most_frequent_values(load, tmp_path):
    """The rest shares one column, a missing value has its own; hashing takes a column its own way."""
    cities = ["a"] * 5 + ["b"] * 4 + ["c", "d", ""]
    lines = [line(number, city=cities[number % len(cities)]) for number in range(ROWS)]
    table = write(tmp_path / "t.csv", lines)
    dataset = load(table, vocabulary_size=3, features=("city",))
    (city,) = dataset.preparation.strings
    assert city.vocabulary == ("", "a", "b")
    assert city.unknown
    assert city.places(np.array(["c", "", "a", "b", "never"])).tolist() == [0, 1, 2, 3, 0]
    assert any("the 3 most frequent are told apart" in note for note in dataset.notes)
    columns = {"city": {"encoding": "hashing", "hash_bins": 5}}
    hashed = load(table, features=("city",), columns=columns).preparation.strings[0]
    assert hashed.width == 5
    assert hashed.places(np.array(["", "a", "x"])).tolist()[0] == 0


def test_useless_columns_are_noted(load, tmp_path):
    """Columns of one value and of none are named in the notes."""
    lines = [line(number, age="", member="true") for number in range(ROWS)]
    notes = load(write(tmp_path / "t.csv", lines)).notes
    assert any("'age' has no value in the training rows" in note for note in notes)
    assert any("'member' is 1 in all training rows" in note for note in notes)


def test_identifiers_are_refused_unless_they_are_said_to_be_categories(load, tmp_path):
    """As 100 categories they would be noise: exit code 12, with both ways out; its type or encoding is one of them."""
    table = write(tmp_path / "t.csv", [line(number, city=f"id-{number}") for number in range(ROWS)])
    with pytest.raises(DataError, match=r"column 'city' has hardly a value twice.*'id-0'") as caught:
        load(table)
    assert "data.exclude: [city]" in caught.value.advice
    for said in ({"type": "string"}, {"encoding": "hashing"}):
        assert "city" in load(table, columns={"city": said}).profile()["columns"]
    assert "city" not in load(table, exclude=["city"]).profile()["columns"]


def test_the_profile_names_columns_types_and_missing_values(load, table):
    """`metrics.json` and the log say what each column is, what is missing, and how classes are distributed."""
    dataset = load(table)
    profile = dataset.profile()
    assert profile["rows_per_class"] == {"maybe": 80, "no": 80, "yes": 80}
    assert profile["missing_values"] == 84
    assert profile["columns"]["age"]["missing"] == 24
    assert profile["columns"]["day"]["type"] == "date"
    assert profile["columns"]["day"]["unit"] == "days since 1970-01-01"
    assert set(profile["columns"]["city"]["vocabulary"]) == {"", "Bonn", "Köln", "Ulm"}
    assert dataset.brief_profile()["columns"]["member"] == "boolean"


def test_scratch_holds_the_splits_alone(load, table, tmp_path):
    """What the table was read into is deleted once its rows are divided; the table itself stays."""
    load(table)
    left = {path.name for path in tmp_path.rglob("scratch-*/data/*")}
    assert not [name for name in left if name.startswith("source")]
    assert table.exists()


def test_the_fingerprint_is_of_the_rows(load, table, tmp_path):
    """The same rows in two files have the fingerprint of one file; another value has another."""
    (tmp_path / "parts").mkdir()
    lines = [line(number) for number in range(ROWS)]
    write(tmp_path / "parts" / "a.csv", lines[:100])
    write(tmp_path / "parts" / "b.csv", lines[100:])
    assert load(tmp_path / "parts", format="csv").fingerprint == load(table).fingerprint
    other = write(tmp_path / "other.csv", [line(0, age=77), *lines[1:]])
    assert load(other).fingerprint != load(table).fingerprint


@given(st.lists(st.integers(0, 6), min_size=2, max_size=80), st.floats(0.05, 0.9), st.integers(0, 99))
def test_a_group_is_drawn_as_a_whole(groups, fraction, seed):
    """A group is drawn or kept; both parts hold rows; no more are drawn than asked, unless every group is larger."""
    groups = np.array(groups, dtype=np.int64)
    count = round(fraction * len(groups))
    if not 0 < count < len(groups) or len(np.unique(groups)) < 2:
        with pytest.raises(UndrawableError):
            draw_groups(groups, fraction, seed=seed, purpose="test")
        return
    draw = draw_groups(groups, fraction, seed=seed, purpose="test")
    assert not {*groups[draw.drawn]} & {*groups[draw.kept]}
    assert len(draw.drawn) + len(draw.kept) == len(groups)
    assert len(draw.drawn)
    assert len(draw.kept)
    assert len(draw.drawn) <= max(count, np.bincount(groups)[np.unique(groups)].min())


def test_of_equal_times_the_later_rows_are_last():
    """Rows of one time keep the table's order."""
    assert draw_last(np.array([3.0, 1, 3, 2, 3]), 0.4).drawn.tolist() == [2, 4]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.5, float("nan")]), st.sampled_from(["", "a", "b"])), min_size=1)
)
def test_equal_rows_are_found(rows):
    """Rows are the same where all values are, 0 being -0 and a missing value another; the first of them is kept."""
    numbers, texts = (np.array(values) for values in zip(*rows, strict=True))
    (found,) = repeated([hash_rows([numbers.astype(np.float32), texts])])
    keys = [(str(number + 0.0), text) for number, text in zip(numbers, texts, strict=True)]
    assert found.tolist() == [key in keys[:position] for position, key in enumerate(keys)]


def test_folders_of_tables_are_splits(tmp_path, load):
    """`train`, `val` and `test` in a folder of tables are the splits; one of them among other files is refused."""
    parts = {
        "train/1.csv": range(120),
        "train/2.csv": range(120, 160),
        "Val/1.csv": range(160, 200),
        "test/1.csv": (200, 201),
    }
    for name, numbers in parts.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "set" / name, [line(number) for number in numbers])
    dataset = load(tmp_path / "set", format="csv")
    assert ids(dataset.train) == list(range(160))
    assert ids(dataset.validation) == list(range(160, 200))
    assert ids(dataset.test) == [200, 201]
    write(tmp_path / "set/more.csv", [line(230)])
    (tmp_path / "set/Val/1.csv").unlink()
    (tmp_path / "set/test/1.csv").unlink()
    with pytest.raises(DataError, match=r"train may be a split, or one among more\.csv"):
        load(tmp_path / "set", format="csv")
    assert load(tmp_path / "set", format="csv", split_folders=False).rows == 161
