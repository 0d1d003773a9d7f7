"""KerasTuner's Hyperband oracle, made exact: addressed sampling, and rungs that are filled as planned.

A subclass of `keras_tuner.oracles.HyperbandOracle` that keeps its interface and replaces what decides: a configuration
is a function of (seed, iteration, bracket, index) and the space (`sampling.py`), and a rung is filled as planned while
completed trials remain, failed ones rank last (`halving.py`).
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import keras_tuner

from job.records import Hyperparameters, RungShortfall
from job.schedule import Bracket, Schedule
from job.search.addressed import Address, AddressedOracle
from job.search.halving import BracketRun, Place
from job.search.sampling import AddressedSampler

__all__ = ["Address", "HyperbandOracle"]


class HyperbandOracle(AddressedOracle, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]  # no annotations
    """An exact Hyperband over a given schedule.

    Args:
        objective: name and direction.
        schedule: the brackets and rungs to run.
        space: the frozen search space.
        seed: any whole number; 0 is a seed.
        opens_iterations: all brackets of an iteration are open at once, so that the longest trials start first and
            the search's end is short; where a search may be stopped, one after the other finds good scores sooner.
            What is tried and promoted is the same.
    """

    algorithm = "hyperband"

    def __init__(
        self,
        objective: keras_tuner.Objective,
        schedule: Schedule,
        space: keras_tuner.HyperParameters,
        seed: int,
        *,
        opens_iterations: bool = False,
    ) -> None:
        super().__init__(
            objective,
            schedule,
            space,
            seed,
            max_epochs=schedule.brackets[-1].rungs[-1].to_epoch,
            hyperband_iterations=schedule.iterations,
        )
        self._opens_iterations = opens_iterations
        self._sampler = AddressedSampler(space, seed)
        self._unopened = deque(schedule.runs())
        self._runs: dict[tuple[int, int], BracketRun] = {}
        self._open: list[BracketRun] = []
        self._configurations: dict[tuple[int, int, int], Hyperparameters] = {}
        self._has_completed = False

    def _next(self) -> tuple[Address, Hyperparameters, tuple[int, int]] | None:
        run = self._longest_startable()
        if run is None:
            return None
        place = run.next_place()
        if place is None:
            raise RuntimeError("a bracket that could start a trial does not")
        rung = run.bracket.rungs[place.rung]
        values = self._configurations[run.iteration, run.bracket.number, place.index]
        address = Address(run.iteration, run.bracket.number, place.index, place.rung)
        return address, values, (rung.from_epoch, rung.to_epoch)

    def _longest_startable(self) -> BracketRun | None:
        """The bracket with the longest trial to start, ties in address order.

        Brackets open in their order. Until a trial has completed there is one at a time: a model that cannot be
        trained fails `max_consecutive_failed_trials` in address order, which begins there.
        """
        self._open_rest_of_iteration()
        while True:
            best: tuple[int, BracketRun] | None = None
            for run in self._open:
                length = run.next_length() if self._is_wanted(run) else None
                if length is not None and (best is None or length > best[0]):
                    best = (length, run)
            if best is not None:
                return best[1]
            if not self._unopened or self._stop_after is not None:
                return None
            self._open_next_bracket()
            self._open_rest_of_iteration()

    def _open_rest_of_iteration(self) -> None:
        if self._opens_iterations and self._has_completed and self._stop_after is None and self._runs:
            newest, _ = next(reversed(self._runs))
            while self._unopened and self._unopened[0][0] == newest:
                self._open_next_bracket()

    def _is_wanted(self, run: BracketRun) -> bool:
        last = self._stop_after
        return last is None or (run.iteration, -run.bracket.number) <= (last.iteration, -last.bracket)

    def stop_after(self, trial_id: str) -> None:
        """Start nothing that follows this trial in address order, but for others of its rung; see there."""
        super().stop_after(trial_id)
        last = self._stop_after
        if last is not None:
            self._runs[last.iteration, last.bracket].stop_after(Place(last.rung, last.index))

    def _open_next_bracket(self) -> None:
        iteration, bracket = self._unopened.popleft()
        count = 0
        for index in range(bracket.rungs[0].size):
            values = self._sampler.draw(iteration, bracket.number, index)
            if values is None:
                break
            self._configurations[iteration, bracket.number, index] = values
            count += 1
        run = BracketRun(iteration, bracket, count, self.direction)
        self._runs[iteration, bracket.number] = run
        if not run.done:
            self._open.append(run)

    def _finish(self, address: Address, score: float | None) -> None:
        self._has_completed = self._has_completed or score is not None
        run = self._runs[address.iteration, address.bracket]
        run.finish(Place(address.rung, address.index), score)
        self._discardable += [
            replace(address, rung=place.rung, index=place.index).trial_id for place in run.take_discardable()
        ]
        if run.done:
            self._open.remove(run)

    def _in_order(self) -> Iterator[str | None]:
        for iteration, bracket in self.schedule.runs():
            while (run := self._runs.get((iteration, bracket.number))) is None:
                yield None
            for rung in range(len(bracket.rungs)):
                while (members := run.members(rung)) is None:
                    yield None
                for index in members:
                    trial_id = Address(iteration, bracket.number, index, rung).trial_id
                    while trial_id not in self._ended:
                        yield None
                    yield trial_id

    def shortfalls(self, counted: Sequence[str] | None = None) -> Iterator[RungShortfall]:
        """Rungs that ran fewer trials than planned so far; see `AddressedOracle.shortfalls`."""
        if counted is None:
            for iteration, bracket in self.schedule.runs():
                yield from self._run_or_fresh(iteration, bracket).shortfalls()
            return
        places = [self.addresses[trial_id] for trial_id in counted]
        counts = Counter((place.iteration, place.bracket, place.rung) for place in places)
        is_over = False
        for iteration, bracket in self.schedule.runs():
            # What has become of the brackets that follow depends on how many trials ran beyond the last that counts.
            run = self._fresh(iteration, bracket) if is_over else self._run_or_fresh(iteration, bracket)
            yield from run.shortfalls([counts[iteration, bracket.number, n] for n in range(len(bracket.rungs))])
            is_over = is_over or (iteration, bracket.number) == (places[-1].iteration, places[-1].bracket)

    def _run_or_fresh(self, iteration: int, bracket: Bracket) -> BracketRun:
        return self._runs.get((iteration, bracket.number)) or self._fresh(iteration, bracket)

    def _fresh(self, iteration: int, bracket: Bracket) -> BracketRun:
        return BracketRun(iteration, bracket, bracket.rungs[0].size, self.direction)
