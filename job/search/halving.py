"""One bracket run of successive halving: who is in which rung, and who goes up. Pure.

The promoted set is that of a full barrier: the best of a rung by (score, index), failed trials last. A configuration
is promoted early only when no unfinished one can take its place, so the order in which trials end does not matter.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from job.records import Direction, RungShortfall
from job.schedule import Bracket

EXHAUSTED = "the space has no more unused points"
STOPPED = "the search was stopped before"


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
    # Indexes in the order of their starts; of a first rung they count up, and are not kept.
    members: list[int] = field(default_factory=list)


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
        self._last: Place | None = None
        if configurations < planned:
            for number in range(len(self._rungs)):
                self._reasons[number] = EXHAUSTED

    def next_place(self) -> Place | None:
        """Start one more trial: the longest that can, of equals the lowest rung; None if all wait for others."""
        number = self._startable()
        if number is None:
            return None
        rung = self._rungs[number]
        rung.started += 1
        if number == 0:
            return Place(0, rung.started - 1)
        below = self._rungs[number - 1]
        below.promoted += 1
        index = heapq.heappop(below.waiting)[1]
        rung.members.append(index)
        self._discard_losers(number - 1)
        return Place(number, index)

    def next_length(self) -> int | None:
        """The epochs of the trial that `next_place` would start; None where there is none."""
        number = self._startable()
        return None if number is None else self._length(number)

    def stop_after(self, place: Place) -> None:
        """Start nothing that follows this place, but for others of its rung where that is not the first."""
        self._last = place

    def _length(self, number: int) -> int:
        rung = self.bracket.rungs[number]
        return rung.to_epoch - rung.from_epoch

    def _startable(self) -> int | None:
        startable = [number for number in range(len(self._rungs)) if self._can_start(number)]
        return max(startable, key=self._length, default=None)

    def _can_start(self, number: int) -> bool:
        rung = self._rungs[number]
        if rung.started >= rung.expected or (self._last is not None and number > self._last.rung):
            return False
        if number == 0:
            return self._last is None or self._last.rung > 0 or rung.started <= self._last.index
        below = self._rungs[number - 1]
        unpromoted = below.finished - below.promoted
        return bool(below.waiting) and unpromoted > below.expected - rung.expected

    def members(self, number: int) -> list[int] | None:
        """The indexes that run in a rung, in order; None while that is not decided."""
        rung = self._rungs[number]
        if number == 0:
            return list(range(rung.expected))
        below = self._rungs[number - 1]
        if below.finished < below.expected:
            return None
        return sorted(
            [*rung.members, *(index for _, index in heapq.nsmallest(rung.expected - rung.started, below.waiting))]
        )

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

    def shortfalls(self, counted: Sequence[int] | None = None) -> Iterator[RungShortfall]:
        """The rungs that run fewer trials than planned, and why.

        Args:
            counted: how many trials of each rung count, where not all that have ended do.
        """
        is_whole = True
        for number, rung in enumerate(self._rungs):
            actual = rung.finished if counted is None else counted[number]
            # What has become of a rung beyond the last trial that counts is chance, and so would be its reason.
            is_whole = is_whole and (counted is None or actual == rung.expected)
            if actual < rung.planned:
                yield RungShortfall(
                    iteration=self.iteration,
                    bracket=self.bracket.number,
                    rung=number,
                    planned=rung.planned,
                    actual=actual,
                    reason=self._reasons.get(number, STOPPED) if is_whole else STOPPED,
                )
