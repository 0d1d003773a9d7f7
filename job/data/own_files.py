"""Rows of the user's own data on their way into files: one file for every array, whatever they nest in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, Selection, chunks, write_array, write_selections
from job.data.as_is import AsIs, is_wide
from job.data.dataset import Split
from job.data.nested import Nested, leaves, map_leaves
from job.data.own_arrays import OwnPart
from job.data.preparation import Preparation


@dataclass(frozen=True, slots=True, eq=False)
class OwnRows:
    """Rows on their way into a split: which of a part's.

    Attributes:
        y: targets as the model gets them.
        codes: their class numbers, shape (rows,); None unless the task is a classification.
    """

    part: OwnPart
    y: Nested
    codes: NDArray[np.int64] | None
    chosen: NDArray[np.int64] | None = None

    @property
    def count(self) -> int:
        """How many rows they are."""
        return len(next(leaves(self.part.x)).values) if self.chosen is None else len(self.chosen)


@dataclass(frozen=True, slots=True, eq=False)
class WrittenSplit:
    """A split, and the files that hold it, nested like its arrays."""

    split: Split
    x_files: Nested
    y_files: Nested
    weight_file: Path | None


def write_split(folder: Path, name: str, *rows: OwnRows) -> WrittenSplit:
    """One file for every array, with the rows of one split after those of the other."""
    first = rows[0]
    x_files = _files(folder, f"x_{name}", first.part.x)
    y_files = _files(folder, f"y_{name}", first.y)
    for path, arrays in _together(x_files, [one.part.x for one in rows]):
        selections = [Selection(array, one.chosen) for array, one in zip(arrays, rows, strict=True)]
        dtypes = [array.values.dtype for array in arrays]
        write_selections(path, np.result_type(*dtypes) if dtypes[0].kind == "U" else dtypes[0], *selections)
    for path, arrays in _together(y_files, [one.y for one in rows]):
        whole = np.concatenate(arrays)
        write_array(path, whole.dtype, whole.shape, chunks(whole))
    weight_file = _write_weights(folder / f"weight_{name}.npy", rows)
    weight = None if weight_file is None else mapped(weight_file)
    split = Split(map_leaves(mapped, x_files), map_leaves(mapped, y_files), weight)
    return WrittenSplit(split, x_files, y_files, weight_file)


def _write_weights(path: Path, rows: tuple[OwnRows, ...]) -> Path | None:
    """What each row counts, 1 where its part does not say; None where no part says it."""
    if all(one.part.sample_weight is None for one in rows):
        return None
    weights = []
    for one in rows:
        given = one.part.sample_weight
        whole = np.ones(one.count, np.float32) if given is None else given.values.reshape(-1).astype(np.float32)
        weights.append(whole if given is None or one.chosen is None else whole[one.chosen])
    together = np.concatenate(weights)
    write_array(path, together.dtype, together.shape, [together])
    return path


def _files(folder: Path, name: str, tree: Nested) -> Nested:
    numbers = iter(range(sum(1 for _ in leaves(tree))))
    return map_leaves(lambda _: folder / f"{name}_{next(numbers)}.npy", tree)


def _together(files: Nested, trees: list[Nested]) -> Iterator[tuple[Path, tuple[Any, ...]]]:
    yield from zip(leaves(files), zip(*(leaves(tree) for tree in trees), strict=True), strict=True)


def mapped(path: Path) -> AnyArray:
    """Return the array in a file, memory-mapped."""
    array: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def prepare_files(folder: Path, both: WrittenSplit, preparation: Preparation) -> Nested:
    """The files of the prepared rows; what preparation leaves alone stays where it is."""
    if preparation.is_identity:
        return both.x_files
    numbers = iter(range(sum(1 for _ in leaves(both.x_files))))

    def prepared(path: Path) -> Path:
        number, raw = next(numbers), mapped(path)
        if isinstance(preparation, AsIs) and not is_wide(raw):
            return path
        copy = folder / f"prepared_train_and_validation_{number}.npy"
        write_array(copy, np.dtype(np.float32), raw.shape, (preparation.prepare(piece) for piece in chunks(raw)))
        return copy

    return map_leaves(prepared, both.x_files)
