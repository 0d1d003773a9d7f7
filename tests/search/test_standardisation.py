"""Arrays of rank 2 brought to mean 0 and standard deviation 1, in training and in the published model alike."""

import keras
import numpy as np
import pytest

from job.data import Standardisation, load_dataset
from job.data.standardisation import standardisation_of
from job.errors import DataError
from job.models import BUILDER_CLASSES, publishable_model
from job.spec import DataSpec

RNG = np.random.default_rng(0)
ROWS = np.stack([RNG.normal(1e4, 30.0, 200), RNG.uniform(-1e-3, 1e-3, 200), np.full(200, 0.1)], axis=1)


@pytest.fixture
def dataset(tmp_path):
    np.savez(tmp_path / "rows.npz", x=ROWS, y=RNG.normal(size=200))
    spec = DataSpec(source=str(tmp_path / "rows.npz"), rescale="standardize")
    return load_dataset(spec, seed=0, scratch=tmp_path)


def test_training_rows_have_mean_0_and_deviation_1(dataset):
    """Fitted on training rows alone; a feature that never varies is 0."""
    prepared = dataset.prepared_train.astype(np.float64)
    assert prepared.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-3)
    assert prepared.std(axis=0) == pytest.approx([1, 1, 0], abs=1e-3)
    assert abs(dataset.prepared_validation[:, 0].mean()) > 1e-3


def test_the_published_model_standardises_raw_rows(dataset, tmp_path):
    """Raw float64 rows of a loaded model give what prepared rows give the core, to the last bit; in Keras's layers."""
    hypermodel = BUILDER_CLASSES["mlp"]({}, input_shape=dataset.prepared_shape, target=dataset.target)
    core = hypermodel.build_from(hypermodel.declaration.constants() | {"units": 8, "learning_rate": 0.01})
    publishable_model(core, dataset.preparation).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    raw = dataset.test.x[:]
    assert raw.dtype == np.float64
    prepared = dataset.preparation.prepare(raw)
    assert isinstance(dataset.preparation, Standardisation)
    assert np.array_equal(loaded(raw).numpy(), core(prepared).numpy())


def test_images_are_not_standardised():
    """One mean per pixel is rarely what is meant: the message says what is for images."""
    with pytest.raises(DataError, match=r"standardize is for tables, but rows have shape \(8, 8\)"):
        standardisation_of(np.zeros((3, 8, 8)))


def test_a_feature_of_no_extent_in_float32_is_refused():
    """Its reciprocal would be infinite."""
    with pytest.raises(DataError, match="differs by too little"):
        standardisation_of(np.array([[1e-45], [3e-45]]) * 1e-10)
