"""How many steps of an epoch one call takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """How many steps to take at a time, so that a call ends about every half second whatever the model.

    Only how often one can look up depends on the clock: the same steps are taken in the same order by the same graph.
    """

    _SECONDS = 0.5
    # The first call compiles, too, and says little of a step's time.
    _FIRST = 16

    def __init__(self) -> None:
        self.steps = self._FIRST

    @contextmanager
    def timed(self, steps: int) -> Iterator[None]:
        """Learn from how long so many steps take."""
        started = time.monotonic()
        yield
        possible = int(steps * self._SECONDS / max(time.monotonic() - started, 1e-6))
        self.steps = max(1, min(possible, 16 * self.steps))
