"""The user's own model is tried before the search, and what is wrong with it is told by its own file and line."""

import textwrap
import time

import keras
import pytest

from job.data import ObjectPins, load_dataset
from job.errors import ModelCodeError, SpecError
from job.export.reader import open_reader
from job.own_code import CodeSource, fetch_code, run_contained
from job.search.checked_model import Samples
from job.search.own_trying import check_model
from job.search.trial_plan import trial_plan
from job.spec import JobSpec
from job.training.fork_server import end_fork_server, worker_context

GOOD = """\
    import keras

    def build_model(hp):
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(hp.Int("units", 4, 16, step=4))])
        model.add(keras.layers.Dense(10))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
        return model
"""


@pytest.fixture(scope="module")
def processes():
    """What checking processes are forked from."""
    yield worker_context()
    end_fork_server()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_dataset(JobSpec().data, seed=0, scratch=tmp_path_factory.mktemp("digits"))


@pytest.fixture
def check(processes, digits, tmp_path, monkeypatch):
    """Check a module's text under a spec's other sections."""
    monkeypatch.chdir(tmp_path)

    def run(text, *, patience=100.0, dataset=digits, **sections):
        content = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
        (tmp_path / "model.py").write_bytes(content)
        model = {"source": "model.py", **sections.pop("model", {})}
        spec = JobSpec.model_validate({"model": model, **sections})
        code = fetch_code(CodeSource.of(spec.model), tmp_path / "code", ObjectPins())
        plan = trial_plan(spec, dataset, tmp_path, code)
        samples = Samples.of(dataset)
        with open_reader(tmp_path / "models", code) as reader:
            return run_contained(processes, code, check_model, plan, samples, reader, patience=patience)

    return run


