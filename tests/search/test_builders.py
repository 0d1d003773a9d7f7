"""The mlp builder: the space that it declares and the models that it makes."""

import keras
import keras_tuner
import numpy as np
import pytest

from job.models import BUILDER_CLASSES
from job.models.builders import MlpHyperModel
from job.search.sampling import AddressedSampler
from job.spaces import BUILDERS
from job.spec import JobSpec
from job.target import Target

THREE_CLASSES = Target("classification", ("a", "b", "c"))


def hypermodel(space=None):
    """The builder over a spec's space, for rows of 4 by 4 in three classes."""
    return MlpHyperModel(JobSpec.model_validate({"space": space or {}}).space, input_shape=(4, 4), target=THREE_CLASSES)


def declared(space=None):
    """The values and the KerasTuner space that the builder declares."""
    hp = keras_tuner.HyperParameters()
    return hypermodel(space).declare(hp), hp


def built(values, space=None):
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hypermodel(space).build(hp)


def layers(model):
    return [type(layer).__name__ for layer in model.layers]


def test_every_declared_builder_has_its_code():
    """The builders that specs may name are those that can be built."""
    assert BUILDER_CLASSES.keys() == BUILDERS.keys()
    assert all(builder.declaration is BUILDERS[name] for name, builder in BUILDER_CLASSES.items())


def test_the_default_space_is_the_tutorials():
    """Without a space exactly `units` 32 to 512 by 32 and three learning rates are declared."""
    _, hp = declared()
    units, learning_rate = hp.space
    assert type(units).__name__ == "Int"
    assert (units.name, units.min_value, units.max_value, units.step, units.sampling) == (
        "units",
        32,
        512,
        32,
        "linear",
    )
    assert type(learning_rate).__name__ == "Choice"
    assert (learning_rate.name, learning_rate.values) == ("learning_rate", [1e-2, 1e-3, 1e-4])
    assert hp.values == {"units": 32, "learning_rate": 1e-2}


def test_the_default_model_is_the_tutorials():
    """Flatten, one hidden relu layer, logits; Adam and sparse cross-entropy from logits."""
    model = built({"units": 96, "learning_rate": 1e-3})
    assert layers(model) == ["Flatten", "Dense", "Dense"]
    assert [layer.units for layer in model.layers[1:]] == [96, 3]
    assert [layer.activation.__name__ for layer in model.layers[1:]] == ["relu", "linear"]
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)
    assert model.loss.from_logits
    assert model.input_shape == (None, 4, 4)


def test_keras_tuners_own_tuner_runs_it(dataset, tmp_path):
    """The builder is a HyperModel like any other: KerasTuner's random search declares and trains it."""
    tuner = keras_tuner.RandomSearch(
        hypermodel(), objective="val_accuracy", max_trials=1, seed=1, directory=tmp_path, project_name="stock"
    )
    assert {entry.name for entry in tuner.oracle.get_space().space} == {"units", "learning_rate"}
    validation = (dataset.prepared_validation, dataset.validation.y)
    tuner.search(dataset.prepared_train, dataset.train.y, validation_data=validation, epochs=1, verbose=0)
    (trial,) = tuner.oracle.get_best_trials(1)
    assert 0 <= trial.score <= 1


