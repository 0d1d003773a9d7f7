"""The data sets of keras.datasets, read by Keras itself in a process of its own."""

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest

ROWS = 100
# A port that nothing listens on: every download fails at once, whatever network there is.
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
PROGRAM = """
import json, pathlib, sys
from job.data import load_dataset
from job.errors import DataError
from job.spec import DataSpec

scratch = pathlib.Path(sys.argv[1])
dataset = load_dataset(DataSpec(source="fashion_mnist"), seed=0, scratch=scratch / "cached")
found = {"profile": dataset.profile(), "divisor": dataset.preparation.divisor}
try:
    load_dataset(DataSpec(source="mnist"), seed=0, scratch=scratch / "not cached")
except DataError as error:
    found |= {"error": error.message, "advice": error.advice}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process found that has Fashion-MNIST in Keras's cache, MNIST not, and no network."""
    folder = tmp_path_factory.mktemp("keras")
    cache = folder / "datasets" / "fashion-mnist"
    cache.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = random.integers(0, 256, size=(ROWS, 28, 28), dtype=np.uint8)
        labels = np.arange(ROWS, dtype=np.uint8) % 10
        (cache / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
        (cache / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))
    environment = os.environ | NO_NETWORK | {"KERAS_HOME": str(folder), "NO_PROXY": "", "no_proxy": ""}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder / "scratch")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_cached_data_set_is_read_without_a_network(found):
    """The rows that Keras has in its cache are divided into splits; its test rows stay the test split."""
    profile = json.loads(found)["profile"]
    assert profile["rows"] == {"train": 80, "validation": 20, "test": ROWS}
    assert profile["input_shape"] == [28, 28]
    assert profile["input_dtype"] == "uint8"
    assert profile["classes"] == 10
    assert json.loads(found)["divisor"] == 255.0


def test_a_download_that_fails_is_a_data_error_with_advice(found):
    """Without network and cache the message says what could not be downloaded and where else it can come from."""
    error, advice = json.loads(found)["error"], json.loads(found)["advice"]
    assert error.startswith("data set 'mnist' could not be downloaded by keras.datasets: URL fetch failure on ")
    assert "S3" in advice
    assert "~/.keras/datasets" in advice


def test_downloads_leave_standard_output_alone(found):
    """Keras's messages and progress bars do not get between the job's log lines."""
    assert len(found.splitlines()) == 1
