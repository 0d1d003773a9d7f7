"""One bracket run of successive halving: who is in which rung, and who goes up. Pure.

The promoted set is that of a full barrier: the best of a rung by (score, index), failed trials last. A configuration
is promoted early only when no unfinished one can take its place, so the order in which trials end does not matter.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from job.records import Direction, RungShortfall
from job.schedule import Bracket


@dataclass(slots=True)
class _RungState:
    planned: int
    # What the rung will run: fewer than planned if the space or the completed trials below do not suffice.
    expected: int
    started: int = 0
    finished: int = 0
    completed: int = 0
    promoted: int = 0
    # (sort key, index) of completed trials that are not promoted yet; the best first.
    waiting: list[tuple[float, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """A configuration's place in a rung; `index` is its place in the bracket's first rung."""

    rung: int
    index: int


class BracketRun:
    """Successive halving over one bracket.

    Args:
        iteration: the Hyperband iteration.
        bracket: the planned rungs.
        configurations: how many configurations there are; at most the first rung's size.
    """

    def __init__(self, iteration: int, bracket: Bracket, configurations: int, direction: Direction) -> None:
        self.iteration = iteration
        self.bracket = bracket
        self._sign = -1.0 if direction == "max" else 1.0
        planned = bracket.rungs[0].size
        # Too few configurations shrink every rung in proportion, so that the bracket still halves.
        self._rungs = [_RungState(rung.size, -(-rung.size * configurations // planned)) for rung in bracket.rungs]
        self._reasons: dict[int, str] = {}
        self._discardable: list[Place] = []
        if configurations < planned:
            for number in range(len(self._rungs)):
                self._reasons[number] = "the space has no more unused points"

    def next_place(self) -> Place | None:
        """Start one more trial: the highest rung that can; None if all wait for trials under way."""
        for number in range(len(self._rungs) - 1, 0, -1):
            index = self._pop_promotable(number - 1)
            if index is not None:
                self._rungs[number].started += 1
                return Place(number, index)
        first = self._rungs[0]
        if first.started < first.expected:
            first.started += 1
            return Place(0, first.started - 1)
        return None

    def _pop_promotable(self, number: int) -> int | None:
        rung, above = self._rungs[number], self._rungs[number + 1]
        unpromoted = rung.finished - rung.promoted
        if rung.promoted >= above.expected or not rung.waiting or unpromoted <= rung.expected - above.expected:
            return None
        rung.promoted += 1
        index = heapq.heappop(rung.waiting)[1]
        self._discard_losers(number)
        return index

    def finish(self, place: Place, score: float | None) -> None:
        """A trial has ended: with its score, or None where it failed."""
        rung = self._rungs[place.rung]
        rung.finished += 1
        if place.rung > 0:
            self._discardable.append(Place(place.rung - 1, place.index))
        if score is None or place.rung == len(self._rungs) - 1:
            self._discardable.append(place)
        if score is not None:
            rung.completed += 1
            heapq.heappush(rung.waiting, (self._sign * score, place.index))
        self._settle(place.rung)
        if place.rung < len(self._rungs) - 1:
            self._discard_losers(place.rung)

    def _discard_losers(self, number: int) -> None:
        """Once all places above are taken, those still waiting have lost."""
        rung = self._rungs[number]
        if rung.promoted >= self._rungs[number + 1].expected:
            self._discardable.extend(Place(number, index) for _, index in rung.waiting)
            rung.waiting.clear()

    def _settle(self, number: int) -> None:
        """A rung that has ended with fewer completed trials than the next one wants shrinks what follows."""
        for lower, rung in enumerate(self._rungs[number:-1], start=number):
            above = self._rungs[lower + 1]
            if rung.finished < rung.expected or rung.completed >= above.expected:
                return
            above.expected = rung.completed
            self._reasons[lower + 1] = f"only {rung.completed} trials of the rung below completed"

    @property
    def done(self) -> bool:
        """Whether every trial that will run has ended."""
        return all(rung.finished == rung.expected for rung in self._rungs)

    def take_discardable(self) -> list[Place]:
        """Trials whose checkpoints no rung needs any more, each told once."""
        taken, self._discardable = self._discardable, []
        return taken

    def shortfalls(self) -> Iterator[RungShortfall]:
        """The rungs that run fewer trials than planned, and why."""
        for number, rung in enumerate(self._rungs):
            if rung.finished < rung.planned:
                yield RungShortfall(
                    iteration=self.iteration,
                    bracket=self.bracket.number,
                    rung=number,
                    planned=rung.planned,
                    actual=rung.finished,
                    reason=self._reasons.get(number, "the search was stopped before"),
                )
