"""Rows of numbers brought to mean 0 and standard deviation 1, feature by feature."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, chunks
from job.data.preparation import Origin, Preparation, choose_preparation
from job.errors import DataError

_TABLE_RANK = 2


@dataclass(frozen=True, slots=True)
class Standardisation(Preparation):
    """Each feature times its scale, plus its offset.

    Attributes:
        scale, offset: one number per feature, as `keras.layers.Rescaling` takes them.
        input_dtype: NumPy's name of the dtype of rows as they are in the source.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    input_dtype: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (len(self.scale),)

    @property
    def is_identity(self) -> bool:
        """Never: rows are always written anew."""
        return False

    def prepare(self, x: AnyArray) -> NDArray[np.float32]:
        """Prepare rows, bit for bit as `keras.layers.Rescaling(scale, offset, dtype="float32")` does when called.

        Args:
            x: shape (rows, features), any numeric dtype.
        """
        rows = x.astype(np.float32)
        rows *= np.array(self.scale, dtype=np.float32)
        rows += np.array(self.offset, dtype=np.float32)
        return rows

    def profile(self) -> dict[str, Any]:
        """Shape and dtype of a row."""
        return {"input_shape": self.input_shape, "input_dtype": self.input_dtype}


def standardisation_of(train: AnyArray) -> tuple[Standardisation, str]:
    """The preparation that gives each feature of the training rows mean 0 and standard deviation 1.

    A feature that is the same in all rows becomes 0.

    Args:
        train: the training rows as they are in the source, shape (rows, features).

    Returns:
        The preparation, and the reason for the log.

    Raises:
        DataError: the rows are no table.
    """
    if train.ndim != _TABLE_RANK:
        raise DataError(
            f"data.rescale: standardize is for tables, but rows have shape {train.shape[1:]}",
            advice="data.rescale: auto is for images.",
        )
    rows = len(train)
    mean = sum(piece.astype(np.float64).sum(axis=0) for piece in chunks(train)) / rows
    variance = sum(((piece.astype(np.float64) - mean) ** 2).sum(axis=0) for piece in chunks(train)) / rows
    deviation = np.sqrt(variance)
    # Rounding makes equal numbers differ from their mean in the last bit.
    constant = deviation <= np.finfo(np.float64).eps * np.abs(mean)
    scale = 1 / np.where(constant, 1.0, deviation)
    with np.errstate(over="ignore"):
        if not np.isfinite(np.float32(scale)).all():
            raise DataError("data.rescale: standardize: a feature differs by too little for float32")
    fitted = Standardisation(tuple(scale.tolist()), tuple((-mean * scale).tolist()), train.dtype.name)
    return fitted, "features are brought to mean 0 and standard deviation 1: data.rescale is standardize"


def array_preparation(
    rescale: Literal["auto", "standardize", "none"] | float, train: AnyArray, origin: Origin = "arrays"
) -> tuple[Preparation, str]:
    """The preparation of an array that `data.rescale` asks for, and the reason for the log.

    Args:
        rescale: the spec's `data.rescale`.
        train: the training rows as they are in the source, shape (rows, *input_shape).
        origin: what is known of them.

    Raises:
        DataError: it does not suit these rows.
    """
    return standardisation_of(train) if rescale == "standardize" else choose_preparation(rescale, train, origin)
