"""A search's arithmetic: brackets, rungs, trials and epochs. Pure.

Two schedules. `keras_tuner` is KerasTuner 1.4's (`keras_tuner/src/tuners/hyperband.py`), so that results compare.
`paper` is Algorithm 1 of Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: A Novel Bandit-Based
Approach to Hyperparameter Optimization" (JMLR 2018), with budgets in whole epochs, rounded down.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

ScheduleKind = Literal["keras_tuner", "paper"]


@dataclass(frozen=True, slots=True)
class Rung:
    """`size` trials, each trained from `from_epoch` to `to_epoch` completed epochs."""

    size: int
    from_epoch: int
    to_epoch: int

    @property
    def epochs(self) -> int:
        """Epochs trained in this rung, all its trials together."""
        return self.size * (self.to_epoch - self.from_epoch)


@dataclass(frozen=True, slots=True)
class Bracket:
    """One run of successive halving. `number` counts its promotions: bracket 0 has a single rung."""

    number: int
    rungs: tuple[Rung, ...]

    @property
    def trials(self) -> int:
        """Planned trials of all rungs."""
        return sum(rung.size for rung in self.rungs)

    def first(self, trials: int) -> "Bracket | None":
        """The bracket without what comes after so many trials, rung by rung; None where nothing is left."""
        rungs: list[Rung] = []
        for rung in self.rungs:
            if trials > 0:
                rungs.append(replace(rung, size=min(rung.size, trials)))
            trials -= rung.size
        return Bracket(self.number, tuple(rungs)) if rungs else None


@dataclass(frozen=True, slots=True)
class Schedule:
    """All brackets of one iteration, the most aggressively halving first; repeated `iterations` times.

    Attributes:
        max_trials: the plan ends after so many trials, in address order; None for all. A rung that it cuts runs fewer
            trials: of those below it, the best.
        executions: how many times each trial trains its epochs: with other seeds, or on other folds.
    """

    brackets: tuple[Bracket, ...]
    iterations: int
    max_trials: int | None = None
    executions: int = 1

    def runs(self) -> Iterator[tuple[int, Bracket]]:
        """(iteration, bracket) in the order in which they start."""
        left = self.max_trials
        for iteration in range(self.iterations):
            for bracket in self.brackets:
                planned = bracket if left is None else bracket.first(left)
                if planned is None:
                    return
                yield iteration, planned
                left = None if left is None else left - planned.trials

    @property
    def trials(self) -> int:
        """Planned trials, each rung's counted for itself as KerasTuner does."""
        return sum(bracket.trials for _, bracket in self.runs())

    @property
    def configurations(self) -> int:
        """Planned distinct configurations: the trials of the first rungs."""
        return sum(bracket.rungs[0].size for _, bracket in self.runs())

    @property
    def epochs(self) -> int:
        """Planned epochs of all executions; a promoted trial continues, so its earlier epochs count once."""
        return self.executions * sum(rung.epochs for _, bracket in self.runs() for rung in bracket.rungs)

    @property
    def is_cut(self) -> bool:
        """Whether `max_trials` leaves anything out."""
        return self.max_trials is not None and self.max_trials < replace(self, max_trials=None).trials


def hyperband_schedule(
    max_epochs: int,
    factor: int,
    *,
    iterations: int = 1,
    min_epochs: int = 1,
    kind: ScheduleKind = "keras_tuner",
) -> Schedule:
    """The schedule of a Hyperband search.

    Args:
        max_epochs: epochs of a configuration that is promoted to the end; at least 1.
        factor: how many configurations of a rung compete for one place in the next; at least 2.
        iterations: how often all brackets are run; at least 1.
        min_epochs: the fewest epochs that a first rung may give; at least 1, at most `max_epochs`.
        kind: whose rounding to follow.

    Raises:
        ValueError: an argument is out of its range.
    """
    if factor < 2 or iterations < 1 or not 1 <= min_epochs <= max_epochs:  # noqa: PLR2004 - stated above
        raise ValueError(
            "expected factor >= 2, iterations >= 1 and 1 <= min_epochs <= max_epochs, found "
            f"{factor=}, {iterations=}, {min_epochs=}, {max_epochs=}"
        )
    count = _bracket_count(max_epochs, factor, min_epochs)
    rungs = _keras_tuner_rungs if kind == "keras_tuner" else _paper_rungs
    brackets = tuple(Bracket(number, rungs(max_epochs, factor, number, count)) for number in reversed(range(count)))
    return Schedule(brackets, iterations)


def straight_schedule(trials: int, max_epochs: int) -> Schedule:
    """Trials that each train from 0 to `max_epochs` epochs: one bracket of one rung."""
    return Schedule((Bracket(0, (Rung(trials, 0, max_epochs),)),), 1)


def _bracket_count(max_epochs: int, factor: int, min_epochs: int) -> int:
    # Whole numbers: a logarithm is off by one at exact powers (log(243, 3) is 4.999…).
    count = 0
    while min_epochs * factor**count <= max_epochs:
        count += 1
    return count


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _ceil_log(value: int, base: int) -> int:
    """The smallest n with base**n >= value."""
    exponent = 0
    while base**exponent < value:
        exponent += 1
    return exponent


def _keras_tuner_rungs(max_epochs: int, factor: int, number: int, _count: int) -> tuple[Rung, ...]:
    # KerasTuner: sizes ceil(ceil(1 + log_factor(max_epochs)) / (number + 1) * factor**(number - rung)), epochs
    # ceil(max_epochs / factor**(number - rung)); here in whole numbers, which its floats only approach.
    end_size = 1 + _ceil_log(max_epochs, factor)
    rungs: list[Rung] = []
    done = 0
    for rung in range(number + 1):
        power = factor ** (number - rung)
        epochs = _ceil_div(max_epochs, power)
        rungs.append(Rung(_ceil_div(end_size * power, number + 1), done, epochs))
        done = epochs
    return tuple(rungs)


def _paper_rungs(max_epochs: int, factor: int, number: int, count: int) -> tuple[Rung, ...]:
    # Algorithm 1 with R = max_epochs, eta = factor, s_max = count - 1, s = number: n = ceil((s_max + 1) *
    # eta**s / (s + 1)), rung i holds floor(n / eta**i) configurations with r_i = R * eta**(i - s) epochs.
    first = _ceil_div(count * factor**number, number + 1)
    rungs: list[Rung] = []
    done = 0
    for rung in range(number + 1):
        epochs = max(1, max_epochs // factor ** (number - rung))
        rungs.append(Rung(max(1, first // factor**rung), done, epochs))
        done = epochs
    return tuple(rungs)
