"""How many weights a built-in builder's largest model has, worked out without building it."""

import math
from collections.abc import Mapping
from itertools import pairwise

from job.spaces.builders import CNN
from job.spaces.declaration import Builder
from job.spaces.entries import AnyEntry, ChoiceEntry, FixedEntry, IntEntry, Scalar
from job.spaces.images import after_convolutions
from job.spaces.points import can_take, values_of

# What a normalised unit or filter has instead of a bias: scale, offset, and two moving averages.
_NORMALISED = 4
# Beyond so many values of a number, its least and its greatest stand for all of them.
_LOOKED_AT = 100


def largest_weights(builder: Builder, space: Mapping[str, AnyEntry], input_shape: tuple[int, ...], outputs: int) -> int:
    """Weights of the largest model of a space; an upper bound where its hyperparameters depend on each other.

    Args:
        builder: what builds it.
        space: the spec's.
        input_shape: of one row.
        outputs: how many numbers a model answers with.
    """
    entries = builder.resolve(space)
    constants = builder.constants()

    def numbers(name: str) -> list[int]:
        return _numbers(entries[name]) if name in entries else [int(constants[name])] if name in constants else []

    def largest_of_layer(shared: str, number: int) -> int:
        return max(numbers(f"{shared}_{number}") or numbers(shared))

    def dense(width: int) -> int:
        """The dense layers on so many inputs, and the output layer; more of them need not be more weights."""
        return max(
            _stack([width, *(largest_of_layer("units", n) for n in range(1, count + 1)), outputs], beside)
            for count in counts
        )

    counts = numbers("hidden_layers") or [0]
    normalization = entries.get("batch_normalization")
    beside = _NORMALISED if normalization is not None and can_take(normalization, value=True) else 1
    if builder is not CNN:
        return dense(math.prod(input_shape))
    most = 0
    sides, channels = input_shape[:2], math.prod(input_shape[2:])
    for layers in numbers("conv_layers"):
        filters = [largest_of_layer("filters", number) for number in range(1, layers + 1)]
        for kernel_size in numbers("kernel_size"):
            windows = after_convolutions((sides[0], sides[1]), layers, kernel_size)
            weights, depth = 0, channels
            for window, wide in zip(windows, filters, strict=True):
                weights += (math.prod(window.kernel) * depth + beside) * wide
                depth = wide
            most = max(most, weights + dense(math.prod(windows[-1].left) * depth))
    return most


def _stack(widths: list[int], beside: int) -> int:
    """Weights of dense layers, one from each width to the next; `beside`, of each hidden unit besides its inputs'."""
    hidden = sum((before + beside) * after for before, after in pairwise(widths[:-1]))
    return hidden + (widths[-2] + 1) * widths[-1]


def _numbers(entry: AnyEntry) -> list[int]:
    """The whole numbers that an entry takes; of very many the extremes."""
    values: tuple[Scalar, ...] = ()
    match entry:
        case IntEntry() if (entry.size() or 0) > _LOOKED_AT:
            values = (entry.min_value, entry.max_value)
        case IntEntry() | ChoiceEntry() | FixedEntry():
            values = values_of(entry)
    return [int(value) for value in values if isinstance(value, int)]
