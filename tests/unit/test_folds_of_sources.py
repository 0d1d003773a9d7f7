"""Whatever rows come from, `data.folds` divides all but the test split's, as `data.split` divides rows."""

import numpy as np
import pytest

from job.data import load_dataset
from job.errors import DataError
from job.spec import DataSpec

ROWS = 120
FOLDS = 3


@pytest.fixture
def table(tmp_path):
    """A table with groups of four rows, times in another order than the rows, and two classes."""
    lines = [f"{row / 7},s{row // 4},{(row * 37) % ROWS},{'yes' if row % 3 else 'no'}\n" for row in range(ROWS)]
    path = tmp_path / "rows.csv"
    path.write_text("size,shop,day,kind\n" + "".join(lines))
    return path


def load(tmp_path, **fields):
    spec = DataSpec.model_validate(fields)
    return load_dataset(spec, seed=1, scratch=tmp_path / "scratch")


def folds_of(dataset):
    """The folds, all rows in one of them, and none kept apart to validate on."""
    folds = dataset.files.folds.open()
    assert dataset.train_rows == dataset.train_and_validation.rows == len(folds.block)
    assert dataset.validation.rows == 0
    return folds


def test_a_tables_classes_are_in_proportion(table, tmp_path):
    """Each fold scores on as many rows of each class as the others, but for one."""
    dataset = load(tmp_path, source=str(table), target="kind", exclude=["shop", "day"], folds=FOLDS)
    folds = folds_of(dataset)
    counts = [np.bincount(dataset.train.y[folds.validation(fold)], minlength=2) for fold in range(FOLDS)]
    assert np.ptp(counts, axis=0).max() <= 1


def test_a_tables_groups_stay_together(table, tmp_path):
    """No shop is trained on in the fold that it is scored in."""
    dataset = load(
        tmp_path,
        source=str(table),
        target="size",
        features=["kind", "shop"],
        group="shop",
        task="regression",
        folds=FOLDS,
    )
    shops = np.asarray(dataset.train.x["shop"])
    folds = folds_of(dataset)
    for fold in range(FOLDS):
        assert not set(shops[folds.train(fold)]) & set(shops[folds.validation(fold)])


def test_a_tables_folds_go_forward_in_time(table, tmp_path):
    """A fold is trained on what is older than the rows that it is scored on."""
    dataset = load(
        tmp_path, source=str(table), target="size", features=["kind", "day"], time="day", task="regression", folds=FOLDS
    )
    days = np.asarray(dataset.train.x["day"])
    folds = folds_of(dataset)
    assert folds.in_time
    for fold in range(FOLDS):
        assert days[folds.train(fold)].max() < days[folds.validation(fold)].min()


def test_too_few_rows_for_folds_are_refused(table, tmp_path):
    """The message names the table, the field and how many rows each fold needs."""
    with pytest.raises(DataError, match=r"rows\.csv: data\.folds 90 is not possible: 90 folds need 90 rows"):
        load(tmp_path, source=str(table), target="kind", folds=90)


def test_the_users_own_data_has_folds(tmp_path):
    """Several inputs are divided like one, and rows that the code gives to validate on are among them."""
    code = tmp_path / "rows.py"
    code.write_text(
        "import numpy as np\n"
        "def load_data():\n"
        "    def part(rows):\n"
        "        return {'a': np.ones((rows, 2), 'float32'), 'b': np.ones((rows, 1), 'float32')}, np.arange(rows) % 2\n"
        "    x, y = part(60)\n"
        "    x_validation, y_validation = part(20)\n"
        "    return {'x_train': x, 'y_train': y, 'x_validation': x_validation, 'y_validation': y_validation}\n"
    )
    dataset = load(tmp_path, source=str(code), test_fraction=0.1, folds=FOLDS)
    folds = folds_of(dataset)
    assert len(folds.block) == 54 + 20
    assert dataset.train.x["a"].shape == (74, 2)
