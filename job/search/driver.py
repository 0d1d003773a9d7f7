"""The driver: the one owner of the oracle.

It asks the oracle for trials, hands them to an executor, stores each ended trial as one immutable record, and tells
the oracle. A trial whose record exists already is not run again: its record is the answer. So a resumed search is
the same loop, and needs no state of its own.
"""

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from keras_tuner.engine.trial import Trial, TrialStatus

from job.errors import SearchFailedError, StateConflictError
from job.logs import bound, get_logger
from job.records import SearchResult, SearchTotals, TrialRecord, TrialRequest
from job.search.addressed import Address, AddressedOracle
from job.search.executors import Executor
from job.search.kept_checkpoints import KeptCheckpoints
from job.search.stopping import Judge, Retries, SearchLimits

__all__ = ["Driver", "SearchLimits", "SearchObserver"]


class SearchObserver(Protocol):
    """Whoever wants to show how the search goes."""

    def trial_ended(self, record: TrialRecord, best: TrialRecord | None) -> None:
        """A trial has ended; `best` is the best so far."""
        ...


class Driver:
    """Runs a search to its end.

    Args:
        oracle: decides what to try; owned from here on.
        executor: trains; owned from here on.
        known: records of an earlier start of this run, by trial id.
        store_record: keeps a new record for good; called once per ended trial.
        starting: told of each attempt before it is handed to the executor.
        used_before: seconds that earlier starts of this run took; they count for the timeout.
        discard: told of each trial whose checkpoints are no longer needed; those of the result's best always are.
        clock: seconds on a steady clock.
    """

    def __init__(  # noqa: PLR0913 - the driver is where the parts meet
        self,
        oracle: AddressedOracle,
        executor: Executor,
        limits: SearchLimits,
        *,
        known: Mapping[str, TrialRecord],
        store_record: Callable[[TrialRecord], None],
        discard: Callable[[str], None],
        observer: SearchObserver,
        starting: Callable[[TrialRequest], None] = lambda _: None,
        used_before: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._oracle = oracle
        self._executor = executor
        self._limits = limits
        self._known = known
        self._store_record = store_record
        self._observer = observer
        self._starting = starting
        self._used_before = used_before
        self._clock = clock
        self._records: dict[str, TrialRecord] = {}
        self._running: dict[str, tuple[Trial, int]] = {}
        self._best: TrialRecord | None = None
        self._judge = Judge(limits, oracle.direction)
        self._retries = Retries(limits.max_retries_per_trial)
        self._kept = KeptCheckpoints(self._rank, discard)
        # Ended trials that no unfinished one precedes, in address order.
        self._settled: list[str] = []
        self._stopped_by: str | None = None
        # Whether the last of the settled trials is the last that counts.
        self._is_decided = False

    def run(self) -> SearchResult:
        """Search until the oracle stops, a limit or a stopping rule is met, or too many trials fail in a row.

        Raises:
            SearchFailedError: no trial completed, or `max_consecutive_failed_trials` failed in a row.
            StateConflictError: a known record belongs to another search.
        """
        started = self._clock() - self._used_before
        while True:
            self._check_timeout(started)
            self._fill_slots()
            # Trials under way that do not count any more are the executor's to end.
            if not self._running or self._is_decided:
                break
            self._take_one_record(started)
        return self._result()

    def _check_timeout(self, started: float) -> None:
        timeout = self._limits.timeout
        if timeout is not None and self._stopped_by is None and self._clock() - started >= timeout:
            self._stopped_by = f"limits.timeout ({timeout:g} s)"
            get_logger().warning("search stopped early", reason=self._stopped_by)

    def _fill_slots(self) -> None:
        # What was trained before the time was up counts, also where it is only now asked for.
        while not self._is_decided and (self._stopped_by is None or self._has_more_known()):
            if len(self._running) >= self._executor.slots:
                return
            slot = next(s for s in map(str, itertools.count()) if s not in self._oracle.ongoing_trials)
            trial = self._oracle.create_trial(slot)
            if trial.status != TrialStatus.RUNNING:
                return
            record = self._known.get(trial.trial_id)
            if record is not None:
                self._check_same(trial, record)
                self._end(trial, record)
                continue
            if self._stopped_by is not None:
                # It is never run; the oracle goes on to those that were.
                continue
            self._running[trial.trial_id] = (trial, 1)
            self._submit(trial)

    def _has_more_known(self) -> bool:
        return not self._known.keys() <= self._records.keys()

    def _check_same(self, trial: Trial, record: TrialRecord) -> None:
        expected = self._oracle.user_hyperparameters(trial)
        if record.hyperparameters != expected:
            raise StateConflictError(
                f"the stored trial {record.trial_id} has hyperparameters {record.hyperparameters}, this search "
                f"wants {expected}: the run id belongs to another search",
                advice="use another run id",
            )

    def _submit(self, trial: Trial) -> None:
        request = self._oracle.request_of(trial)
        self._starting(request)
        with bound(trial_id=request.trial_id, bracket=request.bracket, rung=request.rung):
            get_logger().info(
                "trial started",
                from_epoch=request.from_epoch,
                to_epoch=request.to_epoch,
                hyperparameters=request.hyperparameters,
            )
        self._executor.submit(request)

    def _take_one_record(self, started: float) -> None:
        record = self._executor.wait(self._limits.patience(self._clock() - started))
        self._check_timeout(started)
        trial, attempt = self._running[record.trial_id]
        if self._retries.again(record, attempt) and self._stopped_by is None:
            get_logger().warning("trial will be retried", trial_id=record.trial_id, attempt=attempt, error=record.error)
            self._running[record.trial_id] = (trial, attempt + 1)
            self._submit(trial)
            return
        del self._running[record.trial_id]
        record = record.model_copy(update={"attempts": attempt})
        self._store_record(record)
        self._end(trial, record)

    def _end(self, trial: Trial, record: TrialRecord) -> None:
        """Tell the oracle and everybody who watches."""
        oracle = self._oracle
        if record.status == "completed" and record.score is not None:
            # The record's score is over the whole lineage, and of all its executions; the oracle need not know how.
            oracle.update_trial(record.trial_id, {oracle.objective.name: record.score}, step=record.best_epoch or 0)
        trial.status = TrialStatus.COMPLETED if record.status == "completed" else TrialStatus.FAILED
        trial.message = record.error
        oracle.end_trial(trial)
        self._records[record.trial_id] = record
        if self._judge.reaches_target(record):
            oracle.stop_after(record.trial_id)
        if record.score is not None and (self._best is None or self._rank(record) < self._rank(self._best)):
            self._best = record
        self._kept.ended(record, oracle.take_discardable())
        self._announce(record)
        for trial_id in oracle.take_settled():
            self._settle(self._records[trial_id])
            if self._is_decided:
                break

    def _settle(self, record: TrialRecord) -> None:
        """Judge a trial that has ended, as all before it have."""
        self._settled.append(record.trial_id)
        self._kept.settled(record)
        reason = self._judge.see(record)
        if reason is not None:
            self._is_decided = True
            self._stopped_by = reason
            left_out = sorted(self._records.keys() - set(self._settled))
            get_logger().info(
                "search stopped",
                reason=reason,
                trial_id=record.trial_id,
                left_out=left_out,
                under_way=sorted(self._running),
            )

    def _rank(self, record: TrialRecord) -> tuple[float, tuple[int, ...]]:
        """Smaller is better: by score, then by address, so that the order in which trials end does not matter."""
        score = math.inf if record.score is None else record.score
        return (-score if self._oracle.direction == "max" else score, _position(record))

    def _announce(self, record: TrialRecord) -> None:
        fields = {
            "trial_id": record.trial_id,
            "bracket": record.bracket,
            "rung": record.rung,
            "epoch": record.to_epoch,
            "score": record.score,
            "hyperparameters": record.hyperparameters,
            "seconds": record.seconds,
        }
        if record.status == "completed":
            get_logger().info("trial completed", **fields)
        else:
            get_logger().warning("trial failed", **fields, error=record.error, attempts=record.attempts)
        self._observer.trial_ended(record, self._best)

    def _result(self) -> SearchResult:
        counted = [self._records[name] for name in self._settled] if self._is_decided else list(self._records.values())
        best = min((record for record in counted if record.score is not None), key=self._rank, default=None)
        if best is None:
            reason = self._stopped_by or "every trial failed"
            raise SearchFailedError(f"no trial completed: {reason}{_most_frequent_error(counted)}")
        self._kept.only(best)
        trials = sorted(counted, key=_position)
        return SearchResult(best=best, trials=tuple(trials), totals=self._totals(trials))

    def _totals(self, counted: list[TrialRecord]) -> SearchTotals:
        schedule = self._oracle.schedule
        if self._stopped_by is None and schedule.is_cut:
            self._stopped_by = f"limits.max_total_trials ({schedule.max_trials})"
        return SearchTotals(
            algorithm=self._oracle.algorithm,
            objective=self._oracle.objective.name,
            direction=self._oracle.direction,
            planned_trials=schedule.trials,
            planned_epochs=schedule.epochs,
            trials=len(counted),
            failed_trials=sum(record.status == "failed" for record in counted),
            epochs=sum(len(execution.epochs) for record in counted for execution in record.executions),
            stopped_by=self._stopped_by,
            shortfalls=tuple(self._oracle.shortfalls(self._settled if self._is_decided else None)),
        )


def _most_frequent_error(records: list[TrialRecord]) -> str:
    counts = Counter(record.error for record in records if record.error)
    if not counts:
        return ""
    error, count = counts.most_common(1)[0]
    return f"; {count} of {len(records)} with: {error}"


def _position(record: TrialRecord) -> tuple[int, ...]:
    return Address(record.iteration, record.bracket, record.index, record.rung).position
