"""Rows that are left as they are, because only the user's own model knows what to do with them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from job.data.arrays import AnyArray
from job.data.nested import Nested, leaves, map_leaves
from job.data.preparation import Preparation


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: its name in the published model, and a row's shape and dtype as they are in the source."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_cast(self) -> bool:
        """Whether models are handed float32 instead."""
        return self.dtype.startswith("float") and self.dtype != "float32"


@dataclass(frozen=True, slots=True)
class AsIs(Preparation):
    """Rows that only the user's own model knows what to do with; floating-point ones become float32.

    Attributes:
        inputs: an InputSpec for every array, nested as these are.
    """

    inputs: Nested

    @property
    def is_identity(self) -> bool:
        """Whether prepared rows equal those of the source, byte for byte."""
        return not any(one.is_cast for one in leaves(self.inputs))

    def prepare(self, x: Nested) -> Nested:
        """Cast what is to be cast."""
        return map_leaves(lambda leaf: leaf.astype(np.float32) if is_wide(leaf) else leaf, x)

    def profile(self) -> dict[str, Any]:
        """Shape and dtype of a row of each input."""
        return {"inputs": {one.name: {"shape": one.shape, "dtype": one.dtype} for one in leaves(self.inputs)}}


def is_wide(leaf: AnyArray) -> bool:
    """Whether these are floating-point numbers of other than 32 bits."""
    return leaf.dtype.kind == "f" and leaf.dtype != np.float32
