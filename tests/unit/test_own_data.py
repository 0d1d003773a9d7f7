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

    def run(body, *, own_model=False, **fields):
        text = f"{HEAD}\ndef load_data():\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        (tmp_path / "data.py").write_text(text)
        spec = DataSpec.model_validate({"source": "data.py", **fields})
        return load_dataset(spec, seed=0, scratch=tmp_path / "scratch", pins=ObjectPins(), own_model=own_model)

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
    "four": ("return x, y, y, y", "the function returns tuple of 4"),
    "weights of another length": ("return x, y, y[1:]", "as many rows of each are expected"),
    "weights below 0": ("return x, y, y - 1.0", "sample_weight is -1.0 in row 0"),
    "an endless data set": (
        "import tensorflow as tf\nreturn tf.data.Dataset.from_tensor_slices((x, y)).repeat()",
        "it never ends",
    ),
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


@pytest.mark.parametrize(
    ("y", "kept", "names"),
    [
        ("y.reshape(-1, 1)", "int64 (40, 1)", ("0", "1")),
        ("y.astype('float64')", "float32 (40,)", ("0", "1")),
        ("(2 * y - 1).astype('int8')", "int8 (40,)", ("-1", "1")),
        ("y + 3", "int64 (40,)", ("3", "4")),
        ("x[:, :1]", "float32 (40, 1)", None),
        ("np.array(['no', 'yes'])[y]", "int64 (40,)", ("no", "yes")),
    ],
)
def test_a_model_of_ones_own_gets_the_targets_as_they_are(load, y, kept, names):
    """Shape and type are the source's; only strings become class numbers. The classes are known all the same."""
    dataset = load(f"return x, {y}", own_model=True)
    both = dataset.train_and_validation.y
    rows = len(both) + dataset.test.rows
    assert f"{both.dtype} {(rows, *both.shape[1:])}" == kept
    assert dataset.class_names == names
    if names is not None:
        assert sum(sum(dataset.class_counts(split).values()) for split in dataset.splits.values()) == 40
        # In proportion, whatever stands for the classes.
        assert dataset.class_counts(dataset.test) == dict.fromkeys(names, 2)


def test_a_file_is_for_a_model_of_ones_own_what_code_is(tmp_path):
    """An `.npz` file's arrays stay as they are, too: bytes are not divided, whole numbers are no floats."""
    x = np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2)
    y = (np.arange(40) % 3).reshape(-1, 1)
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    spec = DataSpec(source=str(tmp_path / "rows.npz"))
    own = load_dataset(spec, seed=0, scratch=tmp_path / "own", own_model=True)
    assert (own.prepared.dtype, own.prepared.max()) == (np.uint8, 159)
    assert own.train_and_validation.y.shape == (36, 1)
    assert any("data.rescale: 255" in note for note in own.notes)
    built_in = load_dataset(spec, seed=0, scratch=tmp_path / "built-in")
    assert built_in.prepared.dtype == np.float32
    assert built_in.prepared.max() <= 1
    assert built_in.train_and_validation.y.shape == (36,)


def test_strings_of_a_file_reach_a_model_of_ones_own(tmp_path):
    """They are refused only where no model of one's own is to read them."""
    x, y = np.array([["a b"], ["c"]] * 20), np.arange(40) % 2
    np.savez(tmp_path / "words.npz", x=x, y=y)
    spec = DataSpec(source=str(tmp_path / "words.npz"))
    own = load_dataset(spec, seed=0, scratch=tmp_path / "own", own_model=True)
    assert own.prepared.dtype.kind == "U"
    assert next(iter(own.preparation.profile()["inputs"].values()))["dtype"] == "string"
    with pytest.raises(DataError, match="has dtype <U3"):
        load_dataset(spec, seed=0, scratch=tmp_path / "other")


@pytest.mark.parametrize(
    "returned",
    [
        "(x[:30], y[:30], w[:30]), (x[30:], y[30:], w[30:])",
        "{f'{name}_{part}': rows[cut] for part, cut in cuts.items() for name, rows in columns.items()}",
        "rows(0, 30).batch(7), rows(30, 40).batch(7)",
        "rows(0, 30), rows(30, 40)",
        "{'train': rows(0, 30).batch(10, drop_remainder=True), 'test': rows(30, 40).batch(4)}",
    ],
)
@pytest.mark.parametrize("own_model", [True, False])
def test_rows_may_have_weights(load, returned, own_model):
    """In a tuple, by name, and in a tf.data.Dataset, row by row or in batches; for built-in builders, too."""
    dataset = load(
        f"""
        w = np.arange(40) / 10
        columns = {{"x": x, "y": y, "sample_weight": w}}
        cuts = {{"train": slice(0, 30), "test": slice(30, 40)}}

        def rows(start, stop):
            import tensorflow as tf
            return tf.data.Dataset.from_tensor_slices((x[start:stop], y[start:stop], w[start:stop]))

        return {returned}
        """,
        own_model=own_model,
    )
    np.testing.assert_array_equal(dataset.test.x, np.arange(120.0).reshape(40, 3)[30:])
    np.testing.assert_allclose(dataset.test.sample_weight, np.arange(30, 40) / 10, rtol=1e-6)
    both = dataset.train_and_validation
    np.testing.assert_allclose(both.sample_weight * 10, both.x[:, 0] / 3, rtol=1e-5)
    np.testing.assert_allclose(dataset.files.open().sample_weight, both.sample_weight)


def test_a_data_set_of_tensorflow_may_nest_and_hold_text(load):
    """Dictionaries keep their names; strings stay text; training, validation and test rows may each be one."""
    dataset = load(
        """
        import tensorflow as tf

        def rows(count):
            inputs = {"number": x[:count], "word": np.array(["one", "twenty"])[y[:count]]}
            rows = tf.data.Dataset.from_tensor_slices((inputs, (y[:count], x[:count])))
            return rows.map(lambda a, b: (a, b)).batch(3)

        return rows(20), rows(6), rows(5)
        """,
        own_model=True,
    )
    assert [split.rows for split in dataset.splits.values()] == [20, 6, 5]
    assert dataset.test.x["word"].tolist() == ["one", "twenty", "one", "twenty", "one"]
    assert dataset.target.task == "custom"
    assert [leaf.shape for leaf in dataset.test.y] == [(5,), (5, 3)]
