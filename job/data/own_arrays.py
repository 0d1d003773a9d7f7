"""The user's own data function: run once, in a process of its own; what it returns is written to files."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from job.data.arrays import SourceArray, chunks, map_array, write_array
from job.data.nested import Nested, leaves, map_leaves
from job.data.own_streams import arrays_of_dataset, is_dataset
from job.data.pins import ObjectPins
from job.disk import clear_disk_errors
from job.errors import DataError
from job.own_code import CodeSource, OwnCode, describe, describe_at, fetch_code, load_object, place_of, run_contained
from job.spec import DataSpec

# What it downloads or computes may take hours; a signal ends it at any time.
_PATIENCE_SECONDS = 24 * 3600.0
_PARTS = {"x_train": "train", "x": "train", "x_validation": "validation", "x_val": "validation", "x_test": "test"}
# What belongs to the rows of a part, by what stands in the place of its x.
_ROLES = ("x", "y", "sample_weight")
_NAMES = frozenset(role + name.removeprefix("x") for name in _PARTS for role in _ROLES)
_DATASETS = {"train": "x_train", "validation": "x_validation", "val": "x_validation", "test": "x_test"}
_EXPECTED = (
    "(x, y) or (x, y, sample_weight); one such tuple, or tf.data.Dataset, each for training and test rows, or for "
    "training, validation and test rows; or a dictionary with x and y, or x_train and y_train, and as far as there are "
    "such rows x_validation, y_validation, x_test and y_test, each with sample_weight, sample_weight_train, …"
)
_PAIR, _TRIPLE = 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class OwnPart:
    """Rows of one split, or those that splits are drawn from.

    Attributes:
        x: arrays, nested; each leaf a SourceArray.
        y: likewise; None where there are no targets.
        sample_weight: what each row counts; None where all count alike.
    """

    x: Nested
    y: Nested
    sample_weight: SourceArray | None = None


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
    return {part: OwnPart(*(opened(role + name.removeprefix("x")) for role in _ROLES)) for part, name in names.items()}


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
    with tempfile.TemporaryDirectory(dir=folder) as streamed:
        try:
            arrays = {name: _as_arrays(name, tree) for name, tree in _by_name(function(), Path(streamed)).items()}
            _check_pairs(arrays)
        except _UnusableError as error:
            raise DataError(describe_at(str(error), code, place), advice=error.advice) from error
        # An exit would end this process without a word.
        except (Exception, SystemExit) as error:
            raise DataError(describe(error, code, place)) from error
        report("written to scratch space")
        with clear_disk_errors(folder):
            return {name: _write_all(name, tree, folder) for name, tree in arrays.items()}


class _UnusableError(Exception):
    """What the function returns cannot be used."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


def _by_name(result: object, folder: Path) -> dict[str, Nested]:
    """What the function returns, by the names of an `.npz` file; rows of `tf.data.Dataset`s go through `folder`."""
    if is_dataset(result):
        result = {"train": result}
    if isinstance(result, Sequence) and result and all(map(is_dataset, result)):
        result = dict(zip(_SPLITS_BY_COUNT.get(len(result), ()), result, strict=False))
    if isinstance(result, Mapping) and result and all(map(is_dataset, result.values())):
        return _of_datasets(result, folder)
    if isinstance(result, Mapping):
        unknown = [str(name) for name in result if name not in _NAMES]
        if unknown:
            raise _UnusableError(f"the function returns {', '.join(unknown)}, which belongs to no split", _expected())
        return dict(result)
    if not isinstance(result, Sequence) or isinstance(result, str) or len(result) not in {_PAIR, _TRIPLE}:
        count = f" of {len(result)}" if isinstance(result, Sequence) and not isinstance(result, str) else ""
        raise _UnusableError(f"the function returns {type(result).__name__}{count}", _expected())
    # As the data sets of Keras; nested inputs and targets that look the same are told apart by a dictionary.
    if all(isinstance(part, tuple) and len(part) in {_PAIR, _TRIPLE} for part in result):
        named: dict[str, Nested] = {}
        for split, part in zip(_SPLITS_BY_COUNT[len(result)], result, strict=True):
            named |= _roles(_DATASETS[split], part)
        return named
    return _roles("x", result)


_SPLITS_BY_COUNT = {_PAIR: ("train", "test"), _TRIPLE: ("train", "validation", "test")}


def _roles(name: str, part: Sequence[Nested]) -> dict[str, Nested]:
    """`(x, y)` or `(x, y, sample_weight)` by name."""
    return {role + name.removeprefix("x"): tree for role, tree in zip(_ROLES, part, strict=False)}


def _of_datasets(datasets: Mapping[str, Any], folder: Path) -> dict[str, Nested]:
    unknown = [str(name) for name in datasets if name not in _DATASETS]
    if unknown:
        raise _UnusableError(f"the function returns {', '.join(unknown)}, which belongs to no split", _expected())
    named: dict[str, Nested] = {}
    for split, dataset in datasets.items():
        try:
            named |= _roles(_DATASETS[split], arrays_of_dataset(dataset, folder / split))
        except ValueError as error:
            raise _UnusableError(f"the data set of the {split} rows: {error}") from error
    return named


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
        role = next(role for role in _ROLES if name.startswith(role))
        other = "x" + name.removeprefix(role)
        if other not in arrays:
            raise _UnusableError(f"the function returns {name} without {other}", _expected())
    for name in (name for name in arrays if name in _PARTS):
        names = [role + name.removeprefix("x") for role in _ROLES if role + name.removeprefix("x") in arrays]
        together = list(leaves([arrays[one] for one in names]))
        counts = {len(leaf) for leaf in together}
        if len(counts) > 1 or counts <= {0}:
            shapes = ", ".join(str(leaf.shape) for leaf in together)
            raise _UnusableError(f"{' and '.join(names)} have shapes {shapes}: as many rows of each are expected")
        _check_weights(arrays.get("sample_weight" + name.removeprefix("x")))


def _check_weights(weights: Nested) -> None:
    if weights is None:
        return
    if not isinstance(weights, np.ndarray) or weights.dtype.kind not in "biuf" or weights.size != len(weights):
        raise _UnusableError("sample_weight is expected to be one array of numbers, one for each row")
    bad = ~(np.isfinite(weights.reshape(-1)) & (weights.reshape(-1) >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise _UnusableError(f"sample_weight is {weights.reshape(-1)[row]} in row {row}: numbers from 0 are expected")


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
