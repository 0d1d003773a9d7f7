"""The search: an oracle that decides, executors that train, and the driver that owns both."""

from job.search.driver import Driver, SearchLimits, SearchObserver
from job.search.executors import Executor, InlineExecutor
from job.search.oracle import HyperbandOracle

__all__ = [
    "Driver",
    "Executor",
    "HyperbandOracle",
    "InlineExecutor",
    "SearchLimits",
    "SearchObserver",
]
