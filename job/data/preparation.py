"""What is done to rows as they are in the source before the trained core sees them. Pure description."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray
from job.data.inputs import value_range
from job.data.nested import Nested
from job.errors import DataError

_BYTE_BITS = 8
_WORD_MAX = 65535
# Rows and columns, and the axis of examples; and perhaps one of channels.
_IMAGE_RANKS = (3, 4)
_CHANNELS = (1, 3)

# What is known of where arrays come from: image files and sets of images; arrays for a built-in builder; or arrays for
# code of the user's own, which knows what they are.
Origin = Literal["images", "arrays", "own"]


class Preparation(ABC):
    """What is done to rows as they are in the source; `job.models` makes the same of plain Keras layers.

    Subclasses are frozen and hold plain values: what was fitted was fitted on training rows.
    """

    @property
    @abstractmethod
    def is_identity(self) -> bool:
        """Whether prepared rows equal those of the source, byte for byte."""

    @abstractmethod
    def prepare(self, x: Nested) -> Nested:
        """Prepare rows, as the published model's layers do."""

    @abstractmethod
    def profile(self) -> dict[str, Any]:
        """What the log and `metrics.json` say of the inputs."""


@dataclass(frozen=True, slots=True)
class Rescaling(Preparation):
    """Arrays of numbers, divided by one number or left as they are.

    Attributes:
        divisor: what values are divided by; None for nothing.
        input_shape: of one row, as it is in the source.
        input_dtype: NumPy's name of the dtype of rows as they are in the source.
    """

    divisor: float | None
    input_shape: tuple[int, ...]
    input_dtype: str

    @property
    def scale(self) -> float | None:
        """What values are multiplied by, as `keras.layers.Rescaling` takes it."""
        return None if self.divisor is None else 1.0 / self.divisor

    @property
    def is_identity(self) -> bool:
        """Whether prepared rows equal those of the source, byte for byte."""
        return self.divisor is None and self.input_dtype == "float32"

    def prepare(self, x: AnyArray) -> NDArray[np.float32]:
        """Prepare rows, bit for bit as `keras.layers.Rescaling(scale, dtype="float32")` does when called.

        In a compiled graph TensorFlow drops the layer's addition of 0: there -0.0 stays -0.0.

        Args:
            x: shape (rows, *input_shape), any numeric dtype.

        Returns:
            An array of the same shape.
        """
        rows = x.astype(np.float32)
        if self.scale is not None:
            # Keras 3.15: cast(inputs) * cast(scale) + cast(offset), the offset 0 turning -0.0 into 0.0.
            rows *= np.float32(self.scale)
            rows += np.float32(0.0)
        return rows

    def profile(self) -> dict[str, Any]:
        """Shape and dtype of a row."""
        return {"input_shape": self.input_shape, "input_dtype": self.input_dtype}


def choose_preparation(
    rescale: Literal["auto", "none"] | float, train: AnyArray, origin: Origin = "arrays"
) -> tuple[Rescaling, str]:
    """Decide on the preparation, from the training rows alone.

    Args:
        rescale: the spec's `data.rescale`.
        train: the training rows as they are in the source, shape (rows, *input_shape).
        origin: what is known of them.

    Returns:
        The preparation, and the reason for the log.

    Raises:
        DataError: `rescale` is out of float32's range.
    """
    divisor, reason = _divisor(rescale, train, origin)
    if divisor is not None and not _is_usable(divisor):
        raise DataError(f"data.rescale {divisor} cannot be used: float32 cannot hold its reciprocal")
    action = "inputs are left as they are" if divisor is None else f"inputs are divided by {divisor:g}"
    return Rescaling(divisor, train.shape[1:], train.dtype.name), f"{action}: {reason}"


def _divisor(rescale: Literal["auto", "none"] | float, train: AnyArray, origin: Origin) -> tuple[float | None, str]:
    if rescale == "none":
        return None, "data.rescale is none"
    if rescale != "auto":
        return float(rescale), f"data.rescale is {float(rescale):g}"
    return _divisor_of_pixels(train) if origin == "images" else _divisor_of_arrays(train, origin)


def _divisor_of_pixels(train: AnyArray) -> tuple[float | None, str]:
    if train.ndim not in _IMAGE_RANKS:
        return None, "rows are no images (rescale: auto)"
    values = value_range(train)
    found = f"training values from {values.minimum:g} to {values.maximum:g}"
    if values.maximum <= 1 or values.minimum < 0:
        return None, f"{found} are not those of unscaled images (rescale: auto)"
    if train.dtype.kind == "u":
        white, bits = _white(values.maximum), 8 * train.dtype.itemsize
        which = "" if white == np.iinfo(train.dtype).max else f", whose {found} use {int(white).bit_length()} bits"
        return white, f"pixels of {bits} bits{which} (rescale: auto)"
    return values.maximum, f"images with {found} (rescale: auto)"


def _divisor_of_arrays(train: AnyArray, origin: Origin) -> tuple[float | None, str]:
    """Bytes with height and width are pixels to a built-in builder; of everything else only the user knows."""
    if origin == "arrays" and train.dtype == np.uint8 and train.ndim in _IMAGE_RANKS:
        return _divisor_of_pixels(train)
    hint = pixel_hint(train)
    return None, f"{hint or 'they are not known to be pixels'} (rescale: auto)"


def _white(most: float) -> float:
    """The greatest value of as many bits as pixels use, 8 at least: cameras of 10, 12 and 14 bits write files of 16."""
    return 2.0 ** max(int(most).bit_length(), _BYTE_BITS) - 1


def pixel_hint(train: AnyArray) -> str | None:
    """Return what to set in case an array of numbers holds pixels; None where it surely does not."""
    is_whole = train.dtype.kind in "iu"
    if train.ndim not in _IMAGE_RANKS and not (is_whole and train.dtype.itemsize == 1 and train.ndim > 1):
        return None
    values = value_range(train)
    if train.dtype == np.bool_ or values.maximum <= 1 or values.minimum < 0:
        return None
    most = _white(values.maximum) if is_whole and values.maximum <= _WORD_MAX else values.maximum
    return (
        f"values from {values.minimum:g} to {values.maximum:g} may be pixels or not; if they are, data.rescale: "
        f"{most:g} brings them to [0, 1]"
    )


def layout_notes(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return what the log should say of rows of a shape that looks like images with their channels first."""
    if len(shape) != len(_IMAGE_RANKS) + 1 or shape[0] not in _CHANNELS or min(shape[1:]) <= max(_CHANNELS):
        return ()
    note = f"rows of shape {shape} look like images with their channels first; Keras's layers take channels last"
    return (f"{note}: numpy.moveaxis(x, 1, -1)",)


def is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether rows of a shape surely are images with their channels first: one or three planes as high as wide."""
    return bool(layout_notes(shape)) and shape[1] == shape[2]


def _is_usable(divisor: float) -> bool:
    with np.errstate(over="ignore", under="ignore"):
        scale = float(np.float32(1.0 / divisor))
    return 0 < scale < math.inf
