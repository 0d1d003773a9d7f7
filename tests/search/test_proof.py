"""What is published is what was trained: files are loaded in a process of their own and compared with it."""

import textwrap
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.data import ObjectPins, Rescaling
from job.data.as_is import AsIs, InputSpec
from job.errors import ModelCodeError
from job.export.model import Candidate, load_all
from job.export.proof import require_alike
from job.export.reader import open_reader
from job.models import needs_code, publishable_model
from job.own_code import CodeSource, fetch_code, load_object, objects_by_name
from job.spec import ModelSpec

CODE = """\
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

SCALE = 1.0


class Wave(layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return ops.sin(x * self.factor)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("mine")
class Forgetful(Wave):
    def get_config(self):
        return layers.Layer.get_config(self)


class OfAWrongDefault(Wave):
    @classmethod
    def from_config(cls, config):
        return cls(name=config["name"])


class OtherKey(Wave):
    def get_config(self):
        return {**layers.Layer.get_config(self), "faktor": self.factor}


class ArrayOfItsOwn(layers.Layer):
    def build(self, shape):
        self.shift = np.random.default_rng().normal(size=shape[-1]).astype("float32")

    def call(self, x):
        return x + self.shift


class UntrackedVariable(layers.Layer):
    def build(self, shape):
        self.shift = tf.Variable(np.random.default_rng().normal(size=shape[-1]).astype("float32"))

    def call(self, x):
        return x + self.shift


class OfAGlobal(layers.Layer):
    def call(self, x):
        return x * SCALE


class Sampled(layers.Layer):
    def __init__(self, spread=1.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.spread, self.seed = spread, seed
        self.generator = None if seed is None else keras.random.SeedGenerator(seed)

    def call(self, x):
        return x + self.spread * keras.random.normal(ops.shape(x), seed=self.generator)

    def get_config(self):
        return {**super().get_config(), "spread": self.spread, "seed": self.seed}


class DrawnByTensorFlow(Sampled):
    def call(self, x):
        return x + self.spread * tf.random.normal(tf.shape(x))


class SpreadForgotten(DrawnByTensorFlow):
    def get_config(self):
        return layers.Layer.get_config(self)


class Counting(layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight(shape=(), trainable=False, initializer="zeros")

    def call(self, x):
        self.calls.assign_add(1.0)
        return x * self.calls


class Subclassed(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden, self.out = layers.Dense(units, activation="tanh"), layers.Dense(3)

    def call(self, x):
        return self.out(self.hidden(x))

    def get_config(self):
        return {"units": self.units}


class OwnPredict(keras.Model):
    def predict_step(self, data):
        return ops.sigmoid(super().predict_step(data))


def squared(x):
    return ops.square(x)


def stack(*parts):
    return keras.Sequential([keras.Input((4,)), *parts, layers.Dense(3)])


def around(kind, *inner):
    rows = keras.Input((4,))
    return kind(rows, stack(*inner)(rows))


def local():
    class Local(layers.Layer):
        def call(self, x):
            return 2 * x

    return stack(Local())


def of_a_global():
    global SCALE
    SCALE = 3.0
    return stack(OfAGlobal())


def shared():
    rows, dense = keras.Input((4,)), layers.Dense(4, activation="tanh")
    return keras.Model(rows, layers.Dense(3)(dense(dense(rows))))


def by_name():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    both = layers.Concatenate()([a, b])
    return keras.Model({"b": b, "a": a}, {"two": layers.Dense(2)(both), "one": layers.Dense(1)(both)})


def of_strings(vectorized):
    texts = keras.Input((1,), dtype="string", name="texts")
    if vectorized:
        words = layers.TextVectorization(output_mode="multi_hot")
        words.adapt(np.array(["one two", "two three", "four"]))
    else:
        words = layers.StringLookup(vocabulary=["one two", "four"], output_mode="one_hot")
    return keras.Model(texts, layers.Dense(2)(words(texts)))


KINDS = {
    "faithful": lambda: stack(Wave(4.0)),
    "lambda": lambda: stack(layers.Lambda(lambda x: x * 2 - 1)),
    "named function": lambda: stack(layers.Lambda(squared)),
    "own activation": lambda: stack(layers.Dense(4, activation=squared)),
    "shared": shared,
    "nested": lambda: around(keras.Model, layers.BatchNormalization(), layers.Dropout(0.5)),
    "subclassed": lambda: Subclassed(5),
    "by name": by_name,
    "text": lambda: of_strings(True),
    "lookup": lambda: of_strings(False),
    "sixteen bits": lambda: stack(layers.Dense(8, dtype="mixed_bfloat16")),
    "seeded draws": lambda: stack(Sampled(0.5, seed=3)),
    "draws": lambda: stack(Sampled(0.5)),
    "draws of TensorFlow": lambda: stack(DrawnByTensorFlow(0.5)),
    "counting": lambda: stack(Counting()),
    "plain": lambda: stack(layers.Dense(4, activation="relu")),
    "forgetful": lambda: stack(Forgetful(4.0)),
    "wrong default": lambda: stack(OfAWrongDefault(4.0)),
    "other key": lambda: stack(OtherKey(4.0)),
    "array": lambda: stack(ArrayOfItsOwn()),
    "untracked": lambda: stack(UntrackedVariable()),
    "global": of_a_global,
    "local": local,
    "spread forgotten": lambda: stack(SpreadForgotten(9.0)),
    "own predict": lambda: around(OwnPredict),
}


def build_model(hp):
    return KINDS[hp]()
"""

