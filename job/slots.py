"""How many trials run at a time on a machine."""

from job.resources import Resources
from job.spec import JobSpec

# TensorFlow with a small model, measured: 0.45 GB; the rest is room for the model and its graphs.
_WORKER_BYTES = 800 * 2**20
# Rows are copied to the device, and once more while they are placed.
_COPIES_OF_ROWS = 2
# The driver holds TensorFlow, too, and the retraining its rows.
_SHARE_OF_MEMORY = 0.9


def worker_memory(prepared_bytes: int) -> int:
    """Bytes that one worker is expected to need."""
    return _WORKER_BYTES + _COPIES_OF_ROWS * prepared_bytes


def slot_count(spec: JobSpec, resources: Resources, prepared_bytes: int = 0) -> int:
    """How many trials run at a time.

    `auto` is the cores over the threads per trial, or the GPUs' shares, bounded by memory and by the number of trials
    that there will be to run at a time.
    """
    if spec.resources.executor == "inline":
        return 1
    wanted = spec.limits.max_concurrent_trials
    if wanted != "auto":
        return wanted
    if resources.gpus:
        possible = len(resources.gpus) * spec.resources.trials_per_gpu
    else:
        possible = resources.cores // spec.resources.threads_per_trial
    # One share of memory is the driver's.
    fitting = int(resources.memory * _SHARE_OF_MEMORY) // worker_memory(prepared_bytes) - 1
    useful = spec.planned().configurations if spec.can_plan else possible
    if spec.search.algorithm == "bayesian":
        # A proposal waits for all records but the last `lag`: more slots would find nothing to do.
        useful = min(useful, spec.search.lag + 1)
    return max(1, min(possible, fitting, useful))
