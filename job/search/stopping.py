"""When a search has found enough, or has failed too often: judged in address order.

Trials end in an order that depends on the number of workers; they are judged in the order of their addresses, each once
all before it have ended. So the trial that decides is the same in every run, and what follows it does not count.
"""

from collections import Counter
from dataclasses import dataclass

from job.errors import SearchFailedError
from job.records import Direction, TrialRecord


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What ends a search early.

    Attributes:
        timeout: seconds; None for none.
        grace: seconds after which what is under way at the timeout is ended.
        target: a score that is good enough; None for none.
        no_improvement: so many trials without a better score are enough; None for none.
    """

    timeout: float | None
    max_retries_per_trial: int
    max_consecutive_failed_trials: int
    target: float | None = None
    no_improvement: int | None = None
    grace: float = 0.0

    def patience(self, used: float) -> float | None:
        """Return for how many seconds trials may still be under way, after `used` seconds; None for ever."""
        return None if self.timeout is None else max(0.0, self.timeout + self.grace - used)


# So many workers may be killed over a trial before that counts against it.
_MOST_KILLS = 5
# The error of an attempt that was ended because the search's time was up.
OUT_OF_TIME = "it was still under way when limits.timeout and its grace were over"


def is_out_of_time(record: TrialRecord) -> bool:
    """Whether an attempt was ended because the search's time was up."""
    return record.failure == "timed_out" and record.error == OUT_OF_TIME


class Retries:
    """Which failed attempts are tried again.

    Args:
        most: how often a trial is tried again for errors of its own.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._killed: Counter[str] = Counter()

    def again(self, record: TrialRecord, attempt: int) -> bool:
        """Whether the trial is tried once more; to be asked once for each attempt.

        A diverged one is a function of its seed, and would again; some the user's code gives up for good. A worker that
        was killed says nothing of its trial, unless that comes again and again.

        Args:
            record: of the attempt.
            attempt: its number, from 1.
        """
        if record.status != "failed" or record.failure in {"diverged", "given_up"} or is_out_of_time(record):
            return False
        if record.failure == "killed":
            self._killed[record.trial_id] += 1
            return self._killed[record.trial_id] < _MOST_KILLS
        return attempt - self._killed[record.trial_id] <= self._most


class Judge:
    """Sees ended trials in address order, and says which of them is the last."""

    def __init__(self, limits: SearchLimits, direction: Direction) -> None:
        self._limits = limits
        self._sign = -1.0 if direction == "max" else 1.0
        self._best: float | None = None
        self._without_improvement = 0
        self._consecutive_failures = 0

    def reaches_target(self, record: TrialRecord) -> bool:
        """Whether the trial's score is good enough to stop."""
        target = self._limits.target
        return target is not None and record.score is not None and self._sign * record.score <= self._sign * target

    def see(self, record: TrialRecord) -> str | None:
        """The reason why this trial is the search's last; None if it is not.

        Raises:
            SearchFailedError: it is the last of too many that failed in a row.
        """
        self._count_failure(record)
        is_better = record.score is not None and (self._best is None or self._sign * record.score < self._best)
        if is_better and record.score is not None:
            self._best = self._sign * record.score
        self._without_improvement = 0 if is_better else self._without_improvement + 1
        if self.reaches_target(record):
            return f"stop.target ({self._limits.target:g})"
        # Trials that fail before there is a score are `max_consecutive_failed_trials`' affair.
        if self._best is not None and self._without_improvement == self._limits.no_improvement:
            return f"stop.no_improvement ({self._limits.no_improvement} trials)"
        return None

    def _count_failure(self, record: TrialRecord) -> None:
        if is_out_of_time(record):
            # It says nothing of the trial, and several are ended at once.
            return
        self._consecutive_failures = self._consecutive_failures + 1 if record.status == "failed" else 0
        if self._consecutive_failures >= self._limits.max_consecutive_failed_trials:
            raise SearchFailedError(
                f"{self._consecutive_failures} trials failed in a row; the last one, {record.trial_id}: {record.error}",
                advice="the trials' records say how each one failed",
            )
