"""What each hyperparameter does around the best: one varied at a time, the others fixed.

The variations are trained like trials, by the same executor, straight to the best trial's epochs and with its lineage's
seeds, so that nothing but the one value tells them from it. They are no part of the search: the best stays the best.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras_tuner

from job.errors import StateConflictError
from job.logs import bound, get_logger
from job.records import HyperparameterEffect, SearchResult, Sensitivity, TrialRecord, TrialRequest, Variation
from job.search.addressed import Address
from job.search.executors import Executor
from job.search.neighbours import Neighbour, neighbours_of
from job.search.stopping import Retries, is_out_of_time


@dataclass(frozen=True, slots=True)
class VariationRunner:
    """Trains variations.

    Attributes:
        executor: trains; nothing that counts is under way in it.
        max_retries: how often a failed one is tried again.
        known: records of earlier starts of this run, by trial id.
        store_record: keeps a new record for good.
        starting: told of each attempt before it is handed to the executor.
        discard: told of each variation whose checkpoints are no longer needed.
        is_time_up: whether nothing more may start.
        patience: for how many seconds what is under way may still take; None for ever.
    """

    executor: Executor
    max_retries: int
    known: Mapping[str, TrialRecord]
    store_record: Callable[[TrialRecord], None]
    starting: Callable[[TrialRequest], None]
    discard: Callable[[str], None]
    is_time_up: Callable[[], bool]
    patience: Callable[[], float | None] = lambda: None

    def run(self, requests: Sequence[TrialRequest]) -> dict[str, TrialRecord]:
        """The records, by trial id; without those that there was no time for.

        Raises:
            StateConflictError: a known record belongs to another search.
        """
        # A search that was decided early leaves trials under way that do not count.
        self.executor.abandon()
        records: dict[str, TrialRecord] = {}
        retries = Retries(self.max_retries)
        waiting: deque[tuple[TrialRequest, int]] = deque()
        for request in requests:
            if request.trial_id in self.known:
                records[request.trial_id] = self._same(request, self.known[request.trial_id])
                self.discard(request.trial_id)
            else:
                waiting.append((request, 1))
        running: dict[str, tuple[TrialRequest, int]] = {}
        while True:
            while waiting and len(running) < self.executor.slots and not self.is_time_up():
                request, attempt = waiting.popleft()
                running[request.trial_id] = (request, attempt)
                self._submit(request)
            if not running:
                return records
            record = self.executor.wait(self.patience())
            request, attempt = running.pop(record.trial_id)
            if is_out_of_time(record):
                continue
            if retries.again(record, attempt):
                waiting.appendleft((request, attempt + 1))
                continue
            records[record.trial_id] = record = record.model_copy(update={"attempts": attempt})
            self.store_record(record)
            self.discard(record.trial_id)
            get_logger().info(
                "variation ended",
                trial_id=record.trial_id,
                score=record.score,
                hyperparameters=record.hyperparameters,
                error=record.error,
            )

    def _submit(self, request: TrialRequest) -> None:
        self.starting(request)
        with bound(trial_id=request.trial_id):
            get_logger().info("variation started", to_epoch=request.to_epoch, hyperparameters=request.hyperparameters)
        self.executor.submit(request)

    @staticmethod
    def _same(request: TrialRequest, record: TrialRecord) -> TrialRecord:
        if record.hyperparameters != request.hyperparameters:
            raise StateConflictError(
                f"the stored variation {record.trial_id} has hyperparameters {record.hyperparameters}, this run wants "
                f"{request.hyperparameters}: the run id belongs to another search",
                advice="use another run id",
            )
        return record


def measure_sensitivity(
    result: SearchResult, space: keras_tuner.HyperParameters, seed: int, runner: VariationRunner
) -> Sensitivity:
    """Vary every searched hyperparameter around the best trial.

    Args:
        result: the search's.
        space: what was searched.
        seed: the spec's.
        runner: trains the variations.
    """
    best = result.best
    neighbours = list(neighbours_of(space, best.hyperparameters))
    get_logger().info("sensitivity", trial_id=best.trial_id, variations=len(neighbours), epochs=best.to_epoch)
    records = runner.run([_request(neighbour, best, seed) for neighbour in neighbours])
    skipped = tuple(one.trial_id for one in neighbours if one.trial_id not in records)
    note = None
    if skipped:
        note = f"limits.timeout left no time for {len(skipped)} of {len(neighbours)} variations"
        get_logger().warning("sensitivity is not complete", reason=note)
    names = dict.fromkeys(neighbour.name for neighbour in neighbours)
    return Sensitivity(
        objective=result.totals.objective,
        direction=result.totals.direction,
        trial_id=best.trial_id,
        values=best.hyperparameters,
        score=_score_of(best),
        deviation=best.deviation,
        epochs=best.to_epoch,
        hyperparameters=tuple(
            _effect_of(name, best, [one for one in neighbours if one.name == name], records) for name in names
        ),
        skipped=skipped,
        note=note,
    )


def _score_of(best: TrialRecord) -> float:
    if best.score is None:
        raise ValueError("the best trial has a score")
    return best.score


def _request(neighbour: Neighbour, best: TrialRecord, seed: int) -> TrialRequest:
    return TrialRequest(
        trial_id=neighbour.trial_id,
        hyperparameters=neighbour.hyperparameters,
        iteration=best.iteration,
        bracket=best.bracket,
        index=best.index,
        rung=best.rung,
        parent=None,
        from_epoch=0,
        to_epoch=best.to_epoch,
        seed=Address(best.iteration, best.bracket, best.index, best.rung).lineage_seed(seed),
    )


def _effect_of(
    name: str, best: TrialRecord, neighbours: Sequence[Neighbour], records: Mapping[str, TrialRecord]
) -> HyperparameterEffect:
    reference = _score_of(best)
    variations = []
    for neighbour in neighbours:
        record = records.get(neighbour.trial_id)
        if record is None:
            continue
        variations.append(
            Variation(
                trial_id=record.trial_id,
                value=neighbour.value,
                score=record.score,
                deviation=record.deviation,
                difference=None if record.score is None else record.score - reference,
                error=record.error,
            )
        )
    differences = [abs(one.difference) for one in variations if one.difference is not None]
    return HyperparameterEffect(
        name=name,
        best=best.hyperparameters[name],
        effect=max(differences, default=None),
        variations=tuple(variations),
    )
