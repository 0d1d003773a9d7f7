"""Which trials' checkpoints outlive their rung: those that may turn out to be the result's best."""

from collections.abc import Callable, Iterable

from job.records import TrialRecord

Rank = Callable[[TrialRecord], tuple[float, tuple[int, ...]]]


class KeptCheckpoints:
    """Holds back what the oracle lets go of while it may still be the best.

    The result's trials are those up to the one that decides, in address order, and that one may precede trials that
    have ended already. So the best of the settled trials may be the best in the end, and so may each later trial that
    is better still.

    Args:
        rank: smaller is better.
        discard: told of each trial whose checkpoints are not needed any more, once.
    """

    def __init__(self, rank: Rank, discard: Callable[[str], None]) -> None:
        self._rank = rank
        self._discard = discard
        self._best: TrialRecord | None = None
        # Ended trials with a score that are not settled, or are the best that is.
        self._candidates: dict[str, TrialRecord] = {}
        self._held: set[str] = set()

    def ended(self, record: TrialRecord, unneeded: Iterable[str]) -> None:
        """A trial has ended, and no rung needs these any more."""
        if self._is_better(record):
            self._candidates[record.trial_id] = record
        for trial_id in unneeded:
            if trial_id in self._candidates:
                self._held.add(trial_id)
            else:
                self._discard(trial_id)

    def settled(self, record: TrialRecord) -> None:
        """A trial is one of the result's; told in address order."""
        if not self._is_better(record):
            self._drop(record.trial_id)
            return
        self._best = record
        for trial_id, other in list(self._candidates.items()):
            if other is not record and not self._is_better(other):
                self._drop(trial_id)

    def only(self, best: TrialRecord) -> None:
        """The search has ended: nothing but its best is of use."""
        for trial_id in [name for name in self._held if name != best.trial_id]:
            self._drop(trial_id)

    def _is_better(self, record: TrialRecord) -> bool:
        return record.score is not None and (self._best is None or self._rank(record) < self._rank(self._best))

    def _drop(self, trial_id: str) -> None:
        self._candidates.pop(trial_id, None)
        if trial_id in self._held:
            self._held.remove(trial_id)
            self._discard(trial_id)
