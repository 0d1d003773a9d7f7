"""The parts of an export that need no TensorFlow: names, comparison, and what must be installed."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import SpecError
from job.export.comparison import UnlikeError, greatest_difference
from job.export.naming import serving_names
from job.export.refusal import Operation, Refusal
from job.export.requirements import require_packages


@given(st.lists(st.text(max_size=8), max_size=8), st.lists(st.sampled_from(["a", "A_2", "input"]), max_size=3))
def test_names_are_usable_and_differ(wanted, taken):
    """Whatever columns are called, their inputs are identifiers of which no two are alike, in any case of letters."""
    names = serving_names(wanted, taken, otherwise="input")
    assert all(name.isidentifier() and name.isascii() and name[0].isalpha() for name in names)
    assert len({name.casefold() for name in (*names, *set(taken))}) == len(wanted) + len(
        {name.casefold() for name in taken}
    )


def test_names_stay_as_near_as_they_can():
    """What is a name stays one; the rest is recognisable."""
    wanted = ["age", "hours per-week", "1st", "Age", "class", "_x", "größe"]
    expected = ("age", "hours_per_week", "input_1st", "Age_2", "class_", "input_x", "gr__e")
    assert serving_names(wanted, otherwise="input") == expected


def test_differences_count_in_units_of_the_largest_output():
    """A thousandth of a price of a thousand is a millionth; of a probability it is a thousandth."""
    large, small = np.array([[1000.0], [1.0]]), np.array([[0.5]])
    assert greatest_difference({"o": large + 1e-3}, {"o": large}) == pytest.approx(1e-6)
    assert greatest_difference({"o": small + 1e-3}, {"o": small}) == pytest.approx(1e-3)
    assert greatest_difference({"a": small, "b": large + 1}, {"a": small, "b": large}) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        ([1.0, np.nan], [1.0, 2.0], "NaN or infinities in other places"),
        ([1.0, 2.0], [1.0, np.inf], "NaN or infinities in other places"),
        ([[1.0]], [1.0], "has shape"),
        ([b"a", b"c"], ["a", "b"], "other texts in 1 places"),
    ],
)
def test_what_cannot_be_compared_is_said(found, expected, message):
    """Predictions of another kind are no difference of so and so much."""
    with pytest.raises(UnlikeError, match=message):
        greatest_difference({"o": np.array(found)}, {"o": np.array(expected)})


def test_missing_numbers_may_stand_in_the_same_places():
    """NaN and infinities agree with themselves, and texts with their bytes."""
    values = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert greatest_difference({"o": values}, {"o": values}) == 0
    assert greatest_difference({"o": np.array([b"a"])}, {"o": np.array(["a"])}) == 0


def test_the_innermost_layer_is_named():
    """TensorFlow's path through the graph leads to the layer that the user knows, whatever was numbered on the way."""
    lacking = Refusal("onnx", "…", (Operation("X", "StatefulPartitionedCall/core_1/dense_12_1/Y"), Operation("Z")))
    layers = [("core", "Functional"), ("dense", "Dense"), ("dense_12", "Dense")]
    assert lacking.in_words(layers) == "ONNX lacks operation X, which layer dense_12 (Dense) needs, operation Z"


def test_a_missing_package_names_the_extra(monkeypatch):
    """Where ONNX's packages are not installed, the job says so before it reads any data."""
    require_packages(["saved_model", "tflite", "onnx"])
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    require_packages(["saved_model", "tflite"])
    with pytest.raises(SpecError) as caught:
        require_packages(["tflite", "onnx"])
    (problem,) = caught.value.problems
    assert problem.path == "export[1]"
    assert problem.message == "needs tf2onnx, which this installation lacks: install tuning-job[onnx]"


def test_looking_for_packages_imports_none():
    """Neither ONNX nor TensorFlow is imported by asking whether they are there, and none of them by the pipeline."""
    code = (
        "import sys, job.pipeline\nfrom job.export.requirements import require_packages\nrequire_packages(['onnx'])\n"
        "assert not {'onnx', 'onnxruntime', 'tf2onnx', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
