"""From files to a data set."""

import hashlib
from itertools import chain

import numpy as np
import pytest

from job.data import load_dataset
from job.data.arrays import fingerprint
from job.spec import DataSpec

ROWS = 120
CLASSES = 4


def make_rows(rows, *, seed=0, dtype=np.uint8, shape=(3, 2)):
    """Inputs in which every row is its own, and labels 0 to 3."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, size=(rows, *shape)).astype(dtype)
    x[:, 0, 0] = np.arange(rows) % 256
    return x, np.arange(rows) % CLASSES


def load(folder, *, seed=0, spec=None, save=np.savez, **arrays):
    """Write the arrays as an .npz file and load it."""
    save(folder / "rows.npz", **arrays)
    return load_dataset(
        DataSpec(source=str(folder / "rows.npz"), **(spec or {})), seed=seed, scratch=folder / "scratch"
    )


def identities(split):
    """The number that make_rows gave to each row."""
    return split.x[:, 0, 0].tolist()


def test_digits_come_from_scikit_learn_without_a_file(tmp_path):
    """The default source is 1797 images of 8 x 8 in ten classes, divided by their greatest value, 16."""
    dataset = load_dataset(DataSpec(), seed=0, scratch=tmp_path)
    assert {name: split.rows for name, split in dataset.splits.items()} == {
        "train": 1294,
        "validation": 323,
        "test": 180,
    }
    assert dataset.class_names == tuple("0123456789")
    assert dataset.preparation.divisor == 16.0
    assert dataset.preparation.input_shape == (8, 8)
    assert dataset.preparation.input_dtype == "float64"
    assert dataset.test.x.dtype == np.float64
    assert dataset.prepared_train.max() == 1.0
    assert dataset.source == "digits"
    assert "divided by 16" in dataset.notes[-1]


def test_rows_are_divided_among_three_splits(tmp_path):
    """A tenth of x and y is tested on, a fifth of the rest validated on; nothing is lost or seen twice."""
    x, y = make_rows(ROWS)
    dataset = load(tmp_path, x=x, y=y)
    assert [split.rows for split in dataset.splits.values()] == [86, 22, 12]
    assert sorted(chain.from_iterable(map(identities, dataset.splits.values()))) == list(range(ROWS))
    for split in dataset.splits.values():
        assert np.array_equal(split.x, x[identities(split)])
        assert np.array_equal(split.y, y[identities(split)])
        counts = dataset.class_counts(split).values()
        assert max(counts) - min(counts) <= 1


def test_train_and_validation_lie_one_after_the_other(tmp_path):
    """Training on both needs no copy: the parts are views of one file, prepared rows as well as labels."""
    x, y = make_rows(ROWS)
    dataset = load(tmp_path, x=x, y=y)
    both = dataset.prepared_train_and_validation
    assert dataset.train_rows == dataset.train.rows
    assert np.shares_memory(dataset.prepared_train, both)
    assert np.shares_memory(dataset.prepared_validation, both)
    assert np.array_equal(np.concatenate([dataset.prepared_train, dataset.prepared_validation]), both)
    assert np.array_equal(dataset.prepared_train, dataset.preparation.prepare(dataset.train.x))
    assert np.array_equal(dataset.prepared_validation, dataset.preparation.prepare(dataset.validation.x))
    assert np.array_equal(np.load(dataset.files.x), both)
    assert np.array_equal(np.load(dataset.files.y), dataset.train_and_validation.y)


def test_arrays_are_memory_mapped_and_read_only(tmp_path):
    """Nothing of the data lives in the process's own memory, and nobody can change it."""
    x, y = make_rows(ROWS)
    dataset = load(tmp_path, x=x, y=y)
    both, test = dataset.train_and_validation, dataset.test
    for array in (both.x, both.y, test.x, test.y, dataset.prepared):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_the_scratch_folder_holds_the_splits_alone(tmp_path):
    """The arrays as extracted give their disk space back."""
    x, y = make_rows(ROWS)
    load(tmp_path, x=x, y=y)
    assert sorted(path.name for path in (tmp_path / "scratch" / "data").iterdir()) == [
        "prepared_train_and_validation.npy",
        "x_test.npy",
        "x_train_and_validation.npy",
        "y_test.npy",
        "y_train_and_validation.npy",
    ]


