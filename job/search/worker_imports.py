"""Imported by the fork server alone: what every worker needs. See `job.search.fork_server`.

Importing this module changes the process: it stops listening to signals that are meant for the driver, and is silent.
"""

import gc
import os
import signal

# The driver decides what becomes of the workers; the fork server ends with the driver.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# TensorFlow's libraries write to standard error while they load, before any log level applies. The driver, which loads
# them too, logs what they say.
_kept = os.dup(2)
_nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
try:
    import job.training.trial  # noqa: F401 - for the modules that it loads
finally:
    os.dup2(_kept, 2)
    os.close(_kept)
    os.close(_nowhere)

# What was imported never dies: no collection of a worker need walk it, and its pages stay shared.
gc.collect()
gc.freeze()
