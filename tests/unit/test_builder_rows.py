"""A builder that cannot take the data's rows refuses them before anything is trained."""

import numpy as np
import pytest

from job.data import load_dataset
from job.errors import DataError
from job.search.trial_plan import trial_plan
from job.spaces import BUILDERS
from job.spec import JobSpec


def plan_for(folder, shape, builder):
    """The trial plan for rows of a shape, in a file of 60 of them."""
    file = folder / "rows.npz"
    np.savez(file, x=np.arange(60 * np.prod(shape), dtype=np.float32).reshape(60, *shape), y=np.arange(60) % 3)
    spec = JobSpec.model_validate({"data": {"source": str(file)}, "model": {"builder": builder}})
    return trial_plan(spec, load_dataset(spec.data, seed=0, scratch=folder / "scratch"), folder)


@pytest.mark.parametrize("shape", [(13,), (4, 4, 4, 2)], ids=["a table", "volumes"])
def test_cnn_refuses_what_is_no_image(tmp_path, shape):
    """The message names the file, the shape that was found, those that were expected, and the builder to take."""
    with pytest.raises(DataError) as caught:
        plan_for(tmp_path, shape, "cnn")
    assert f"rows.npz has rows of shape {shape}, but model.builder cnn takes images" in caught.value.message
    assert "(height, width) or (height, width, channels)" in caught.value.message
    assert caught.value.advice == "For these rows there is model.builder: linear or mlp."


@pytest.mark.parametrize(
    ("builder", "shape"),
    [("cnn", (4, 4)), ("cnn", (4, 4, 3)), ("mlp", (13,)), ("mlp", (4, 4, 3)), ("linear", (13,))],
)
def test_rows_that_a_builder_takes_are_planned(tmp_path, builder, shape):
    """Images are for both builders, tables for the mlp."""
    assert plan_for(tmp_path, shape, builder).input_shape == shape


@pytest.mark.parametrize(("shape", "builder"), [((3, 8, 8), "mlp"), ((8, 8, 3), "cnn"), ((3, 8, 9), "cnn")])
def test_only_cnn_refuses_channels_that_come_first(tmp_path, shape, builder):
    """Planes as high as wide are images; of other shapes that is only said, and a dense layer does not mind."""
    with pytest.raises(DataError, match=r"rows of shape \(3, 8, 8\), which are images with their channels first"):
        plan_for(tmp_path, (3, 8, 8), "cnn")
    assert plan_for(tmp_path, shape, builder).input_shape == shape


def test_every_shape_has_a_builder():
    """Advice can always name a builder that takes the rows."""
    for rank in range(1, 6):
        assert any(builder.takes_rows_of((2,) * rank) for builder in BUILDERS.values())
