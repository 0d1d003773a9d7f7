"""The data sets that go by a name: scikit-learn's `digits`, and the array sets of `keras.datasets`."""

import importlib
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from job.data.arrays import AnyArray, SourceArray, chunks, write_array
from job.errors import DataError
from job.spec.datasets import DATASETS, UNSUPPORTED_DATASETS

# Keras downloads without a timeout: a network that swallows packets would hold the job for ever.
_DOWNLOAD_TIMEOUT_SECONDS = 60.0


class BuiltInArrays:
    """The arrays of a built-in data set, in memory until they are extracted."""

    def __init__(self, name: str, arrays: Mapping[str, AnyArray]) -> None:
        self.file = name
        self._arrays = arrays

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays' names."""
        return tuple(self._arrays)

    def extract(self, name: str, path: Path) -> SourceArray:
        """Write an array into an `.npy` file at `path` and map it; raises OSError where that fails."""
        array = self._arrays[name]
        values = write_array(path, array.dtype.newbyteorder("="), array.shape, chunks(array))
        return SourceArray(self.file, name, values, path)


def load_built_in(name: str) -> BuiltInArrays | None:
    """The data set of this name; None where no built-in set has it.

    Raises:
        DataError: the set cannot be used, or cannot be downloaded.
    """
    if name in UNSUPPORTED_DATASETS:
        raise DataError(f"data set {name!r} cannot be used: it is {UNSUPPORTED_DATASETS[name]}", advice=choices())
    dataset = DATASETS.get(name)
    if dataset is None:
        return None
    return BuiltInArrays(name, _LOADERS[dataset.library](name))


def choices() -> str:
    """What `data.source` may be, for messages."""
    return f"Built-in data sets: {', '.join(sorted(DATASETS))}; or an .npz file as a path or s3:// URL."


def _load_digits(_name: str) -> dict[str, AnyArray]:
    # scikit-learn takes most of a second to import: only who uses it pays for it.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    digits = load_digits()
    return {"x": digits.images, "y": digits.target}


def _load_keras(name: str) -> dict[str, AnyArray]:
    # By name: Keras brings TensorFlow along, which this layer imports only where a source needs it.
    module = importlib.import_module(f"keras.datasets.{name}")
    try:
        with _quiet_download():
            (x_train, y_train), (x_test, y_test) = module.load_data()
    except Exception as error:  # Keras raises bare Exception for a failed download
        raise DataError(
            f"data set {name!r} could not be downloaded by keras.datasets: {error}",
            advice=(
                "Without internet access, put a copy as an .npz file (x_train, y_train, x_test, y_test) into "
                "S3 and name its URL in data.source, or mount a folder with Keras's cached files at "
                "~/.keras/datasets."
            ),
        ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


@contextmanager
def _quiet_download() -> Iterator[None]:
    """Bound every wait of a download, and keep Keras's progress bar off the job's standard output."""
    config = importlib.import_module("keras.config")
    timeout = socket.getdefaulttimeout()
    interactive = config.is_interactive_logging_enabled()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_SECONDS)
    config.disable_interactive_logging()
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout)
        if interactive:
            config.enable_interactive_logging()


_LOADERS: dict[str, Callable[[str], dict[str, AnyArray]]] = {
    "scikit-learn": _load_digits,
    "keras.datasets": _load_keras,
}