def test_a_space_narrows_fixes_and_adds():
    """Entries of the spec replace the builder's own; a fixed one stays what it is; others are added to them."""
    space = {
        "units": {"type": "int", "min_value": 8, "max_value": 32, "step": 2, "sampling": "log"},
        "learning_rate": 0.01,
        "dropout": [0.0, 0.5],
        "hidden_layers": {"type": "int", "min_value": 0, "max_value": 3},
        "batch_size": [16, 64],
    }
    _, hp = declared(space)
    kinds = {entry.name: type(entry).__name__ for entry in hp.space}
    assert kinds == {
        "units": "Int",
        "learning_rate": "Fixed",
        "dropout": "Choice",
        "hidden_layers": "Int",
        "batch_size": "Choice",
    }
    sampler = AddressedSampler(hp, 0)
    # Without a hidden layer neither units nor dropout: 2 batch sizes, times 1 and 3 * 3 * 2 points.
    drawn = [sampler.draw(0, 0, index) for index in range(38)]
    assert sampler.draw(0, 0, 38) is None
    assert {values.get("units") for values in drawn} == {8, 16, 32, None}
    assert all(("units" in values) == (values["hidden_layers"] > 0) for values in drawn)
    assert {values["learning_rate"] for values in drawn} == {0.01}
    assert {values["hidden_layers"] for values in drawn} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"hidden_layers": 0}, ["Flatten", "Dense"], id="no hidden layer"),
        pytest.param({"hidden_layers": 2}, ["Flatten", "Dense", "Dense", "Dense"], id="two"),
        pytest.param(
            {"hidden_layers": 2, "dropout": 0.5},
            ["Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense"],
            id="dropout after each",
        ),
    ],
)
def test_added_hyperparameters_shape_the_model(values, expected):
    """Hidden layers and dropout are built as their values say."""
    space = {"hidden_layers": [0, 1, 2], "dropout": [0.0, 0.5]}
    model = built({"units": 8, "learning_rate": 0.01, "dropout": 0.0} | values, space)
    assert layers(model) == expected


def test_the_activation_may_be_searched():
    """A choice of activations reaches the hidden layers, and not the logits."""
    space = {"activation": ["relu", "tanh"]}
    model = built({"units": 8, "learning_rate": 0.01, "activation": "tanh"}, space)
    assert [layer.activation.__name__ for layer in model.layers[1:]] == ["tanh", "linear"]


def test_batch_size_is_the_trials_or_the_builders():
    """The batch size comes from the hyperparameters where it is searched, and is 32 where it is not."""
    model = hypermodel({"batch_size": [16, 64]})
    assert model.batch_size({"units": 8, "batch_size": 16}) == 16
    assert hypermodel().batch_size({"units": 8}) == 32


CONDITIONAL = {
    "hidden_layers": [0, 1, 2],
    "units": {
        "type": "choice",
        "values": [8, 16],
        "parent_name": "hidden_layers",
        "parent_values": [1, 2],
    },
    "dropout": {
        "type": "choice",
        "values": [0.0, 0.25, 0.5],
        "parent_name": "hidden_layers",
        "parent_values": [2],
    },
    # Whole numbers and floats may be mixed, as in YAML.
    "activation": {"type": "choice", "values": ["tanh", "elu"], "parent_name": "dropout", "parent_values": [0, 0.25]},
    "learning_rate": 0.01,
}


def test_conditional_entries_follow_their_parents():
    """An entry is drawn with its parent's right values only, also where the parent has a parent of its own."""
    _, hp = declared(CONDITIONAL)
    sampler = AddressedSampler(hp, 0)
    drawn = []
    while (values := sampler.draw(0, 0, len(drawn))) is not None:
        drawn.append(values)
    # Without a hidden layer 1 point; with one 2; with two 2 units * (2 dropouts * 2 activations + 1 dropout).
    assert len(drawn) == 1 + 2 + 2 * 5
    for values in drawn:
        assert ("units" in values) == (values["hidden_layers"] > 0)
        assert ("dropout" in values) == (values["hidden_layers"] == 2)
        assert ("activation" in values) == (values.get("dropout") in {0.0, 0.25})


def test_inactive_entries_take_the_builders_constant():
    """What a condition switches off is built with the builder's constant, or with its own default."""
    values, _ = declared(CONDITIONAL)
    assert values["hidden_layers"] == 0
    assert (values["dropout"], values["activation"]) == (0.0, "relu")
    assert values["units"] == 8
    model = built({"hidden_layers": 1, "units": 16, "learning_rate": 0.01}, CONDITIONAL)
    assert layers(model) == ["Flatten", "Dense", "Dense"]
    assert model.layers[1].activation.__name__ == "relu"


def test_every_point_of_a_conditional_space_builds():
    """Whatever is drawn from a space with conditions makes a model that predicts."""
    _, hp = declared(CONDITIONAL)
    sampler = AddressedSampler(hp, 1)
    for index in range(13):
        model = built(sampler.draw(0, 0, index), CONDITIONAL)
        assert model(np.zeros((2, 4, 4), np.float32)).shape == (2, 3)
