"""The cnn builder: the models that it makes of images of any size, how they train, and what is published."""

import keras
import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.data import Rescaling
from job.models import publishable_model
from job.models.builders import CnnHyperModel
from job.records import TrialRequest
from job.spaces import CNN
from job.spec import JobSpec
from job.target import Target
from job.training.compilation import choose_compilation
from job.training.rows import DeviceRows
from job.training.trial import TrialSetting, build_model, last_checkpoint, run_trial

THREE_CLASSES = Target("classification", ("a", "b", "c"))
VALUES = {"units": 32, "learning_rate": 1e-3}
CONSTANTS = CNN.constants()


def hypermodel(space=None, shape=(8, 8)):
    return CnnHyperModel(JobSpec.model_validate({"space": space or {}}).space, input_shape=shape, target=THREE_CLASSES)


def built(values=None, shape=(8, 8)):
    """A model with these values; the builder's constants and VALUES where they say nothing."""
    return hypermodel(shape=shape).build_from(CONSTANTS | VALUES | (values or {}))


def layers(model):
    return [type(layer).__name__ for layer in model.layers]


def test_the_default_space_is_that_of_the_mlp():
    """Without a space `units` and `learning_rate` are declared, as for the mlp, and nothing else."""
    hp = keras_tuner.HyperParameters()
    hypermodel().declare(hp)
    assert hp.values == {"units": 32, "learning_rate": 1e-2}
    units, learning_rate = hp.space
    assert (units.min_value, units.max_value, units.step) == (32, 512, 32)
    assert learning_rate.values == [1e-2, 1e-3, 1e-4]


def test_the_default_model_is_one_convolution_with_pooling_and_a_dense_layer():
    """Images without channels get an axis for one; 16 filters of 3 by 3 without padding, then the mlp's layers."""
    model = built(shape=(28, 28))
    assert layers(model) == ["Reshape", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense"]
    convolution, pooling = model.layers[1:3]
    assert (convolution.filters, convolution.kernel_size, convolution.padding) == (16, (3, 3), "valid")
    assert (pooling.pool_size, pooling.strides) == ((2, 2), (2, 2))
    assert model.layers[3].output.shape == (None, 13 * 13 * 16)
    activations = [model.layers[index].activation.__name__ for index in (1, 4, 5)]
    assert activations == ["relu", "relu", "linear"]
    assert model.input_shape == (None, 28, 28)
    assert model.loss.from_logits
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


def test_channels_are_kept():
    """Images with channels are convolved as they are."""
    model = built(shape=(9, 7, 3))
    assert layers(model)[0] == "Conv2D"
    assert model.layers[0].kernel.shape == (3, 3, 3, 16)


def test_hyperparameters_shape_the_model():
    """Every hyperparameter that the builder has reaches the layers that it names."""
    values = {"conv_layers": 2, "filters": 4, "kernel_size": 5, "activation": "tanh", "dropout": 0.5}
    model = built(values, shape=(32, 32, 3))
    assert layers(model) == [
        "Conv2D",
        "MaxPooling2D",
        "Conv2D",
        "MaxPooling2D",
        "Flatten",
        "Dense",
        "Dropout",
        "Dense",
    ]
    for index in (0, 2):
        assert (model.layers[index].filters, model.layers[index].kernel_size) == (4, (5, 5))
        assert model.layers[index].activation.__name__ == "tanh"
    assert [model.layers[index].activation.__name__ for index in (5, 7)] == ["tanh", "linear"]
    assert model.layers[6].rate == 0.5
    assert hypermodel({"batch_size": [16, 64]}).batch_size({"batch_size": 16}) == 16


def test_a_short_side_is_spanned_and_a_side_of_one_is_not_pooled():
    """Filters and pooling are cut to the image that they are laid on; where nothing is left to pool, it ends."""
    model = built({"conv_layers": 3}, shape=(2, 9))
    # 2 x 9 -> 1 x 7, pooled to 1 x 3 -> 1 x 1, which the third convolution still takes.
    assert layers(model) == ["Reshape", "Conv2D", "MaxPooling2D", "Conv2D", "Conv2D", "Flatten", "Dense", "Dense"]
    assert [model.layers[index].kernel_size for index in (1, 3, 4)] == [(2, 3), (1, 3), (1, 1)]
    assert model.layers[2].pool_size == (1, 2)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 20), st.integers(1, 20)),
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4)),
    ),
    conv_layers=st.integers(1, 5),
    kernel_size=st.integers(1, 9),
)
def test_images_of_any_size_build(shape, conv_layers, kernel_size):
    """Whatever the size of an image, there is a model that predicts three logits for it."""
    model = built({"conv_layers": conv_layers, "kernel_size": kernel_size, "filters": 2, "units": 2}, shape=shape)
    assert model(np.ones((2, *shape), np.float32)).shape == (2, 3)


def test_xla_does_not_compile_it_on_a_cpu():
    """The measured policy trains convolutions as plain graphs."""
    choice = choose_compilation(built({"units": 512}, shape=(28, 28)), steps=1500, device="cpu")
    assert not choice.xla
    assert "Conv2D" in choice.reason


def weights_after(dataset, folder, rungs):
    """The weights of a lineage trained over these rungs."""
    setting = TrialSetting(
        hypermodel=hypermodel(shape=(4, 4)),
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="val_loss",
        direction="min",
        checkpoints=folder,
    )
    for rung, (from_epoch, to_epoch) in enumerate(rungs):
        trial_id = f"h0-b1-i000-r{rung}"
        parent = f"h0-b1-i000-r{rung - 1}" if rung else None
        request = TrialRequest(
            trial_id=trial_id,
            hyperparameters=VALUES,
            iteration=0,
            bracket=1,
            index=0,
            rung=rung,
            parent=parent,
            from_epoch=from_epoch,
            to_epoch=to_epoch,
            seed=3,
        )
        assert run_trial(request, setting).status == "completed"
    with np.load(last_checkpoint(folder, trial_id)) as checkpoint:
        return {name: checkpoint[name] for name in checkpoint.files if checkpoint[name].dtype.kind == "f"}


def test_a_promoted_lineage_equals_straight_training(dataset, tmp_path):
    """On a CPU with one thread a convolutional trial trained 2 -> 5 is one trained straight to 5, bit for bit."""
    promoted = weights_after(dataset, tmp_path / "promoted", [(0, 2), (2, 5)])
    straight = weights_after(dataset, tmp_path / "straight", [(0, 5)])
    assert promoted.keys() == straight.keys()
    assert any(array.ndim == 4 for array in promoted.values())
    for name, array in straight.items():
        assert np.array_equal(promoted[name], array), name


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)], ids=["grey", "colour"])
def test_the_published_model_predicts_the_same_in_bare_keras(tmp_path, shape):
    """Saved and loaded with safe_mode, it takes raw rows and predicts what the core does on prepared ones."""
    raw = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    preparation = Rescaling(255.0, shape, "uint8")
    core = build_model(hypermodel(shape=shape), VALUES, 5)
    path = tmp_path / "model.keras"
    publishable_model(core, preparation).save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    predicted = loaded.predict(raw, verbose=0)
    assert np.array_equal(predicted, core.predict(preparation.prepare(raw), verbose=0))
    assert np.ptp(predicted) > 0
