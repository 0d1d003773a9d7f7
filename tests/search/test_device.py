"""How a process sets TensorFlow up, seen in processes of their own: what it sets cannot be set twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os
from job.training.device import prepare_process
prepare_process(threads=1)
import tensorflow as tf
print(tf.function(lambda x: x + 1.0, jit_compile=True)(tf.ones(3)).numpy().sum(), os.environ.get("XLA_FLAGS"))
"""


def _prepared(**environment):
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def test_xla_uses_wide_vectors_where_they_pay():
    """The option is one that this TensorFlow knows: of another, XLA would end the process."""
    processor = Path("/proc/cpuinfo")
    if not processor.exists():
        pytest.skip("only Linux tells what a processor can do")
    pays = "avx512_bf16" in processor.read_text()
    assert _prepared() == f"6.0 {'--xla_cpu_prefer_vector_width=512' if pays else None}"


def test_what_the_user_tells_xla_stays():
    """Flags of the user's own are not added to."""
    assert _prepared(XLA_FLAGS="--xla_cpu_prefer_vector_width=128") == "6.0 --xla_cpu_prefer_vector_width=128"
