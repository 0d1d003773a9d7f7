"""The sizes that are worked out without TensorFlow are those of the models that are built."""

import keras_tuner
import pytest

from job.models import BUILDER_CLASSES
from job.search.sampling import AddressedSampler
from job.spaces import BUILDERS
from job.spaces.sizes import largest_weights
from job.spec import JobSpec
from job.target import Target

CLASSES = Target("classification", ("a", "b", "c"))
NUMBERS = Target("regression")


def weights(builder, space, shape, target):
    """The size that is worked out, and those of every point of the space."""
    entries = JobSpec.model_validate({"space": space}).space
    hypermodel = BUILDER_CLASSES[builder](entries, input_shape=shape, target=target)
    hp = keras_tuner.HyperParameters()
    hypermodel.declare(hp)
    sampler, sizes = AddressedSampler(hp, 0), []
    while (values := sampler.draw(0, 0, len(sizes))) is not None:
        point = keras_tuner.HyperParameters()
        point.values = dict(values)
        sizes.append(hypermodel.build(point).count_params())
    return largest_weights(BUILDERS[builder], entries, shape, target.outputs), sizes


RATE = {"learning_rate": 0.01}
LINEAR = {**RATE, "l2": 0.0}
SMALL = {**RATE, "units": [3, 7]}


@pytest.mark.parametrize(
    ("builder", "space", "shape", "target"),
    [
        pytest.param("linear", LINEAR, (4, 4), CLASSES, id="linear"),
        pytest.param("linear", LINEAR, (5,), NUMBERS, id="linear regression"),
        pytest.param("mlp", SMALL, (4, 4), CLASSES, id="mlp"),
        pytest.param("mlp", SMALL | {"hidden_layers": [0, 1, 3]}, (40,), CLASSES, id="hidden layers"),
        pytest.param("mlp", SMALL | {"hidden_layers": [0, 1]}, (2,), CLASSES, id="none is the smallest"),
        pytest.param("mlp", SMALL | {"hidden_layers": 2, "units_2": [50, 5]}, (4, 4), NUMBERS, id="own units"),
        pytest.param("mlp", SMALL | {"batch_normalization": {"type": "boolean"}}, (9,), NUMBERS, id="normalised"),
        pytest.param("cnn", SMALL, (8, 8), CLASSES, id="cnn"),
        pytest.param("cnn", SMALL | {"conv_layers": [1, 2], "filters": [2, 4]}, (12, 9, 3), CLASSES, id="convolutions"),
        pytest.param("cnn", SMALL | {"kernel_size": [2, 5], "conv_layers": 3}, (20, 20), NUMBERS, id="kernels"),
        pytest.param("cnn", SMALL | {"hidden_layers": 0, "filters_1": 6}, (9, 9), CLASSES, id="no dense layer"),
    ],
)
def test_the_largest_size_is_that_of_the_largest_model(builder, space, shape, target):
    """Of whatever the space can build."""
    size, sizes = weights(builder, space, shape, target)
    assert size == max(sizes)


def test_the_size_is_a_bound_where_hyperparameters_depend_on_each_other():
    """Normalised where layers are narrow, and wide where they are not: no point is larger than what is said."""
    narrow = {"type": "boolean", "parent_name": "units", "parent_values": [3]}
    size, sizes = weights("mlp", SMALL | {"batch_normalization": narrow}, (9,), CLASSES)
    assert max(sizes) <= size < 1.3 * max(sizes)
