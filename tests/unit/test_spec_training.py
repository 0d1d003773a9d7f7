"""The spec's sections on how a trial is trained: `training` and `early_stopping`."""

import json

import pytest
from pydantic import ValidationError

from job.cli import main
from job.spec import JobSpec


def test_by_default_nothing_stops_early_and_layers_compute_in_float32():
    """An empty spec trains every epoch, in full precision, and leaves XLA to the policy."""
    spec = JobSpec()
    assert spec.early_stopping.patience is None
    assert (spec.training.precision, spec.training.compile) == ("float32", "auto")


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"early_stopping": {"patience": 0}}, "early_stopping.patience", "at least 1"),
        ({"early_stopping": {"patience": 3, "min_delta": -0.1}}, "early_stopping.min_delta", "at least 0"),
        ({"early_stopping": {"min_delta": 0.1}}, "early_stopping.min_delta", "needs early_stopping.patience"),
        ({"training": {"precision": "float16"}}, "training.precision", "expected float32, mixed_float16 or"),
    ],
)
def test_impossible_training_is_refused(capsys, document, path, message):
    """A bad value, or one without a use, is reported by its path with what was expected."""
    assert main(["validate", "--spec", json.dumps(document)], {}) == 10
    error = capsys.readouterr().err
    assert path in error
    assert message in error


def test_early_stopping_reads_back_equal():
    """A spec that stops early survives its own JSON, and the wish is part of its hash."""
    spec = JobSpec.model_validate({"early_stopping": {"patience": 2, "min_delta": 0.01}})
    assert JobSpec.model_validate(spec.document()) == spec
    assert spec.hash() != JobSpec().hash()
    with pytest.raises(ValidationError):
        JobSpec.model_validate({"early_stopping": {"patients": 2}})