def test_rows_that_need_no_preparation_are_not_written_twice(tmp_path):
    """float32 rows that nothing divides are their own prepared rows."""
    x, y = make_rows(ROWS, dtype=np.float32)
    dataset = load(tmp_path, x=x, y=y, spec={"rescale": "none"})
    assert dataset.prepared is dataset.train_and_validation.x
    assert np.array_equal(np.load(dataset.files.x), dataset.prepared)


@pytest.mark.parametrize("names", [("x_train", "x_validation"), ("x", "x_validation"), ("x_train", "x_val")])
def test_splits_that_the_file_carries_are_kept(tmp_path, names):
    """Arrays for validation and test are those splits, in their order, and no fraction is drawn."""
    train, validation, test = make_rows(60), make_rows(20, seed=1), make_rows(16, seed=2)
    arrays = {names[0]: train[0], names[0].replace("x", "y"): train[1]}
    arrays |= {names[1]: validation[0], names[1].replace("x", "y"): validation[1]}
    dataset = load(tmp_path, **arrays, x_test=test[0], y_test=test[1])
    for split, (x, y) in zip(dataset.splits.values(), (train, validation, test), strict=True):
        assert np.array_equal(split.x, x)
        assert np.array_equal(split.y, y)


def test_validation_rows_are_drawn_from_the_training_rows(tmp_path):
    """With x_test in the file, a fifth of x_train is validated on."""
    train, test = make_rows(100), make_rows(16, seed=2)
    dataset = load(tmp_path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    assert [split.rows for split in dataset.splits.values()] == [80, 20, 16]
    assert np.array_equal(dataset.test.x, test[0])


@pytest.mark.parametrize(("x_name", "y_name"), [("x", "y"), ("x_test", "y_test")])
def test_other_files_give_the_validation_and_test_rows(tmp_path, x_name, y_name):
    """validation_source and test_source take the place of fractions and of arrays in the source."""
    train, own_test, validation, test = (make_rows(rows, seed=rows) for rows in (60, 12, 20, 16))
    np.savez(tmp_path / "validation.npz", x=validation[0], y=validation[1])
    np.savez(tmp_path / "test.npz", **{x_name: test[0], y_name: test[1]})
    dataset = load(
        tmp_path,
        x_train=train[0],
        y_train=train[1],
        x_test=own_test[0],
        y_test=own_test[1],
        spec={
            "validation_source": str(tmp_path / "validation.npz"),
            "test_source": str(tmp_path / "test.npz"),
            "test_fraction": 0.5,
        },
    )
    assert np.array_equal(dataset.train.x, train[0])
    assert np.array_equal(dataset.validation.x, validation[0])
    assert np.array_equal(dataset.test.x, test[0])
    notes = "\n".join(dataset.notes)
    assert "x_test of" in notes
    assert "data.test_fraction 0.5 is not used" in notes


def test_fractions_are_shares_of_all_rows_and_of_the_rest(tmp_path):
    """test_fraction counts from all rows, validation_fraction from those that the test split leaves."""
    x, y = make_rows(ROWS)
    dataset = load(tmp_path, x=x, y=y, spec={"test_fraction": 0.5, "validation_fraction": 0.5})
    assert [split.rows for split in dataset.splits.values()] == [30, 30, 60]


@pytest.mark.parametrize("split", ["stratified", "random"])
def test_the_seed_decides_the_splits(tmp_path, split):
    """Equal seeds give equal splits, other seeds others; the fingerprint is the data's alone."""
    x, y = make_rows(ROWS)
    first, again, other = (load(tmp_path, x=x, y=y, seed=seed, spec={"split": split}) for seed in (0, 0, 1))
    assert identities(first.test) == identities(again.test)
    assert identities(first.validation) == identities(again.validation)
    assert identities(first.test) != identities(other.test)
    assert identities(first.validation) != identities(other.validation)
    assert first.fingerprint == again.fingerprint == other.fingerprint


def test_a_class_that_a_split_misses_is_noted(tmp_path):
    """A class of one row stays in training; the notes say that it is neither validated nor tested."""
    x, y = make_rows(ROWS)
    y[7] = 9
    dataset = load(tmp_path, x=x, y=y)
    assert dataset.class_counts(dataset.train)["9"] == 1
    assert "1 of 5 classes have no row in the validation split" in dataset.notes
    assert "1 of 5 classes have no row in the test split" in dataset.notes


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        pytest.param(np.array([5, 40, 300]), ("5", "40", "300"), id="integers by value"),
        pytest.param(np.array([5, 40, 200], dtype=np.uint8), ("5", "40", "200"), id="bytes"),
        pytest.param(np.array([0.0, 1.0, 2.0]), ("0", "1", "2"), id="whole floats"),
        pytest.param(np.array([0.0, 1.0, 2.0], dtype=np.float16), ("0", "1", "2"), id="whole half floats"),
        pytest.param(np.array(["ant", "bee", "Wasp"]), ("Wasp", "ant", "bee"), id="strings"),
        pytest.param(np.array([b"ant", "\xe9t\xe9".encode(), b"bee"]), ("ant", "bee", "\xe9t\xe9"), id="UTF-8 bytes"),
        pytest.param(np.array([False, True, True]), ("False", "True"), id="booleans"),
        pytest.param(np.eye(5)[[4, 0, 2]], ("0", "2", "4"), id="one-hot"),
        pytest.param(np.eye(5, dtype=bool)[[4, 0, 2]], ("0", "2", "4"), id="one-hot booleans"),
    ],
)
def test_labels_become_classes_in_sorted_order(tmp_path, labels, names):
    """Whatever labels are, y is the index of their name among the sorted classes."""
    x, _ = make_rows(ROWS)
    y = labels[np.arange(ROWS) % 3]
    dataset = load(tmp_path, x=x, y=y)
    assert dataset.class_names == names
    values = y.argmax(axis=1) if y.ndim == 2 else y
    for split in dataset.splits.values():
        assert split.y.dtype == np.int64
        expected = [v.decode() if isinstance(v, bytes) else v for v in values[identities(split)].tolist()]
        found = [dataset.class_names[code] for code in split.y]
        assert found == [str(int(v)) if isinstance(v, float) else str(v) for v in expected]


