"""The user's own data function: what it may return, and what is said of what it may not."""

import textwrap
from dataclasses import replace

import numpy as np
import pytest

from job.data import ObjectPins, load_dataset
from job.data.as_is import AsIs
from job.data.own_arrays import load_and_write
from job.errors import DataError
from job.own_code import CodeSource, fetch_code
from job.spec import DataSpec

HEAD = "import numpy as np\n\nx, y = np.arange(120.0).reshape(40, 3), np.arange(40) % 2\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load what a function's body returns."""
    monkeypatch.chdir(tmp_path)

    def run(body, **fields):
        text = f"{HEAD}\ndef load_data():\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        (tmp_path / "data.py").write_text(text)
        spec = DataSpec.model_validate({"source": "data.py", **fields})
        return load_dataset(spec, seed=0, scratch=tmp_path / "scratch", pins=ObjectPins())

    return run


def test_plain_arrays_are_treated_like_those_of_a_file(load, tmp_path):
    """(x, y) gives the same data set as an `.npz` file with the same arrays, fingerprint included."""
    own = load("print('loading')\nreturn x, y")
    x, y = np.arange(120.0).reshape(40, 3), np.arange(40) % 2
    np.savez(tmp_path / "same.npz", x=x, y=y)
    same = load_dataset(DataSpec(source=str(tmp_path / "same.npz")), seed=0, scratch=tmp_path / "other")
    assert own.fingerprint == same.fingerprint
    assert own.target == same.target
    np.testing.assert_array_equal(own.prepared, same.prepared)
    np.testing.assert_array_equal(own.test.x, same.test.x)


@pytest.mark.parametrize(
    "returned",
    [
        "(x[:30], y[:30]), (x[30:], y[30:])",
        "{'x_train': x[:30], 'y_train': y[:30], 'x_test': x[30:], 'y_test': y[30:]}",
    ],
)
def test_a_test_split_may_be_given(load, returned):
    """As the data sets of Keras return it, or by the names of an `.npz` file."""
    dataset = load(f"return {returned}")
    np.testing.assert_array_equal(dataset.test.x, np.arange(120.0).reshape(40, 3)[30:])
    assert dataset.train.rows + dataset.validation.rows == 30


def test_inputs_may_be_nested(load):
    """Dictionaries keep their names, each input its dtype; classes are still classes, drawn in proportion."""
    dataset = load("return {'x': {'a': x, 'word': np.array(['one', 'two'] * 20)}, 'y': np.where(y, 'yes', 'no')}")
    assert dataset.target.class_names == ("no", "yes")
    assert dataset.class_counts(dataset.test) == {"no": 2, "yes": 2}
    assert isinstance(dataset.preparation, AsIs)
    assert dataset.preparation.profile() == {
        "inputs": {"a": {"shape": (3,), "dtype": "float64"}, "word": {"shape": (), "dtype": "string"}}
    }
    assert dataset.prepared["a"].dtype == np.float32
    rows = dataset.files.open_train()
    assert rows.x.keys() == {"a", "word"}
    assert len(rows.y) == dataset.train_rows
    np.testing.assert_array_equal(rows.x["a"], dataset.train.x["a"].astype(np.float32))
    # Rows of several arrays stay together.
    whole = np.arange(120.0).reshape(40, 3)
    numbers = [int(np.flatnonzero((whole == row).all(axis=1))[0]) for row in dataset.validation.x["a"]]
    assert [["no", "yes"][code] for code in dataset.validation.y] == [["no", "yes"][n % 2] for n in numbers]
    assert list(dataset.validation.x["word"]) == [["one", "two"][n % 2] for n in numbers]


def test_strings_keep_their_length(load):
    """The longest of the test rows is longer than any of the training rows; bytes are text."""
    train, test = "'x_train': {'w': np.array(['a'] * 40)}", "'x_test': {'w': np.array([b'long'] * 4)}"
    dataset = load(f"return {{{train}, 'y_train': y, {test}, 'y_test': y[:4]}}")
    assert set(dataset.test.x["w"]) == {"long"}
    assert set(dataset.train.x["w"]) == {"a"}


