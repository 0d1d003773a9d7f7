"""For models drawn at random: the published file predicts as the trained model did, or it is refused."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from job.data import ObjectPins, Rescaling
from job.export.model import Candidate, load_all
from job.export.reader import open_reader
from job.models import publishable_model
from job.own_code import CodeSource, fetch_code, load_object, objects_by_name
from job.spec import ModelSpec

SHAPE, ROWS = (4,), 40
TOLERANCE = 1e-4
# So many models are loaded by one process: starting it is what takes the time.
TOGETHER = 8
EXAMPLES = 2

CODE = """\
import keras
import numpy as np
from keras import layers, ops


class Faithful(layers.Layer):
    def __init__(self, factor, shift=0.0, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.shift = factor, shift

    def call(self, x):
        return ops.sin(x * self.factor + self.shift)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "shift": self.shift}


@keras.saving.register_keras_serializable("any")
class Forgetful(Faithful):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(factor, **kwargs)

    def get_config(self):
        return layers.Layer.get_config(self)


class Composite(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.parts = [layers.Dense(units), layers.Dense(4)]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Shifted(layers.Layer):
    def build(self, shape):
        self.shift = np.random.normal(size=shape[-1]).astype("float32")

    def call(self, x):
        return x + self.shift


class Subclassed(keras.Model):
    def __init__(self, parts, is_faithful=True, **kwargs):
        super().__init__(**kwargs)
        self.parts, self.is_faithful = parts, is_faithful
        self.out = layers.Dense(2)

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return self.out(x)

    def get_config(self):
        if not self.is_faithful:
            return {"parts": []}
        return {"parts": [keras.saving.serialize_keras_object(part) for part in self.parts]}

    @classmethod
    def from_config(cls, config):
        return cls([keras.saving.deserialize_keras_object(part) for part in config["parts"]])


def layer(name, size):
    return {
        "dense": lambda: layers.Dense(size, activation="relu"),
        "normalised": lambda: layers.BatchNormalization(),
        "dropout": lambda: layers.Dropout(0.5),
        "lambda": lambda: layers.Lambda(lambda x: x * 2 - 1),
        "faithful": lambda: Faithful(float(size), shift=0.5),
        "composite": lambda: Composite(size),
        "forgetful": lambda: Forgetful(float(size)),
        "shifted": lambda: Shifted(),
    }[name]()


def build_model(recipe):
    shell, names, size = recipe
    parts = [layer(name, size) for name in names]
    if shell == "sequential":
        return keras.Sequential([keras.Input((4,)), *parts, layers.Dense(2)])
    if shell == "functional":
        rows = x = keras.Input((4,))
        for part in parts:
            x = part(x)
        return keras.Model(rows, layers.Dense(2)(x))
    return Subclassed(parts, is_faithful=shell == "subclassed")
"""

RECIPES = st.tuples(
    st.sampled_from(["sequential", "functional", "subclassed", "subclassed, unfaithful"]),
    st.lists(
        st.sampled_from(["dense", "normalised", "dropout", "lambda", "faithful", "composite", "forgetful", "shifted"]),
        max_size=3,
    ),
    st.integers(1, 5),
)


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    (folder / "model.py").write_text(CODE)
    return fetch_code(CodeSource.of(ModelSpec(source=str(folder / "model.py"))), folder / "code", ObjectPins())


def trained(code, recipe, raw):
    """A model after a step of training, as it would be published."""
    core = load_object(code)(recipe)
    core.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
    core.train_on_batch(raw, np.ones((ROWS, 2), np.float32))
    preparation = Rescaling(None, SHAPE, "float32")
    return Candidate(publishable_model(core, preparation, objects_by_name(code)), core, preparation)


# What Keras says of a layer of layers without a build: what becomes of its variables is what is asked here.
@pytest.mark.filterwarnings(r"ignore:`build\(\)` was called on layer:UserWarning")
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    # Shrinking would start a process for every step of it; the message names the one recipe that failed.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(recipes=st.lists(RECIPES, min_size=TOGETHER, max_size=TOGETHER), seed=st.integers(0, 2**31))
def test_a_file_that_is_accepted_predicts_as_the_trained_model(code, tmp_path, recipes, seed):
    """Read again here, apart from the process that is tested, each file that was accepted predicts alike.

    What is refused is refused rightly: it does not load here either, or predicts otherwise, or only by what this
    process still knows.
    """
    keras.utils.set_random_seed(seed)
    raw = np.random.default_rng(seed).normal(size=(ROWS, *SHAPE)).astype(np.float32)
    candidates = [trained(code, recipe, raw) for recipe in recipes]
    with open_reader(tmp_path / "files", code) as reader:
        answers = load_all([(one, raw) for one in candidates], reader)
    for number, (recipe, candidate, answer) in enumerate(zip(recipes, candidates, answers, strict=True)):
        expected = candidate.core.predict(raw, verbose=0)
        found = predicted_here(tmp_path / "files" / f"{number}.keras", code, raw)
        is_alike = found is not None and np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
        assert (answer.problem is None) is is_alike, (recipe, answer)


def predicted_here(path, code, raw):
    """What a file predicts in this process; None where it does not load."""
    # Layers that draw while they are built draw anew.
    keras.utils.set_random_seed(12345)
    try:
        model = keras.saving.load_model(path, custom_objects=objects_by_name(code), safe_mode=False)
    except (TypeError, ValueError):
        return None
    return model.predict(raw, verbose=0)