def test_a_column_of_labels_is_as_good_as_a_row(tmp_path):
    """Labels of shape (rows, 1) are labels of shape (rows,)."""
    x, y = make_rows(ROWS)
    flat, column = load(tmp_path, x=x, y=y), load(tmp_path, x=x, y=y[:, np.newaxis])
    assert np.array_equal(flat.test.y, column.test.y)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.uint64, np.float16, np.float64, ">f4", ">i2"])
def test_inputs_keep_their_dtype_and_values(tmp_path, dtype):
    """Raw rows are as in the source, in native byte order; prepared rows are float32."""
    x = make_rows(ROWS)[0].astype(np.int64) % 100
    dataset = load(
        tmp_path, x_train=x.astype(dtype), y_train=make_rows(ROWS)[1], x_test=x.astype(dtype), y_test=make_rows(ROWS)[1]
    )
    assert dataset.test.x.dtype == np.dtype(dtype).newbyteorder("=")
    assert dataset.test.x.dtype.name == dataset.preparation.input_dtype
    assert np.array_equal(dataset.test.x, x.astype(dtype))
    assert dataset.prepared.dtype == np.float32


def test_splits_of_compatible_dtypes_get_that_of_the_training_rows(tmp_path):
    """float64 test rows for a model of float32 rows are cast."""
    x, y = make_rows(ROWS, dtype=np.float32)
    dataset = load(tmp_path, x_train=x, y_train=y, x_test=x.astype(np.float64), y_test=y)
    assert dataset.test.x.dtype == np.float32
    assert np.array_equal(dataset.test.x, x)


