"""Whether what a model answers fits what it is to learn, as far as a loss of Keras's own needs it to."""

from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from job.data.arrays import AnyArray
from job.data.nested import Nested, leaves
from job.models.answers import answers_of
from job.target import Target

_BINARY = 2
_MATRIX = 2
_NAMED = 4

Shape = tuple[int, ...]
# What the losses of classes want targets to be; "alike" is of the output's shape, whatever the numbers.
Wanted = Literal["class numbers", "one-hot rows", "0 and 1", "-1 and 1", "alike"]
# They compare rows with one another, or whole sequences: only they know what goes together.
_UNCHECKED = ("circle", "ctc")


@dataclass(frozen=True, slots=True)
class _Labels:
    """The targets of one output.

    Attributes:
        shape: of a batch of them.
        values: the numbers that occur, sorted; None where they are numbers to predict.
        called: how many classes they are, in words; empty where that is not known.
        are_whole: whether all of a batch are whole numbers.
    """

    shape: Shape
    values: tuple[float, ...] | None
    called: str = ""
    are_whole: bool = True

    @property
    def are_rows(self) -> bool:
        return len(self.shape) == _MATRIX and self.shape[1] > 1

    def __str__(self) -> str:
        if self.are_rows:
            what = f"rows of {self.shape[1]} numbers, one-hot for example"
        elif self.values is None:
            what = f"numbers to predict, of shape {_in_words(self.shape)}"
        else:
            whole = all(float(value).is_integer() for value in self.values)
            kind = "whole numbers" if whole else "numbers"
            per_row = "one per row" if _size(self.shape) == 1 else f"of shape {_in_words(self.shape)}"
            what = f"{kind} {_listed(self.values)}, {per_row}"
        return what + self.called


def shape_problem(
    model: keras.Model, outputs: Nested, y: Nested, target: Target, *, stated: bool = False
) -> str | None:
    """Return why a model's outputs, its loss and the targets do not go together; None if they do.

    What is said names what the targets are and what the loss wants. Of a loss of the user's own nothing is known.

    Args:
        model: compiled.
        outputs: of a batch.
        y: the targets of the batch.
        target: what they are.
        stated: whether the spec says the task; otherwise a loss of numbers may learn classes as numbers.
    """
    if not _is_kerass(model.loss):
        return None
    found, batches = [tuple(one.shape) for one in keras.tree.flatten(outputs)], list(leaves(y))
    if target.task == "custom":
        # Of other numbers Keras says itself what it pairs; and which of several losses an output has.
        if len(found) != len(batches):
            return None
        loss = None if isinstance(model.loss, dict | list | tuple) else model.loss
        pairs = ((shape, _labels_in(one)) for shape, one in zip(found, batches, strict=True))
        return next((problem for shape, labels in pairs if (problem := _problem(loss, shape, labels))), None)
    if len(found) != 1:
        return f"the model has {len(found)} outputs, and there is one target: {_what(target)}"
    shape, labels = found[0], _labels_of(target, batches[0])
    if target.class_names is not None and (stated or not target.has_numbers) and answers_of(model) == "numbers":
        classes = len(target.class_names)
        if shape[1:] != (classes,) and not (classes == _BINARY and _size(shape) == 1):
            return f"the output has shape {_in_words(shape)}, expected (rows, {classes}): {_what(target)}"
    return _problem(next(iter(keras.tree.flatten(model.loss)), None), shape, labels)


