"""Fashion-MNIST as the benchmarks use it: one `.npz` whose splits both sides are given.

Source: Debian's package `dataset-fashion-mnist` (60,000 + 10,000 images of 28 x 28 bytes, in MNIST's format), from
where it is installed, or fetched with `apt-get download` and unpacked, which needs no root; or a file of one's own.
"""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PACKAGE = "dataset-fashion-mnist"
_FOLDER = "usr/share/datasets/fashion-mnist"
_VALIDATION_SHARE = 5


def write_splits(path: Path, *, source: Path | None, rows: int | None) -> dict[str, int]:
    """Write `x_train`, `x_validation`, `x_test` and their labels, uncompressed.

    The validation rows are the last fifth of the training rows, as Keras's `validation_split=0.2` takes them.

    Args:
        path: the `.npz` file to write.
        source: an `.npz` file with `x_train`, `y_train`, `x_test`, `y_test`; None for Debian's package.
        rows: how many training rows to use, and a sixth as many test rows; None for all.

    Returns:
        The number of rows of each split.
    """
    arrays = _debian_arrays(path.parent) if source is None else _npz_arrays(source)
    x, y = arrays["x_train"][:rows], arrays["y_train"][:rows]
    test_rows = None if rows is None else rows // 6
    first = len(x) - len(x) // _VALIDATION_SHARE
    splits = {
        "train": (x[:first], y[:first]),
        "validation": (x[first:], y[first:]),
        "test": (arrays["x_test"][:test_rows], arrays["y_test"][:test_rows]),
    }
    named: dict[str, Any] = {
        f"{kind}_{split}": part for split, pair in splits.items() for kind, part in zip("xy", pair, strict=True)
    }
    np.savez(path, **named)
    return {split: len(labels) for split, (_, labels) in splits.items()}


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}


def _debian_arrays(scratch: Path) -> dict[str, NDArray[Any]]:
    folder = _debian_folder(scratch)
    return {
        "x_train": _idx(folder / "train-images-idx3-ubyte.gz"),
        "y_train": _idx(folder / "train-labels-idx1-ubyte.gz"),
        "x_test": _idx(folder / "t10k-images-idx3-ubyte.gz"),
        "y_test": _idx(folder / "t10k-labels-idx1-ubyte.gz"),
    }


def _debian_folder(scratch: Path) -> Path:
    installed = Path("/") / _FOLDER
    if installed.is_dir():
        return installed
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        sys.exit(f"no Debian: {_PACKAGE} cannot be had; give a file with --data")
    download = subprocess.run(
        ["apt-get", "download", _PACKAGE],  # noqa: S607 - whichever apt-get the machine has
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    if download.returncode != 0:
        sys.exit(f"apt-get download {_PACKAGE}: {download.stderr.strip()}; give a file with --data")
    (package,) = scratch.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, scratch], check=True)  # noqa: S607 - likewise
    return scratch / _FOLDER


def _idx(path: Path) -> NDArray[np.uint8]:
    """An array in the IDX format: two zero bytes, the type (8: uint8), the rank, the sizes, the values."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