def test_the_fingerprint_knows_neither_compression_nor_layout_nor_order(tmp_path):
    """Saved compressed, column by column, big-endian or in another order, arrays keep their fingerprint."""
    x, y = make_rows(ROWS, dtype=np.float32)
    plain = load(tmp_path, x=x, y=y)
    others = [
        load(tmp_path, x=x, y=y, save=np.savez_compressed),
        load(tmp_path, x=np.asfortranarray(x), y=y),
        load(tmp_path, x=x.astype(">f4"), y=y),
        load(tmp_path, y=y, x=x),
    ]
    for other in others:
        assert other.fingerprint == plain.fingerprint
        assert np.array_equal(other.prepared, plain.prepared)
    x[3, 1, 1] += 1
    assert load(tmp_path, x=x, y=y).fingerprint != plain.fingerprint


def test_the_fingerprint_is_a_sha256_that_can_be_computed_elsewhere():
    """It hashes, in the order of names, name, dtype and shape in a line each, then the values in C order."""
    x, y = np.arange(6, dtype=np.uint8).reshape(3, 2), np.array([1, 0, 1])
    expected = b"x_train\n|u1\n(3, 2)\n" + x.tobytes() + b"y_train\n<i8\n(3,)\n" + y.astype("<i8").tobytes()
    assert fingerprint([("y_train", y), ("x_train", x)]) == hashlib.sha256(expected).hexdigest()


def test_large_arrays_pass_through_memory_in_pieces(tmp_path, monkeypatch):
    """Pieces smaller than the array give the same files, hash and checks as one piece."""
    x, y = make_rows(ROWS, dtype=np.float64)
    one_hot = np.eye(CLASSES)[y]
    whole = load(tmp_path, x=x, y=one_hot)
    whole_prepared, whole_test = np.array(whole.prepared), np.array(whole.test.x)
    monkeypatch.setattr("job.data.arrays._CHUNK_BYTES", 7 * x[0].nbytes)
    pieces = load(tmp_path, x=x, y=one_hot)
    assert pieces.fingerprint == whole.fingerprint
    assert pieces.preparation == whole.preparation
    assert np.array_equal(pieces.prepared, whole_prepared)
    assert np.array_equal(pieces.test.x, whole_test)


def test_the_summary_and_the_profile_count_what_is_there(tmp_path):
    """The manifest gets rows per split and the fingerprint, the log also shape, dtype and rows per class."""
    x, y = make_rows(ROWS)
    dataset = load(tmp_path, x=x, y=y)
    summary = dataset.summary()
    assert summary.source == str(tmp_path / "rows.npz")
    assert summary.fingerprint == dataset.fingerprint
    assert summary.rows == ROWS
    assert {name: split.rows for name, split in summary.splits.items()} == {"train": 86, "validation": 22, "test": 12}
    assert dataset.profile() == {
        "source": summary.source,
        "task": "classification",
        "rows": {"train": 86, "validation": 22, "test": 12},
        "input_shape": (3, 2),
        "input_dtype": "uint8",
        "classes": 4,
        "rows_per_class": {"0": 30, "1": 30, "2": 30, "3": 30},
    }


def test_a_second_load_into_the_same_scratch_folder_replaces_the_first(tmp_path):
    """A job that starts again finds its own leftovers, whole or unfinished, and goes on."""
    x, y = make_rows(ROWS)
    load(tmp_path, x=x, y=y)
    (tmp_path / "scratch" / "data" / "source-x.npy.unfinished").write_bytes(b"left by a killed process")
    dataset = load(tmp_path, x=x[::-1].copy(), y=y[::-1].copy())
    assert sorted(chain.from_iterable(map(identities, dataset.splits.values()))) == list(range(ROWS))
