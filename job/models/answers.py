"""What a model's answers mean, as far as its loss tells."""

from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

OutputKind = Literal["logits", "probabilities", "values"]
# What a model learns: to tell classes apart, or to predict numbers.
Answers = Literal["classes", "numbers"]

# Whichever of these a model of the user's own has, only it knows its scores.
_SCORING = ("compile", "compute_loss", "compute_metrics", "evaluate", "test_step")
_BINARY = 2
# As they stand in the names of Keras's losses, by word or by class.
_OF_CLASSES = ("crossentropy", "hinge", "bce", "cce")
_OF_NUMBERS = (
    "meansquared", "meanabsolute", "mse", "mae", "mape", "msle", "huber", "logcosh", "poisson",
)  # fmt: skip


def output_kind_of(model: keras.Model) -> OutputKind:
    """What the outputs of a compiled classifier or other model are, by its loss."""
    loss = getattr(model, "loss", None)
    if getattr(loss, "from_logits", False):
        return "logits"
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return "probabilities" if "crossentropy" in str(name).lower().replace("_", "") else "values"


def answers_of(model: keras.Model) -> Answers | None:
    """Return what a compiled model with one output learns, by its loss and its metrics; None where these leave it open.

    A loss of numbers with an accuracy among the metrics is a classification all the same.
    """
    config = model.get_compile_config() or {}
    if len(keras.tree.flatten(getattr(model, "outputs", None) or [None])) != 1:
        return None
    said = str(config.get("loss")).lower().replace("_", "")
    if any(word in said for word in _OF_CLASSES):
        return "classes"
    if "accuracy" in str([config.get("metrics"), config.get("weighted_metrics")]).lower():
        return "classes"
    return "numbers" if any(word in said for word in _OF_NUMBERS) else None


def predicted_classes(
    model: keras.Model,
    outputs: Any,  # noqa: ANN401 - of any structure
    classes: int,
    threshold: float | None = None,
) -> npt.NDArray[np.int64] | None:
    """The class numbers that a classifier's outputs stand for; None where they are not one number per class, or one.

    Args:
        model: whose loss tells what a single number means: above a half, or above 0 for a logit, it is class 1.
        outputs: of `predict`, shape (rows, classes), or of two classes (rows, 1).
        classes: how many there are.
        threshold: between two classes whose numbers are not 0 and 1.
    """
    if not isinstance(outputs, np.ndarray) or outputs.ndim not in {1, 2}:
        return None
    if outputs.ndim == _BINARY and outputs.shape[1] == classes:
        chosen: npt.NDArray[np.int64] = outputs.argmax(axis=-1)
        return chosen
    if classes == _BINARY and outputs.size == len(outputs):
        if threshold is None:
            threshold = 0.0 if output_kind_of(model) == "logits" else 0.5
        return (outputs.reshape(-1) > threshold).astype(np.int64)
    return None


def scores_itself(core: keras.Model) -> bool:
    """Whether a model's scores are its own affair, which a graph of its layers does not have."""
    kinds = (keras.Model, keras.Sequential, keras.src.models.Functional)
    overridden = any(getattr(type(core), name) not in {getattr(kind, name) for kind in kinds} for name in _SCORING)
    return overridden or core.loss is None
