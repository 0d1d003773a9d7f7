"""What all of the job's oracles have in common: the interface that the driver knows.

An oracle says what to try, as KerasTuner's do (`create_trial`, `update_trial`, `end_trial`, `get_best_trials`), and:

- a trial's id is its address, `h0-b2-i007-r1`: iteration, bracket, index in the bracket's first rung, rung;
- what a trial tries depends on the seed, its address and the space, never on the order in which trials end;
- the space is frozen before the first trial: entries that appear later take their defaults;
- nothing is written to disk: a resumed search asks for the same addresses again and is given their records.

One thread owns an oracle; it is not synchronised.
"""

import copy
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from job.records import Direction, Hyperparameters, RungShortfall, TrialRequest, hyperparameters_of
from job.schedule import Schedule
from job.seeds import derive_seed
from job.spec.metrics import direction_of


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


class AddressedOracle(keras_tuner.Oracle):  # type: ignore[misc]  # KerasTuner has no annotations
    """An oracle whose trials are addresses; a subclass decides which are started, and with which values.

    Args:
        objective: name and direction.
        schedule: the brackets and rungs to run.
        space: the frozen search space.
        seed: any whole number; 0 is a seed.
        more: what KerasTuner's class asks for besides.

    Attributes:
        algorithm: the name that it has in a spec.
        addresses: of every trial that was created.
    """

    algorithm: str

    def __init__(
        self,
        objective: keras_tuner.Objective,
        schedule: Schedule,
        space: keras_tuner.HyperParameters,
        seed: int,
        **more: object,
    ) -> None:
        super().__init__(objective=objective, hyperparameters=space, tune_new_entries=False, seed=seed, **more)
        # KerasTuner takes 0 for "no seed".
        self.seed = seed
        self.verbose = 0
        self.schedule = schedule
        self.direction: Direction = objective.direction
        self.addresses: dict[str, Address] = {}
        self._stop_after: Address | None = None
        self._ended: set[str] = set()
        self._discardable: list[str] = []
        self._order = self._in_order()
        self._directions: dict[str, Direction] = {objective.name: objective.direction}

    def create_trial(self, tuner_id: str) -> Trial:
        """The next trial to run: RUNNING; or IDLE if all wait for trials under way; or STOPPED at the end.

        A tuner that has a trial under way is given that one, as KerasTuner does.
        """
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        found = self._next()
        if found is None:
            status = TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED
            return Trial(hyperparameters=self._with_values({}), trial_id="", status=status)
        address, values, (from_epoch, to_epoch) = found
        parent = address.parent()
        values = {
            **values,
            "tuner/epochs": to_epoch,
            "tuner/initial_epoch": from_epoch,
            "tuner/bracket": address.bracket,
            "tuner/round": address.rung,
            **({} if parent is None else {"tuner/trial_id": parent.trial_id}),
        }
        trial = Trial(self._with_values(values), trial_id=address.trial_id, status=TrialStatus.RUNNING)
        self.addresses[trial.trial_id] = address
        self.trials[trial.trial_id] = trial
        self.ongoing_trials[tuner_id] = trial
        self.start_order.append(trial.trial_id)
        return trial

    def _next(self) -> tuple[Address, Hyperparameters, tuple[int, int]] | None:
        """The next trial's address, values, and epochs before and after; None while there is none."""
        raise NotImplementedError

    def _with_values(self, values: Hyperparameters) -> keras_tuner.HyperParameters:
        """The space with these values. KerasTuner's own copy takes every entry to pieces: most of a trial's time."""
        hp = copy.copy(self.hyperparameters)
        # The entries are shared, the lists of them are not: a user's `hp.Int(…)` adds to its own trial only.
        hp._space = list(hp._space)  # noqa: SLF001 - there is no public way
        hp._hps = defaultdict(list, {name: list(entries) for name, entries in hp._hps.items()})  # noqa: SLF001
        hp.values = values
        return hp

    def request_of(self, trial: Trial) -> TrialRequest:
        """What an executor is asked for."""
        address = self.addresses[trial.trial_id]
        values = trial.hyperparameters.values
        return TrialRequest(
            trial_id=trial.trial_id,
            hyperparameters=self.user_hyperparameters(trial),
            iteration=address.iteration,
            bracket=address.bracket,
            index=address.index,
            rung=address.rung,
            parent=values.get("tuner/trial_id"),
            from_epoch=values["tuner/initial_epoch"],
            to_epoch=values["tuner/epochs"],
            seed=address.lineage_seed(self.seed),
        )

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Take one epoch's metrics.

        KerasTuner's own looks for the best value twice at every epoch, over all epochs before.
        """
        self._check_objective_found(metrics)
        trial = self.trials[trial_id]
        for name, value in metrics.items():
            if name not in trial.metrics.metrics:
                trial.metrics.register(name, direction=self._directions.get(name) or direction_of(name) or "min")
            trial.metrics.metrics[name].update(float(value), step=step)
        return trial

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
        self._ended.add(own.trial_id)
        self.end_order.append(own.trial_id)
        for tuner_id in [t for t, ongoing in self.ongoing_trials.items() if ongoing is own]:
            del self.ongoing_trials[tuner_id]
        self._finish(self.addresses[own.trial_id], score)

    def _finish(self, address: Address, score: float | None) -> None:
        """A trial has ended: with its score, or None where it failed."""
        raise NotImplementedError

    def _has_finite_objective(self, trial: Trial) -> bool:
        objectives = self._objectives(trial)
        return bool(objectives) and all(math.isfinite(value) for _, value in objectives)

    def _objectives(self, trial: Trial) -> Sequence[tuple[int, float]]:
        """(epoch, objective) in the order of epochs. An epoch is reported once: its mean is its value."""
        if not trial.metrics.exists(self.objective.name):
            return []
        history = trial.metrics.get_history(self.objective.name)
        return [(observation.step, math.fsum(observation.value) / len(observation.value)) for observation in history]

    def score_trial(self, trial: Trial) -> None:
        """A trial's score is its best objective over all epochs of its lineage; ties go to the earlier epoch.

        A promoted trial's own epochs are its last; what its parents reached still counts.
        """
        sign = -1.0 if self.direction == "max" else 1.0
        trial.best_step, trial.score = min(self._objectives(trial), key=lambda pair: sign * pair[1])
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

    def stop_after(self, trial_id: str) -> None:
        """Start nothing more that follows this trial in address order, but perhaps others of its rung."""
        address = self.addresses[trial_id]
        if self._stop_after is None or address.position < self._stop_after.position:
            self._stop_after = address

    def take_settled(self) -> Iterator[str]:
        """Trials that have ended, and so has whatever precedes them in address order; in this order, each told once.

        Which trials these will be, and their order, is the same in every run.
        """
        while (trial_id := next(self._order, None)) is not None:
            yield trial_id

    def _in_order(self) -> Iterator[str | None]:
        """The ids of ended trials in address order; None wherever the next one is not known or has not ended."""
        raise NotImplementedError

    def take_discardable(self) -> list[str]:
        """Trials whose checkpoints no rung needs any more, each told once."""
        taken, self._discardable = self._discardable, []
        return taken

    def shortfalls(self, counted: Sequence[str] | None = None) -> Iterator[RungShortfall]:
        """Rungs that ran fewer trials than planned so far; complete once the search has ended.

        Args:
            counted: the trials that count, in address order, where a stopping rule has ended the search.
        """
        raise NotImplementedError

    def user_hyperparameters(self, trial: Trial) -> Hyperparameters:
        """A trial's values without KerasTuner's bookkeeping."""
        return hyperparameters_of(trial.hyperparameters.values)

    def _save_trial(self, trial: Trial) -> None:
        """Nothing: the driver stores a record of each ended trial."""

    def save(self) -> None:
        """Nothing: the state is rebuilt from the trials' records."""

    def reload(self) -> None:
        """Nothing: the state is rebuilt from the trials' records."""
