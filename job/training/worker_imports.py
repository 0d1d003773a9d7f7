"""Imported by the fork server alone: what every worker needs. See `job.training.fork_server`.

Importing this module changes the process: it stops listening to signals that are meant for the driver, and is silent.
"""

import gc
import os
import signal

# The driver decides what becomes of the workers; the fork server ends with the driver.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A user's ~/.keras/keras.json may name another.
os.environ["KERAS_BACKEND"] = "tensorflow"

# NumPy's and SciPy's BLAS would start threads as they are imported, where a server that ended is started again, too;
# trials have one core each. What a user's code starts later is not to inherit it.
_blas_threads = os.environ.get("OPENBLAS_NUM_THREADS")
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# TensorFlow's libraries write to standard error while they load, before any log level applies. The driver, which loads
# them too, logs what they say.
_kept = os.dup(2)
_nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
try:
    import job.training.fork_server
    import job.training.trial  # noqa: F401 - for the modules that it loads
finally:
    os.dup2(_kept, 2)
    os.close(_kept)
    os.close(_nowhere)
    if _blas_threads is None:
        del os.environ["OPENBLAS_NUM_THREADS"]
    else:
        os.environ["OPENBLAS_NUM_THREADS"] = _blas_threads

# What was imported never dies: no collection of a worker need walk it, and its pages stay shared.
gc.collect()
gc.freeze()