@pytest.mark.parametrize(
    ("returned", "structure"),
    [
        ("x, {'first': y, 'second': x}", dict),
        ("x, x", np.ndarray),
        ("x, np.eye(2)[y]", np.ndarray),
        ("x, None", type(None)),
        ("[x, x], [y, y]", list),
    ],
)
def test_targets_of_any_other_kind_are_for_the_model_alone(load, returned, structure):
    """Several targets, targets of several numbers, and none: the task is the model's own affair."""
    dataset = load(f"return {returned}")
    assert dataset.target.task == "custom"
    assert isinstance(dataset.test.y, structure)
    assert dataset.summary().splits["test"].rows == dataset.test.rows == 4


def test_one_hot_rows_are_classes_where_that_is_stated(load):
    """`data.task: classification` takes them as an `.npz` file's."""
    assert load("return x, np.eye(2)[y]", task="classification").class_names == ("0", "1")


def test_numbers_to_predict_are_a_regression(load):
    """Also with several inputs; the scale is that of the training rows."""
    dataset = load("return {'x': [x, x], 'y': x[:, 0] + 0.5}")
    assert dataset.target.task == "regression"
    assert dataset.target.mean == pytest.approx(float(dataset.train.y.mean()))


def test_the_same_code_gives_the_same_data(load):
    """A resumed run reads nothing else."""
    body = "chance = np.random.default_rng(0)\nreturn {'a': x, 'b': chance.normal(size=(40, 2))}, {'y': y}"
    one, other = load(body), load(body)
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(one.test.x["b"], other.test.x["b"])


# What is returned or done, and what is said of it.
WRONG = {
    "nothing": ("pass", "the function returns NoneType"),
    "one array": ("return x", "the function returns ndarray"),
    "three": ("return x, y, y", "the function returns tuple of 3"),
    "unknown names": ("return {'x': x, 'labels': y}", "labels, which belongs to no split"),
    "targets alone": ("return {'x': x, 'y': y, 'y_test': y}", "returns y_test without x_test"),
    "no training rows": ("return {'x_test': x, 'y_test': y}", "returns no training rows"),
    "the same twice": ("return {'x': x, 'y': y, 'x_train': x, 'y_train': y}", "returns train rows twice"),
    "other numbers of rows": ("return x, y[:10]", "have shapes (40, 3), (10,): as many rows of each"),
    "no rows": ("return x[:0], y[:0]", "have shapes (0, 3), (0,)"),
    "a list of numbers": ("return x, [0, 1]", "y holds a int: arrays of numbers"),
    "objects": ("return np.array([{}] * 40), y", "x holds a ndarray of object"),
    "an exit": ("import sys\nsys.exit(1)", "sys.exit, code 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_used_is_told_by_the_users_own_line(tmp_path, what):
    """Exit code 12, the user's file and line."""
    body, words = WRONG[what]
    (tmp_path / "data.py").write_text(f"{HEAD}\ndef load_data():\n{textwrap.indent(body, '    ')}\n")
    code = fetch_code(CodeSource("data", str(tmp_path / "data.py"), "load_data"), tmp_path / "code", ObjectPins())
    with pytest.raises(DataError) as caught:
        load_and_write(lambda _: None, replace(code, shown="data.py"), tmp_path)
    assert caught.value.exit_code == 12
    assert caught.value.message.startswith("data.py, line ")
    assert "in load_data: " in caught.value.message
    assert words in caught.value.message


def test_an_error_is_told_by_its_line_and_words(load):
    """What the code raises stands there as it would in its own traceback's end."""
    with pytest.raises(DataError) as caught:
        load("rows = x\nreturn rows['a'], y")
    assert caught.value.message.startswith("data.py, line 7, in load_data: IndexError: only integers")
    assert caught.value.message.endswith("\n    return rows['a'], y")


def test_a_crash_is_told(load):
    """Native code that dies takes a process of its own along, and nothing else."""
    with pytest.raises(DataError, match=r"data\.py: the process died \(exit code 3\) while the code was being run"):
        load("import os\nos._exit(3)")


def test_parts_must_be_alike(load):
    """What the model learns from and what it is tested on have the same inputs."""
    with pytest.raises(DataError, match="nested otherwise"):
        load("return {'x_train': {'a': x}, 'y_train': y, 'x_test': {'b': x}, 'y_test': y}")
