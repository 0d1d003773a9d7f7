"""That what is published is what was trained: files are loaded in a process of their own, and predict alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from job.data import Preparation
from job.data.nested import Nested
from job.errors import ModelCodeError
from job.export.model import Candidate, load_all
from job.export.reader import Reader
from job.export.request import Answer
from job.export.traits import differences
from job.models import needs_code, publishable_model
from job.own_code import OwnCode

_ADVICE = (
    "get_config must return every argument of __init__, from_config must take it, and what a layer knows besides must "
    "be in variables that __init__ or build makes; classes and functions must stand at the module's own level."
)


def require_faithful(
    cores: Sequence[keras.Model],
    preparation: Preparation,
    raw_rows: Nested,
    reader: Reader,
    custom_objects: Mapping[str, Any],
) -> bool:
    """Publish each model, load all of them in one process of its own, and compare what they predict.

    Args:
        cores: trained, on prepared rows; best with hyperparameters that are not the defaults.
        preparation: what training did to raw rows.
        raw_rows: a few, as they are in the source.
        reader: loads them; it has not been asked yet.
        custom_objects: the user's classes and functions by name.

    Returns:
        Whether any of the published files loads only with the user's code.

    Raises:
        ModelCodeError: a model cannot be published, or a file does not load or predicts otherwise; names what differs.
    """
    candidates = [Candidate(publishable_model(core, preparation, custom_objects), core, preparation) for core in cores]
    answers = load_all([(one, raw_rows) for one in candidates], reader)
    for candidate, answer in zip(candidates, answers, strict=True):
        require_alike(candidate, answer, reader.code)
    return any(answer.needs_code or needs_code(one.model) for one, answer in zip(candidates, answers, strict=True))


def require_alike(candidate: Candidate, answer: Answer, code: OwnCode | None) -> None:
    """See that a published file does what was trained.

    Args:
        candidate: what was saved, and what was trained.
        answer: what became of its file.
        code: the user's own; None for a built-in builder.

    Raises:
        ModelCodeError: it does not; names the classes and what differs.
        RuntimeError: likewise, and it is this package's own mistake.
    """
    if answer.problem is None:
        return
    kind = type(candidate.core)
    found = differences(candidate.model, answer.traits)
    if kind.predict_step not in {one.predict_step for one in (keras.Model, keras.Sequential)}:
        found.append(f"{kind.__name__}.predict_step is its own, which no file holds: what it does belongs into call")
    message = f"the file of the published model is not the model that was trained: {answer.problem}"
    message += "".join(f"\n    {one}" for one in found)
    if code is None:
        raise RuntimeError(message)
    raise ModelCodeError(f"{code.shown}: {message}", advice=_ADVICE)