# What is wrong, the line that must be named, and words that must be said.
BROKEN = {
    "a syntax error": ("import keras\n\ndef build_model(hp:\n    pass\n", 3, "SyntaxError"),
    "an import that fails": ("import keras\nimport no_such_package\n", 2, "No module named 'no_such_package'"),
    "no such function": ("import keras\n\ndef make(hp):\n    pass\n", 1, "no function or class build_model in it"),
    "a function without hp": ("def build_model():\n    pass\n", 1, "it cannot be called as build_model(hp)"),
    "no model returned": ("def build_model(hp):\n    hp.Int('units', 1, 2)\n", 1, "the function returns None"),
    "a model that is not compiled": (
        "import keras\n\ndef build_model(hp):\n    return keras.Sequential([keras.layers.Dense(10)])\n",
        3,
        "the model is not compiled",
    ),
    "an error while building": (
        'import keras\n\ndef build_model(hp):\n    return keras.layers.Dense(hp.Int("u", 1, 2), activaton="relu")\n',
        4,
        "activaton",
    ),
    "an error inside a layer": (
        """\
        import keras

        class Odd(keras.layers.Layer):
            def call(self, x):
                return keras.ops.matmul(x, keras.ops.ones((3, 3)))

        def build_model(hp):
            model = keras.Sequential([keras.layers.Flatten(), Odd(), keras.layers.Dense(10)])
            model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
            return model
        """,
        5,
        "in call",
    ),
    "a wrong output shape": (
        GOOD.replace("Dense(10)", "Dense(7)"),
        3,
        "its targets are whole numbers from 0 to 9, one per row (10 classes)",
    ),
    "no objective among the metrics": (GOOD.replace(', metrics=["accuracy"]', ""), 3, "does not log val_accuracy"),
    "an exit at import": ("import sys\nprint('bye')\nsys.exit(0)\n", 3, "sys.exit, code 0"),
    "an exit while building": ("import sys\n\ndef build_model(hp):\n    sys.exit('no')\n", 4, "ends the process"),
    "text that is not UTF-8": (b"import keras\nname = '\xe9'\n\ndef build_model(hp):\n    pass\n", 2, "utf-8"),
    "a loss that fails": (
        """\
        import keras

        def loss(y, predicted):
            raise ValueError("no loss today")

        def build_model(hp):
            model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
            model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
            return model
        """,
        4,
        "no loss today",
    ),
    "a train_step that fails": (
        """\
        import keras

        class Net(keras.Model):
            def train_step(self, data):
                return {"loss": self.undefined}

        def build_model(hp):
            inputs = keras.Input((8, 8))
            model = Net(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
            model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            return model
        """,
        5,
        "undefined",
    ),
    "neither a function nor a HyperModel": ("build_model = 3\n", 1, "is no function build_model(hp)"),
    "a HyperModel that cannot be made": (
        "import keras_tuner as kt\n\nclass build_model(kt.HyperModel):\n    def __init__(self, depth):\n        pass\n",
        3,
        "cannot be called as build_model()",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_model_is_told_by_its_own_line(check, what):
    """Exit code 11, the user's file and line, and what is wrong."""
    text, line, words = BROKEN[what]
    with pytest.raises(ModelCodeError) as caught:
        check(text)
    assert caught.value.exit_code == 11
    message = caught.value.message
    assert message.startswith(f"model.py, line {line}")
    assert words in message
    assert "job/" not in message
    assert "Traceback" not in message


def test_a_crash_is_told_with_what_was_going_on(check):
    """Native code that takes the process down does not take the message along."""
    text = "import os, signal\n\ndef build_model(hp):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    with pytest.raises(ModelCodeError, match=r"model\.py: the process died \(killed by SIGSEGV\) while .* asked for"):
        check(text)


def test_a_hang_ends(check):
    """Code that never returns is ended after the time that it has."""
    text = "import time\n\ndef build_model(hp):\n    time.sleep(600)\n"
    started = time.monotonic()
    with pytest.raises(ModelCodeError, match="was ended"):
        check(text, patience=4.0)
    assert time.monotonic() - started < 300


def test_what_a_model_prints_is_an_event(check, caplog, capfd):
    """Printed lines and what native code writes to standard output never stand on it raw."""
    check("import os\nprint('hello')\nos.write(1, b'native\\n')\n" + textwrap.dedent(GOOD))
    assert not capfd.readouterr().out
    printed = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert "hello" in [event.get("text") for event in printed]


def test_the_space_is_what_the_code_declares(check):
    """Entries inside of conditional scopes are found although default values do not reach them."""
    found = check(
        """\
        import keras

        def build_model(hp):
            layers = [keras.layers.Flatten()]
            deep = hp.Boolean("deep")
            with hp.conditional_scope("deep", [True]):
                if deep:
                    layers.append(keras.layers.Dense(hp.Int("units", 4, 8)))
            model = keras.Sequential([*layers, keras.layers.Dense(10)])
            model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            return model
        """
    )
    assert dict(found.entries) == {"deep": "false, true", "units": "4 to 8, with deep True"}


def test_the_spec_narrows_and_fixes_what_the_code_declares(check):
    """Fewer values, one value, and rows per step, which code need not declare."""
    found = check(GOOD, space={"units": [8, 16], "batch_size": 64})
    assert dict(found.entries) == {"units": "8, 16", "batch_size": "64"}
    assert dict(check(GOOD, space={"units": 12}).entries) == {"units": "12"}


def test_a_space_that_does_not_fit_is_the_specs_mistake(check):
    """Unknown names and values that the code does not declare are reported together, with what it declares."""
    with pytest.raises(SpecError) as caught:
        check(GOOD, space={"unit": 8, "units": [8, 9]})
    assert [problem.path for problem in caught.value.problems] == ["space.units", "space.unit"]
    first, second = (problem.message for problem in caught.value.problems)
    assert first == "expected values that the model's code declares: 4 to 16, step 4"
    assert second == "the model's code declares no such hyperparameter; did you mean units? it declares units"


def test_a_grid_over_a_space_without_end_is_the_specs_mistake(check):
    """Only the code knew that an entry is continuous; the search does not begin."""
    text = GOOD.replace(
        'hp.Int("units", 4, 16, step=4)', '4, activity_regularizer=keras.regularizers.L2(hp.Float("l2", 0, 1))'
    )
    with pytest.raises(SpecError, match="give l2 a step or values"):
        check(text, search={"algorithm": "grid"})
    assert check(text, search={"algorithm": "grid"}, space={"l2": [0, 0.5]}).entries == {"l2": "0.0, 0.5"}


def test_a_hypermodel_that_trains_in_its_own_way_declares_in_fit(check):
    """`fit` may declare hyperparameters, the size of a batch among them, and is given what its parameters name."""
    text = """\
        import keras
        import keras_tuner

        class Mine(keras_tuner.HyperModel):
            def __init__(self, input_shape, classes):
                super().__init__()
                self.shape, self.classes = input_shape, classes

            def build(self, hp):
                inputs = keras.Input(self.shape)
                outputs = keras.layers.Dense(self.classes)(keras.layers.Flatten()(inputs))
                model = keras.Model(inputs, outputs)
                loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
                model.compile(optimizer=hp.Choice("optimizer", ["sgd", "adam"]), loss=loss, metrics=["accuracy"])
                return model

            def fit(self, hp, model, *args, **kwargs):
                hp.Choice("batch_size", [16, 32])
                return model.fit(*args, shuffle=hp.Boolean("shuffle"), **kwargs)
        """
    found = check(text, model={"function": "Mine"}, space={"batch_size": [32]})
    assert dict(found.entries) == {"optimizer": "sgd, adam", "batch_size": "32", "shuffle": "false, true"}


def test_a_training_loop_of_ones_own_gets_arrays(check):
    """A `fit` that names `y` and `validation_data` is given arrays, as KerasTuner's guide has it."""
    text = (
        GOOD
        + """\

    import keras_tuner

    class Loop(keras_tuner.HyperModel):
        def build(self, hp):
            return build_model(hp)

        def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
            assert len(x) == len(y) == 33, len(y)
            assert len(validation_data) == 2
            return {"loss": model.train_on_batch(x, y, return_dict=True)["loss"], "own": 3.0}
    """
    )
    assert check(text, model={"function": "Loop"}).parameters > 0


@pytest.mark.parametrize("registered", [True, False])
def test_what_needs_the_users_code_is_known(check, registered):
    """A model with a layer of the user's own needs their code to be loaded; one of Keras's layers alone does not."""
    text = f"""\
        import keras

        {'@keras.saving.register_keras_serializable(package="mine")' if registered else ""}
        class Twice(keras.layers.Layer):
            def call(self, x):
                return 2 * x

        def build_model(hp):
            model = keras.Sequential([keras.layers.Flatten(), Twice(), keras.layers.Dense(10, activation="softmax")])
            model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            return model
        """
    assert check(text).needs_code is True
    assert check(text.replace("Twice(), ", "")).needs_code is False


def test_a_model_that_cannot_be_saved_is_found_before_the_search(check):
    """A layer without a configuration would be noticed when hours of search are over."""
    text = """\
        import keras

        class Odd(keras.layers.Layer):
            def __init__(self, function):
                super().__init__()
                self.function = function

            def call(self, x):
                return self.function(x)

        def build_model(hp):
            model = keras.Sequential([keras.layers.Flatten(), Odd(lambda x: x + 1), keras.layers.Dense(10)])
            model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            return model
        """
    with pytest.raises(ModelCodeError, match=r"cannot be published: .*model\.py, line 11"):
        check(text)


def test_nothing_of_a_models_own_stays_in_this_process(check):
    """The code ran elsewhere: what it registered and where it set Keras is of no account here."""
    policy = keras.config.dtype_policy()
    check("import keras\nkeras.config.set_dtype_policy('float64')\n" + textwrap.dedent(GOOD))
    assert keras.config.dtype_policy() == policy
