"""Whether what a model answers fits what it is to learn, as far as a loss of Keras's own needs it to."""

import keras

from job.data.nested import Nested, leaves
from job.target import Target

_MATRIX = 2


def shape_problem(model: keras.Model, outputs: Nested, y: Nested, target: Target) -> str | None:
    """What is wrong with the shape of a model's outputs, in words; None if nothing is, or only its own loss knows.

    Args:
        model: compiled.
        outputs: of a batch.
        y: the targets of the batch.
        target: what they are.
    """
    if not _is_kerass(model.loss):
        return None
    found, wanted = [tuple(one.shape) for one in keras.tree.flatten(outputs)], [one.shape for one in leaves(y)]
    if target.task == "custom":
        return _problem_of_custom(found, wanted)
    if len(found) != 1:
        return f"the model has {len(found)} outputs, and there is one target: {_what(target)}"
    shape, rows = found[0], wanted[0][0]
    if target.class_names is None:
        fits = shape in {(rows,), (rows, 1)}
        expected = "(rows, 1)"
    else:
        classes = len(target.class_names)
        fits = shape == (rows, classes) or (classes == _MATRIX and shape in {(rows,), (rows, 1)})
        expected = f"(rows, {classes})"
    return None if fits else f"the output has shape {_in_words(shape)}, expected {expected}: {_what(target)}"


def _problem_of_custom(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> str | None:
    # Of other numbers Keras says itself what it pairs.
    if len(found) != len(wanted) or not wanted:
        return None
    for shape, other in zip(found, wanted, strict=True):
        # Class numbers stand for a row of probabilities; and a last axis of 1 is as good as none.
        if shape not in {other, (*other, 1)} and (*shape, 1) != other and shape[:-1] not in {other, other[:-1]}:
            return f"an output has shape {_in_words(shape)}, and its target {_in_words(other)}"
    return None


def _is_kerass(loss: object) -> bool:
    if isinstance(loss, dict | list | tuple):
        parts = loss.values() if isinstance(loss, dict) else loss
        return all(_is_kerass(part) for part in parts)
    if loss is None:
        return False
    module = getattr(loss, "__module__", type(loss).__module__)
    return isinstance(loss, str) or module.split(".", 1)[0] == "keras"


def _what(target: Target) -> str:
    if target.class_names is not None:
        return f"there are {len(target.class_names)} classes"
    return "there is one number to predict per row"


def _in_words(shape: tuple[int, ...]) -> str:
    return f"({', '.join(['rows', *map(str, shape[1:])])}{',' if len(shape) == 1 else ''})"