# Whether the file needs the user's code.
PUBLISHED = {
    "plain": False,
    "shared": False,
    "nested": False,
    "by name": False,
    "text": False,
    "lookup": False,
    "sixteen bits": False,
    "faithful": True,
    "lambda": True,
    "named function": True,
    "own activation": True,
    "subclassed": True,
    "seeded draws": True,
    "draws": True,
    "draws of TensorFlow": True,
    "counting": True,
}
# Words that must be said.
REFUSED = {
    "forgetful": ("layer forgetful (Forgetful): factor is 1.0 instead of 4.0", "Forgetful.get_config forgets factor"),
    "wrong default": ("config factor is 1.0 instead of 4.0",),
    "other key": ("does not load again", "faktor"),
    "array": ("predictions differ", "ArrayOfItsOwn"),
    "untracked": ("predictions differ", "UntrackedVariable"),
    "global": ("predictions differ", "OfAGlobal"),
    "local": ("does not load again", "Local"),
    "spread forgotten": ("draws at random", "SpreadForgotten.get_config forgets spread"),
    "own predict": ("predictions differ", "OwnPredict.predict_step"),
}


TEXTS = AsIs(InputSpec("texts", (1,), "string"))
BY_NAME = AsIs({"a": InputSpec("a", (4,), "float32"), "b": InputSpec("b", (3,), "float32")})
PREPARATIONS = {"text": TEXTS, "lookup": TEXTS, "by name": BY_NAME}


def raw_rows(kind):
    chance = np.random.default_rng(0)
    numbers = chance.normal(size=(90, 4)).astype(np.float32)
    if kind in {"text", "lookup"}:
        return np.array([["one two"], ["three"], [""], ["näver four"]] * 20)
    return {"a": numbers, "b": numbers[:, :3]} if kind == "by name" else numbers


@dataclass
class Proved:
    code: object
    candidate: Candidate
    answer: object


def prove(text, kinds, folder):
    """Build models by a module's own function, train each by a step, and load all of them elsewhere."""
    (folder / "model.py").write_text(textwrap.dedent(text))
    source = CodeSource.of(ModelSpec(source=str(folder / "model.py")))
    code = fetch_code(source, folder / "code", ObjectPins())
    build = load_object(code)
    pairs = []
    for number, kind in enumerate(kinds):
        keras.utils.set_random_seed(number)
        raw = raw_rows(kind)
        preparation = PREPARATIONS.get(kind, Rescaling(None, (4,), "float32"))
        core = build(kind)
        core.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
        x = keras.tree.map_structure(tf.constant, preparation.prepare(raw))
        targets = keras.tree.map_structure(keras.ops.ones_like, core(x))
        core.train_on_batch(x, targets)
        pairs.append((Candidate(publishable_model(core, preparation, objects_by_name(code)), core, preparation), raw))
    with open_reader(folder / "files", code) as reader:
        answers = load_all(pairs, reader)
    return {
        kind: Proved(code, candidate, answer)
        for kind, (candidate, _), answer in zip(kinds, pairs, answers, strict=True)
    }


@pytest.fixture(scope="module")
def proved(tmp_path_factory):
    return prove(CODE, [*PUBLISHED, *REFUSED], tmp_path_factory.mktemp("proof"))


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_model_that_is_saved_whole_is_published(proved, kind):
    """Its file predicts as it does, whatever it is made of, and whether it needs the user's code is known."""
    one = proved[kind]
    require_alike(one.candidate, one.answer, one.code)
    assert (one.answer.needs_code or needs_code(one.candidate.model)) is PUBLISHED[kind]
    assert one.answer.runtime.startswith("Keras")


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_another_model_is_refused(proved, kind):
    """Exit code 11, with the class and what it lost."""
    one = proved[kind]
    with pytest.raises(ModelCodeError) as caught:
        require_alike(one.candidate, one.answer, one.code)
    for words in REFUSED[kind]:
        assert words in caught.value.message


def test_such_a_failure_of_our_own_models_is_no_mistake_of_the_users(proved):
    """A built-in builder's file that differs is a fault of this package, not published either."""
    one = proved["forgetful"]
    with pytest.raises(RuntimeError, match="not the model that was trained"):
        require_alike(one.candidate, one.answer, None)