def _problem(loss: object, output: Shape, labels: _Labels) -> str | None:
    name = _name(loss)
    if any(word in name for word in _UNCHECKED):
        return None
    wanted, columns = _wanted(name), output[-1] if len(output) > 1 else 1
    if loss is None:
        # Class numbers stand for a row of probabilities.
        fits = _alike(output, labels.shape) or _alike(output[:-1], labels.shape)
        expected = "targets of its shape, or class numbers"
    elif wanted == "class numbers":
        top = columns if getattr(loss, "ignore_class", None) is None else None
        fits = _alike(output[:-1], labels.shape) and labels.are_whole and _lie_within(labels.values, top)
        expected = f"whole numbers from 0 to {columns - 1}, one for each row of {columns} outputs"
    elif wanted == "one-hot rows":
        fits = output == labels.shape and columns > 1
        expected = f"one-hot rows of {columns} columns, of shape {_in_words(output)}"
        if columns == 1:
            expected = "one-hot rows, and an output for each class"
    elif wanted == "alike":
        fits = _alike(output, labels.shape)
        expected = f"numbers of shape {_in_words(output)}"
    else:
        fits = _alike(output, labels.shape) and _are_two_classes(labels.values, signed=wanted == "-1 and 1")
        expected = f"{wanted}, of shape {_in_words(output)}"
    if fits:
        return None
    of_loss = "Keras's losses want" if loss is None else f"the loss {_shown(loss)} wants"
    return f"the output has shape {_in_words(output)}, and its targets are {labels}; {of_loss} {expected}"


def _wanted(name: str) -> Wanted:
    if "sparsecategorical" in name:
        return "class numbers"
    if name.startswith("categorical"):
        return "one-hot rows"
    if name.startswith(("binary", "bce")):
        return "0 and 1"
    return "-1 and 1" if "hinge" in name else "alike"


def _alike(shape: Shape, other: Shape) -> bool:
    """Whether Keras pairs them number by number: a last axis of 1 is as good as none."""
    return shape in {other, (*other, 1)} or (*shape, 1) == other


def _lie_within(values: tuple[float, ...] | None, count: int | None) -> bool:
    if values is None or count is None:
        return True
    return all(float(value).is_integer() and 0 <= value < count for value in (values[0], values[-1]))


def _are_two_classes(values: tuple[float, ...] | None, *, signed: bool) -> bool:
    """Whether labels are what a loss of two classes wants; shares between 0 and 1 are, too."""
    if values is None or set(values) <= {0, 1}:
        return True
    if signed:
        return set(values) <= {-1, 1}
    return any(not float(value).is_integer() for value in values) and values[0] >= 0 and values[-1] <= 1


def _labels_of(target: Target, batch: Nested) -> _Labels:
    shape = tuple(batch.shape)
    if target.class_names is None:
        return _Labels(shape, None, are_whole=_are_whole(np.asarray(batch)))
    count = len(target.class_names)
    values = target.class_values or tuple(float(number) for number in range(count))
    return _Labels(shape, values, f" ({count} classes)")


def _labels_in(batch: Nested) -> _Labels:
    array = np.asarray(batch)
    values = tuple(np.unique(array).tolist()) if array.dtype.kind in "biu" and array.size else None
    return _Labels(array.shape, values, are_whole=_are_whole(array))


def _are_whole(array: AnyArray) -> bool:
    return array.dtype.kind != "f" or bool((array == np.floor(array)).all())


def _is_kerass(loss: object) -> bool:
    if isinstance(loss, dict | list | tuple):
        parts = loss.values() if isinstance(loss, dict) else loss
        return all(_is_kerass(part) for part in parts)
    if loss is None:
        return False
    module = getattr(loss, "__module__", type(loss).__module__)
    return isinstance(loss, str) or module.split(".", 1)[0] == "keras"


def _shown(loss: object) -> str:
    return loss if isinstance(loss, str) else str(getattr(loss, "__name__", type(loss).__name__))


def _name(loss: object) -> str:
    return "" if loss is None else _shown(loss).lower().replace("_", "")


def _what(target: Target) -> str:
    if target.class_names is not None:
        return f"there are {len(target.class_names)} classes"
    return "there is one number to predict per row"


def _listed(values: tuple[float, ...]) -> str:
    shown = [f"{value:g}" for value in values]
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) <= _NAMED else f"from {shown[0]} to {shown[-1]}"


def _size(shape: Shape) -> int:
    return int(np.prod(shape[1:], dtype=np.int64))


def _in_words(shape: Shape) -> str:
    return f"({', '.join(['rows', *map(str, shape[1:])])}{',' if len(shape) == 1 else ''})"
