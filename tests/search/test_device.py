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
moments = [tf.Variable(tf.zeros(1000)), tf.Variable(tf.zeros(1000))]

@tf.function(jit_compile=True, autograph=False)
def update(gradient):
    moments[0].assign(0.9 * moments[0] + 0.1 * gradient)
    moments[1].assign(0.9 * moments[1] + 0.1 * gradient * gradient)

update(tf.ones(1000))
assert abs(float(moments[1][0]) - 0.1) < 1e-6
main = update.experimental_get_compiler_ir(tf.ones(1000))(stage="optimized_hlo").split("ENTRY")[-1]
print("1000]{0}) fusion(" in main, os.environ["XLA_FLAGS"])
"""


def _prepared(**environment):
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def test_an_update_is_one_pass_over_memory():
    """XLA is told to make one kernel of what reads the same arrays; by itself it makes one for each result."""
    assert _prepared().startswith("True ")
    assert _prepared(XLA_FLAGS="--xla_cpu_prefer_vector_width=256").startswith("False ")


def test_xla_uses_wide_vectors_where_they_pay():
    """The option is one that this TensorFlow knows: of another, XLA would end the process."""
    processor = Path("/proc/cpuinfo")
    if not processor.exists():
        pytest.skip("only Linux tells what a processor can do")
    pays = "avx512_bf16" in processor.read_text()
    assert ("--xla_cpu_prefer_vector_width=512" in _prepared()) == pays


def test_what_the_user_tells_xla_stays():
    """Flags of the user's own are not added to."""
    assert _prepared(XLA_FLAGS="--xla_cpu_prefer_vector_width=128").endswith(" --xla_cpu_prefer_vector_width=128")
