"""Oracles whose trials train straight from 0 to `search.max_epochs`: one bracket of one rung.

They differ in where a trial's values come from; see `Proposals`.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import keras_tuner

from job.records import Hyperparameters, RungShortfall
from job.schedule import Schedule
from job.search.addressed import Address, AddressedOracle
from job.search.halving import EXHAUSTED, STOPPED


class Proposals(Protocol):
    """Where the values of a straight oracle's trials come from."""

    @property
    def lag(self) -> int | None:
        """Proposal i depends on the scores of the trials below i - lag; None if on none."""
        ...

    def propose(
        self, index: int, before: Sequence[Hyperparameters], scores: Sequence[float | None]
    ) -> Hyperparameters | None:
        """The values of trial `index`; None if the space has none left. Asked for in the order of indexes.

        Args:
            index: the trial's place.
            before: the values of all trials below it, in order.
            scores: of the trials below `index - lag`, in order; None for one that failed.
        """
        ...


class StraightOracle(AddressedOracle):
    """Trials in the order of their indexes, each with proposed values.

    Args:
        algorithm: the name that it has in a spec.
        objective: name and direction.
        schedule: one bracket of one rung: how many trials, and for how many epochs.
        space: the frozen search space.
        seed: any whole number; 0 is a seed.
        proposals: what to try.
    """

    def __init__(  # noqa: PLR0913 - an oracle's four, and what tells straight ones apart
        self,
        algorithm: str,
        objective: keras_tuner.Objective,
        schedule: Schedule,
        space: keras_tuner.HyperParameters,
        seed: int,
        *,
        proposals: Proposals,
    ) -> None:
        super().__init__(objective, schedule, space, seed)
        self.algorithm = algorithm
        self._rung = next(schedule.runs())[1].rungs[0]
        self._proposals = proposals
        self._is_exhausted = False
        self._values: list[Hyperparameters] = []
        # By index; those of the first `_settled` trials are complete.
        self._scores: dict[int, float | None] = {}
        self._settled = 0

    def _next(self) -> tuple[Address, Hyperparameters, tuple[int, int]] | None:
        index = len(self._values)
        is_over = index >= self._rung.size or self._is_exhausted
        if is_over or (self._stop_after is not None and index > self._stop_after.index):
            return None
        lag = self._proposals.lag
        visible = 0 if lag is None else max(0, index - lag)
        if self._settled < visible:
            return None
        values = self._proposals.propose(index, self._values, [self._scores[known] for known in range(visible)])
        if values is None:
            self._is_exhausted = True
            return None
        self._values.append(values)
        return Address(0, 0, index, 0), values, (self._rung.from_epoch, self._rung.to_epoch)

    def _finish(self, address: Address, score: float | None) -> None:
        self._scores[address.index] = score
        while self._settled in self._scores:
            self._settled += 1
        # There is no rung above.
        self._discardable.append(address.trial_id)

    def _in_order(self) -> Iterator[str | None]:
        for index in range(self._rung.size):
            while index >= self._settled:
                yield None
            yield Address(0, 0, index, 0).trial_id

    def shortfalls(self, counted: Sequence[str] | None = None) -> Iterator[RungShortfall]:
        """The one rung, if it ran fewer trials than planned so far; see `AddressedOracle.shortfalls`."""
        actual = len(self._scores) if counted is None else len(counted)
        if actual < self._rung.size:
            # Whether the space was found to be used up after the last trial that counts is chance.
            is_exhausted = self._is_exhausted and counted is None and actual == len(self._values)
            yield RungShortfall(
                iteration=0,
                bracket=0,
                rung=0,
                planned=self._rung.size,
                actual=actual,
                reason=EXHAUSTED if is_exhausted else STOPPED,
            )
