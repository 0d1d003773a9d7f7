"""KerasTuner's Hyperband oracle, made exact.

A subclass of `keras_tuner.oracles.HyperbandOracle` that keeps its interface (`create_trial`, `update_trial`,
`end_trial`, `get_best_trials`) and replaces what decides:

- a configuration is a function of (seed, iteration, bracket, index) and the space (`sampling.py`);
- a trial's id is its address, `h0-b2-i007-r1`: iteration, bracket, index in the bracket's first rung, rung;
- a rung is filled as planned while completed trials remain, failed ones rank last (`halving.py`);
- the space is frozen before the first trial: entries that appear later take their defaults;
- nothing is written to disk: a resumed search asks for the same addresses again and is given their records.

One thread owns an oracle; it is not synchronised.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from job.records import Direction, Hyperparameters, RungShortfall, hyperparameters_of
from job.schedule import Bracket, Schedule
from job.search.halving import BracketRun, Place
from job.search.sampling import AddressedSampler
from job.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Address:
    """Where a trial stands in the search."""

    iteration: int
    bracket: int
    index: int
    rung: int

    @property
    def trial_id(self) -> str:
        """`h0-b2-i007-r1`; sorts in address order within a bracket of up to 1,000 configurations."""
        return f"h{self.iteration}-b{self.bracket}-i{self.index:03d}-r{self.rung}"

    @property
    def position(self) -> tuple[int, ...]:
        """Address order: iterations, then brackets from the most halving one, then rungs, then indexes."""
        return (self.iteration, -self.bracket, self.rung, self.index)

    def parent(self) -> "Address | None":
        """The trial of the rung below that this one continues."""
        if self.rung == 0:
            return None
        return Address(self.iteration, self.bracket, self.index, self.rung - 1)

    def lineage_seed(self, seed: int) -> int:
        """The seed that all rungs of this configuration train with."""
        return derive_seed(seed, "lineage", self.iteration, self.bracket, self.index)


class HyperbandOracle(keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]  # KerasTuner has no annotations
    """An exact Hyperband over a given schedule.

    Args:
        objective: name and direction.
        schedule: the brackets and rungs to run.
        space: the frozen search space.
        seed: any whole number; 0 is a seed.
    """

    def __init__(
        self,
        objective: keras_tuner.Objective,
        schedule: Schedule,
        space: keras_tuner.HyperParameters,
        seed: int,
    ) -> None:
        super().__init__(
            objective=objective,
            max_epochs=schedule.brackets[-1].rungs[-1].to_epoch,
            hyperband_iterations=schedule.iterations,
            hyperparameters=space,
            tune_new_entries=False,
            seed=seed,
        )
        # KerasTuner takes 0 for "no seed".
        self.seed = seed
        self.verbose = 0
        self.schedule = schedule
        self.direction: Direction = objective.direction
        self.addresses: dict[str, Address] = {}
        self._sampler = AddressedSampler(space, seed)
        self._unopened = deque(schedule.runs())
        self._open: list[BracketRun] = []
        self._closed: list[BracketRun] = []
        self._discardable: list[str] = []
        self._configurations: dict[tuple[int, int, int], Hyperparameters] = {}

    def create_trial(self, tuner_id: str) -> Trial:
        """The next trial to run: RUNNING; or IDLE if all wait for trials under way; or STOPPED at the end.

        A tuner that has a trial under way is given that one, as KerasTuner does.
        """
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        found = self._next_place()
        if found is None:
            status = TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED
            return Trial(hyperparameters=self.get_space(), trial_id="", status=status)
        run, place = found
        address = Address(run.iteration, run.bracket.number, place.index, place.rung)
        rung = run.bracket.rungs[place.rung]
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = {
            **self._configurations[run.iteration, run.bracket.number, place.index],
            "tuner/epochs": rung.to_epoch,
            "tuner/initial_epoch": rung.from_epoch,
            "tuner/bracket": run.bracket.number,
            "tuner/round": place.rung,
        }
        parent = address.parent()
        if parent is not None:
            hyperparameters.values["tuner/trial_id"] = parent.trial_id
        trial = Trial(hyperparameters=hyperparameters, trial_id=address.trial_id, status=TrialStatus.RUNNING)
        self.addresses[trial.trial_id] = address
        self.trials[trial.trial_id] = trial
        self.ongoing_trials[tuner_id] = trial
        self.start_order.append(trial.trial_id)
        return trial

    def _next_place(self) -> tuple[BracketRun, Place] | None:
        """Brackets in their order; the next one opens when those open have nothing to start."""
        while True:
            for run in self._open:
                place = run.next_place()
                if place is not None:
                    return run, place
            if not self._unopened:
                return None
            self._open.append(self._open_bracket(*self._unopened.popleft()))

    def _open_bracket(self, iteration: int, bracket: Bracket) -> BracketRun:
        count = 0
        for index in range(bracket.rungs[0].size):
            values = self._sampler.draw(iteration, bracket.number, index)
            if values is None:
                break
            self._configurations[iteration, bracket.number, index] = values
            count += 1
        return BracketRun(iteration, bracket, count, self.direction)

    def end_trial(self, trial: Trial) -> None:
        """Take a trial's end: COMPLETED with its metrics reported by `update_trial`, anything else has failed.

        A completed trial whose objective was not a finite number after every epoch has failed, too.
        """
        own = self.trials[trial.trial_id]
        own.status, own.message = trial.status, trial.message
        score: float | None = None
        if own.status == TrialStatus.COMPLETED and self._has_finite_objective(own):
            self.score_trial(own)
            score = float(own.score)
        else:
            own.status = TrialStatus.FAILED
        address = self.addresses[own.trial_id]
        run = self._bracket_run(address)
        run.finish(Place(address.rung, address.index), score)
        self._discardable += [
            replace(address, rung=place.rung, index=place.index).trial_id for place in run.take_discardable()
        ]
        self.end_order.append(own.trial_id)
        for tuner_id in [t for t, ongoing in self.ongoing_trials.items() if ongoing is own]:
            del self.ongoing_trials[tuner_id]
        if run.done:
            self._open.remove(run)
            self._closed.append(run)

    def _has_finite_objective(self, trial: Trial) -> bool:
        name = self.objective.name
        return trial.metrics.exists(name) and all(
            math.isfinite(observation.mean()) for observation in trial.metrics.get_history(name)
        )

    def score_trial(self, trial: Trial) -> None:
        """A trial's score is its best objective over all epochs of its lineage.

        A promoted trial's own epochs are its last; what its parents reached still counts.
        """
        super().score_trial(trial)
        parent = self.addresses[trial.trial_id].parent()
        if parent is None:
            return
        inherited = self.trials[parent.trial_id]
        if self.objective.better_than(inherited.score, trial.score):
            trial.score, trial.best_step = inherited.score, inherited.best_step

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """Completed trials, the best first, ties in address order; then, if they are too few, the others."""
        in_order = sorted(self.trials.values(), key=lambda trial: self.addresses[trial.trial_id].position)
        completed = [trial for trial in in_order if trial.status == TrialStatus.COMPLETED]
        sign = -1.0 if self.direction == "max" else 1.0
        completed.sort(key=lambda trial: sign * trial.score)
        others = [trial for trial in in_order if trial.status != TrialStatus.COMPLETED]
        return [*completed, *others][:num_trials]

    def _bracket_run(self, address: Address) -> BracketRun:
        return next(
            run for run in self._open if (run.iteration, run.bracket.number) == (address.iteration, address.bracket)
        )

    def take_discardable(self) -> list[str]:
        """Trials whose checkpoints no rung needs any more, each told once."""
        taken, self._discardable = self._discardable, []
        return taken

    def shortfalls(self) -> Iterator[RungShortfall]:
        """Rungs that ran fewer trials than planned so far; complete once the search has ended."""
        # In the order in which they opened; they close in the order in which trials end.
        for run in sorted([*self._closed, *self._open], key=lambda run: (run.iteration, -run.bracket.number)):
            yield from run.shortfalls()
        for iteration, bracket in self._unopened:
            yield from BracketRun(iteration, bracket, bracket.rungs[0].size, self.direction).shortfalls()

    def user_hyperparameters(self, trial: Trial) -> Hyperparameters:
        """A trial's values without KerasTuner's bookkeeping."""
        return hyperparameters_of(trial.hyperparameters.values)

    def _save_trial(self, trial: Trial) -> None:
        """Nothing: the driver stores a record of each ended trial."""

    def save(self) -> None:
        """Nothing: the state is rebuilt from the trials' records."""

    def reload(self) -> None:
        """Nothing: the state is rebuilt from the trials' records."""
