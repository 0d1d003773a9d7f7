"""Faults drawn at random from a seed."""

import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """What may happen to one request."""

    LATENCY = "latency"  # nothing is lost, but it takes a while
    RESET = "reset"  # the connection is reset before the server sees the request
    ERROR = "error"  # 500 InternalError; the server never saw the request
    SLOW_DOWN = "slow_down"  # 503 SlowDown, likewise
    CUT = "cut"  # the server has done its work; the answer's body ends half-way
    DROP = "drop"  # the server has done its work; the connection ends without an answer
    LATE_ERROR = "late_error"  # the server has done its work; the client is told 500 all the same


@dataclass
class RandomFaults:
    """Draws a fault for each request.

    The same seed gives the same sequence of draws; which request meets which draw depends on the order in which
    concurrent requests arrive.

    Attributes:
        rate: the share of requests that meet a fault, 0 to 1.
        kinds: what they meet, each as likely as the others.
        latency: the longest delay in seconds.
        counts: how often each fault was drawn so far; `None` counts requests without one.
    """

    seed: int
    rate: float
    kinds: Sequence[Fault] = tuple(Fault)
    latency: float = 0.3
    counts: Counter[Fault | None] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - faults, not secrets
        self._lock = threading.Lock()

    def draw(self) -> tuple[Fault | None, float]:
        """The next fault, and the seconds of delay that go with LATENCY."""
        with self._lock:
            chance, kind, delay = self._random.random(), self._random.choice(self.kinds), self._random.random()
            fault = kind if chance < self.rate else None
            self.counts[fault] += 1
        return fault, delay * self.latency
