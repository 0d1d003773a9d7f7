"""Whether this process has been asked to stop.

Set by a signal's handler, or by the driver in a worker; looked at where work can pause. One per process, because a
process is asked as a whole: Kubernetes sends SIGTERM to it, not to a trial.
"""

import threading


class TrainingPausedError(BaseException):
    """Training ended at a point that it can go on from; its checkpoint is written.

    No Exception: it is not the trial that failed, and whatever code runs around the training must not swallow it.
    """


_requested = threading.Event()


def request_stop() -> None:
    """Ask for it; whatever trains pauses at its next step."""
    _requested.set()


def stop_requested() -> bool:
    """Whether it was asked for."""
    return _requested.is_set()


def clear_stop_request() -> None:
    """Forget it: a process that runs one job after the other begins anew."""
    _requested.clear()
