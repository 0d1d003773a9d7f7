"""The one place that sets TensorFlow up: its noise, its threads, its GPU memory.

Call `prepare_process` before anything else touches TensorFlow: thread counts and memory growth cannot be changed
after the first operation of a process.
"""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from job.logs import get_logger


@dataclass(frozen=True, slots=True)
class Device:
    """What trials run on: `kind` is `cpu` or `gpu`, `name` the device's own, `cpu` the processor's model."""

    kind: str
    name: str
    cpu: str


def prepare_process(*, threads: int) -> Device:
    """Import and configure TensorFlow for this process.

    Args:
        threads: intra-op threads on a CPU. Small models train faster with one than with two.
    """
    # C++ logging is configured by the environment alone; a user who sets it wants to see it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A user's ~/.keras/keras.json may name another.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("XLA_FLAGS", " ".join(_xla_flags()))
    with _native_noise_as_events():
        import tensorflow as tf  # noqa: PLC0415 - the environment above must be set first

        tf.get_logger().handlers.clear()
        tf.get_logger().propagate = True
        # Every trial traces graphs of its own, which TensorFlow takes for a mistake and warns about.
        tf.get_logger().setLevel("ERROR")
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            # Without it the first process takes all of the GPU's memory.
            tf.config.experimental.set_memory_growth(gpu, enable=True)
    # TensorFlow's heap never dies; without this every collection between trials walks all of it (0.5 s).
    gc.collect()
    gc.freeze()
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return Device("gpu", str(details.get("device_name", "GPU")), _cpu_name())
    return Device("cpu", _cpu_name(), _cpu_name())


def device_kind() -> Literal["cpu", "gpu"]:
    """What this process trains on. TensorFlow must be prepared."""
    import tensorflow as tf  # noqa: PLC0415 - imported by prepare_process

    return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"


@contextmanager
def _native_noise_as_events() -> Iterator[None]:
    """Turn what native code writes to standard error into debug events.

    TensorFlow's libraries speak while they load, before any log level applies. The file descriptor itself is
    redirected, to a file rather than a pipe, so that nothing can block; Python's own `sys.stderr` is not used here.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as capture:
        os.dup2(capture.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            capture.seek(0)
            for line in capture.read().decode(errors="replace").splitlines():
                get_logger().debug("native message", text=line)


def _cpu_name() -> str:
    return _cpu_field("model name") or "unknown"


def _xla_flags() -> Iterator[str]:
    """What makes XLA's kernels faster on this processor; last bits depend on it. A flag that XLA lacks would end us."""
    # Weights and moments are all updated in one pass over memory. Unlike a flag, a name unknown here is ignored.
    yield "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"
    if _has_fast_wide_vectors():
        # XLA itself keeps to 256 bits, for processors that slow down with more.
        yield "--xla_cpu_prefer_vector_width=512"


def _has_fast_wide_vectors() -> bool:
    """Whether vectors of 512 bits pay: bfloat16 came to x86 after the processors whose clock they lower."""
    return "avx512_bf16" in _cpu_field("flags").split()


def _cpu_field(name: str) -> str:
    """What Linux says of the first processor; empty where it says nothing."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a device file, not a path of ours
            fields = (line.partition(":") for line in lines)
            return next((value.strip() for key, _, value in fields if key.strip() == name), "")
    except OSError:
        return ""
