"""The user's own data function: run once, in a process of its own; what it returns is written to files."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from job.data.arrays import SourceArray, chunks, map_array, write_array
from job.data.nested import Nested, leaves, map_leaves
from job.data.pins import ObjectPins
from job.disk import clear_disk_errors
from job.errors import DataError
from job.own_code import CodeSource, OwnCode, describe, describe_at, fetch_code, load_object, place_of, run_contained
from job.spec import DataSpec

# What it downloads or computes may take hours; a signal ends it at any time.
_PATIENCE_SECONDS = 24 * 3600.0
_PARTS = {"x_train": "train", "x": "train", "x_validation": "validation", "x_val": "validation", "x_test": "test"}
_NAMES = frozenset({*_PARTS, *("y" + name.removeprefix("x") for name in _PARTS)})
_EXPECTED = (
    "(x, y), ((x_train, y_train), (x_test, y_test)), or a dictionary with x and y, or x_train and y_train, and as far "
    "as there are such rows x_validation, y_validation, x_test and y_test"
)
_PAIR = 2


@dataclass(frozen=True, slots=True, eq=False)
class OwnPart:
    """Rows of one split, or those that splits are drawn from.

    Attributes:
        x: arrays, nested; each leaf a SourceArray.
        y: likewise; None where there are no targets.
    """

    x: Nested
    y: Nested


def read_own_arrays(spec: DataSpec, folder: Path, pins: ObjectPins) -> dict[str, OwnPart]:
    """Run the function that the spec names; its arrays by `train`, `validation` and `test`, as far as it gives them.

    Args:
        spec: its source is code.
        folder: where arrays are written to.
        pins: told of the code.

    Raises:
        DataError: the code cannot be had, fails, or returns something else; by the user's own file and line.
        AccessError, StoreError: a store refuses or fails, or there is too little room.
    """
    code = fetch_code(CodeSource.of(spec), folder / "code", pins)
    written: dict[str, Nested] = run_contained(
        multiprocessing.get_context("spawn"), code, load_and_write, code, folder, patience=_PATIENCE_SECONDS
    )

    def opened(name: str) -> Nested:
        return map_leaves(lambda leaf: _opened(leaf, code), written.get(name))

    names = {_PARTS[name]: name for name in written if name in _PARTS}
    return {part: OwnPart(opened(name), opened("y" + name.removeprefix("x"))) for part, name in names.items()}


@dataclass(frozen=True, slots=True)
class _Written:
    """One array in a file."""

    name: str
    path: Path


def _opened(leaf: _Written, code: OwnCode) -> SourceArray:
    return SourceArray(code.shown, leaf.name, map_array(leaf.path), leaf.path)


def load_and_write(report: Callable[[str], None], code: OwnCode, folder: Path) -> dict[str, Nested]:
    """What `read_own_arrays` does in a process of its own: whatever the code holds in memory ends with it.

    Args:
        report: told what is being done.
        code: of the function.
        folder: where arrays are written to.

    Raises:
        DataError: the function fails or returns what cannot be used.
    """
    report("loaded")
    function = load_object(code)
    place = place_of(function)
    if not callable(function):
        raise DataError(describe_at(f"{code.function} is no function", code, place))
    report("run")
    try:
        arrays = {name: _as_arrays(name, tree) for name, tree in _by_name(function()).items()}
        _check_pairs(arrays)
    except _UnusableError as error:
        raise DataError(describe_at(str(error), code, place), advice=error.advice) from error
    # An exit would end this process without a word.
    except (Exception, SystemExit) as error:
        raise DataError(describe(error, code, place)) from error
    report("written to scratch space")
    written = {}
    with clear_disk_errors(folder):
        for name, tree in arrays.items():
            written[name] = _write_all(name, tree, folder)
    return written


class _UnusableError(Exception):
    """What the function returns cannot be used."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


def _by_name(result: object) -> dict[str, Nested]:
    if isinstance(result, Mapping):
        unknown = [str(name) for name in result if name not in _NAMES]
        if unknown:
            raise _UnusableError(f"the function returns {', '.join(unknown)}, which belongs to no split", _expected())
        return dict(result)
    if not isinstance(result, Sequence) or isinstance(result, str) or len(result) != _PAIR:
        count = f" of {len(result)}" if isinstance(result, Sequence) and not isinstance(result, str) else ""
        raise _UnusableError(f"the function returns {type(result).__name__}{count}", _expected())
    first, second = result
    # As the data sets of Keras; nested inputs and targets that look the same are told apart by a dictionary.
    if all(isinstance(part, tuple) and len(part) == _PAIR for part in (first, second)):
        return {"x_train": first[0], "y_train": first[1], "x_test": second[0], "y_test": second[1]}
    return {"x": first, "y": second}


def _expected() -> str:
    return f"Return {_EXPECTED}."


def _as_arrays(name: str, tree: Nested) -> Nested:
    def as_array(leaf: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401 - whatever the user returns
        array = np.asarray(leaf)
        if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.reshape(-1)):
            array = array.astype(str)
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        if array.ndim == 0 or array.dtype.kind not in "biufU":
            kind = f"{type(leaf).__name__} of {array.dtype}" if array.ndim else type(leaf).__name__
            raise _UnusableError(
                f"{name} holds a {kind}: arrays of numbers, booleans or strings are expected, a row for each example",
                "A list or tuple stands for several inputs; numpy.asarray makes one array of it.",
            )
        return array

    return map_leaves(as_array, tree)


def _check_pairs(arrays: Mapping[str, Nested]) -> None:
    """Every part has inputs, as many targets, and rows; and each is there once."""
    given = [_PARTS[name] for name in arrays if name in _PARTS]
    if "train" not in given:
        raise _UnusableError("the function returns no training rows", _expected())
    twice = sorted({part for part in given if given.count(part) > 1})
    if twice:
        raise _UnusableError(f"the function returns {twice[0]} rows twice", _expected())
    for name in arrays:
        other = "x" + name.removeprefix("y") if name.startswith("y") else name
        if other not in arrays:
            raise _UnusableError(f"the function returns {name} without {other}", _expected())
    for name in (name for name in arrays if name in _PARTS):
        targets = "y" + name.removeprefix("x")
        counts = {len(leaf) for leaf in leaves([arrays[name], arrays.get(targets)])}
        if len(counts) > 1 or counts <= {0}:
            shapes = ", ".join(str(leaf.shape) for leaf in leaves([arrays[name], arrays.get(targets)]))
            raise _UnusableError(f"{name} and {targets} have shapes {shapes}: as many rows of each are expected")


def _names_of(name: str, tree: Nested) -> Iterator[str]:
    """The leaves' names, in order: `x_train['image']`."""
    if isinstance(tree, Mapping):
        for key, part in tree.items():
            yield from _names_of(f"{name}[{key!r}]", part)
    elif isinstance(tree, list | tuple):
        for index, part in enumerate(tree):
            yield from _names_of(f"{name}[{index}]", part)
    elif tree is not None:
        yield name


def _write_all(name: str, tree: Nested, folder: Path) -> Nested:
    names = _names_of(name, tree)
    return map_leaves(lambda leaf: _write(next(names), leaf, folder), tree)


def _write(name: str, array: np.ndarray[Any, Any], folder: Path) -> _Written:
    path = folder / f"own-{name.encode().hex()[:80]}-{len(list(folder.glob('own-*.npy')))}.npy"
    # In C order and native byte order, as every source array is.
    dtype = array.dtype.newbyteorder("=")
    write_array(path, dtype, array.shape, chunks(array))
    return _Written(name, path)
