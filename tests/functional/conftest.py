"""The real command as a subprocess, and real data for it."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = "usr/share/datasets/fashion-mnist"
TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict]:
        """Standard output, every line of which must be one JSON event."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def event(self, name: str) -> dict:
        """The only event of this name."""
        found = [event for event in self.events if event["event"] == name]
        assert len(found) == 1, f"{len(found)} events {name!r} in:\n{self.stdout}"
        return found[0]


Command = Callable[..., Finished]


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory) -> dict[str, str]:
    """The tests' own environment without job or AWS settings; what runs keep on disk is in pytest's own folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "AWS_"))}
    return inherited | {"JOB_SCRATCH": str(tmp_path_factory.mktemp("scratch"))}


@pytest.fixture
def job(tmp_path, clean_environment) -> Command:
    """Run `python -m job …` in an empty folder, with no terminal."""

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "job", *arguments],
            cwd=tmp_path,
            env=clean_environment | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def fashion_mnist(tmp_path_factory) -> Path:
    """Fashion-MNIST, 60,000 + 10,000 images of 28 x 28 uint8, as one `.npz` file like MNIST's."""
    folder = _fashion_mnist_folder(tmp_path_factory.mktemp("fashion-mnist-package"))
    file = tmp_path_factory.mktemp("fashion-mnist") / "fashion-mnist.npz"
    np.savez(
        file,
        x_train=_idx(folder / "train-images-idx3-ubyte.gz"),
        y_train=_idx(folder / "train-labels-idx1-ubyte.gz"),
        x_test=_idx(folder / "t10k-images-idx3-ubyte.gz"),
        y_test=_idx(folder / "t10k-labels-idx1-ubyte.gz"),
    )
    return file


def _fashion_mnist_folder(scratch: Path) -> Path:
    """Where Debian's package put it, or a copy of the package unpacked here, which needs no root."""
    installed = Path("/") / DEBIAN_FOLDER
    if installed.is_dir():
        return installed
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(f"no Debian: {DEBIAN_PACKAGE} cannot be had")
    download = subprocess.run(
        ["apt-get", "download", DEBIAN_PACKAGE],  # noqa: S607 - whichever apt-get the machine has
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    if download.returncode != 0:
        pytest.skip(f"apt-get download {DEBIAN_PACKAGE}: {download.stderr.strip()}")
    (package,) = scratch.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, scratch], check=True)  # noqa: S607 - likewise
    return scratch / DEBIAN_FOLDER


def _idx(path: Path) -> np.ndarray:
    """An array in the IDX format: two zero bytes, the type (8: uint8), the rank, the sizes, the values."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
