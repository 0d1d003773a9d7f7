"""Bayesian search: KerasTuner's Gaussian process, asked anew for every trial.

KerasTuner's oracle proposes by what has ended when it is asked, and by how often it was asked before: with another
number of workers it proposes something else. Here proposal i is a function of the seed, of i, and of the scores of the
trials below i - lag; each is made by an oracle that is built for it and then forgotten.
"""

import warnings
from collections.abc import Mapping, Sequence

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from job.records import Hyperparameters
from job.search.addressed import Address
from job.search.sampling import AddressedSampler, point_key
from job.seeds import derive_seed

# NumPy's legacy generator, which KerasTuner and scikit-learn use, takes 32 bits.
_SEEDS = 2**32
_POINTS_PER_HYPERPARAMETER = 3


class BayesianProposals:
    """Random points until enough trials have completed, then the Gaussian process's optimum.

    A point that was tried before is not tried again: a random one is taken instead, as long as there are any.

    Args:
        objective: name and direction.
        space: the frozen search space.
        seed: the search's seed.
        lag: see `Proposals`; at least 0.
        num_initial_points: how many completed trials the process needs; None for KerasTuner's three for each
            hyperparameter.
        alpha: the scores' expected noise, on the diagonal of the kernel matrix.
        beta: what exploring is worth.
        known: values that an earlier start of this run has proposed, by trial id. They are not worked out again: that
            takes long, and need not give the same bits on another machine.
    """

    def __init__(  # noqa: PLR0913 - the search's own settings, and KerasTuner's
        self,
        objective: keras_tuner.Objective,
        space: keras_tuner.HyperParameters,
        seed: int,
        *,
        lag: int,
        num_initial_points: int | None = None,
        alpha: float = 1e-4,
        beta: float = 2.6,
        known: Mapping[str, Hyperparameters] | None = None,
    ) -> None:
        self.lag = lag
        self._objective = objective
        self._space = space
        self._seed = seed
        self._num_initial_points = num_initial_points or max(1, len(space.space)) * _POINTS_PER_HYPERPARAMETER
        self._alpha = alpha
        self._beta = beta
        self._known = known or {}
        self._sampler = AddressedSampler(space, seed)
        self._noted = 0

    def propose(
        self, index: int, before: Sequence[Hyperparameters], scores: Sequence[float | None]
    ) -> Hyperparameters | None:
        """The values of trial `index`; see `Proposals`."""
        for values in before[self._noted :]:
            self._sampler.use(values)
        self._noted = len(before)
        known = self._known.get(Address(0, 0, index, 0).trial_id)
        if known is not None:
            return known
        if sum(score is not None for score in scores) >= self._num_initial_points:
            values = self._optimum(index, before, scores)
            if point_key(values) not in {point_key(other) for other in before}:
                return values
        return self._sampler.draw(0, 0, index)

    def _optimum(
        self, index: int, before: Sequence[Hyperparameters], scores: Sequence[float | None]
    ) -> Hyperparameters:
        oracle = keras_tuner.oracles.BayesianOptimizationOracle(
            objective=self._objective,
            # The trials that have completed are enough: that was decided above.
            num_initial_points=1,
            alpha=self._alpha,
            beta=self._beta,
            # KerasTuner takes 0 for "no seed".
            seed=1 + derive_seed(self._seed, "bayesian", index) % (_SEEDS - 1),
            hyperparameters=self._space,
            tune_new_entries=False,
        )
        for number, (values, score) in enumerate(zip(before, scores, strict=False)):
            trial = self._trial(str(number), values, TrialStatus.FAILED if score is None else TrialStatus.COMPLETED)
            trial.score = score
            oracle.trials[trial.trial_id] = trial
        with warnings.catch_warnings():
            # A length scale at its bound, or scores that are all alike: the fit is as good as it gets.
            warnings.simplefilter("ignore")
            self._add_pending(oracle, before[len(scores) :])
            values = oracle.populate_space("next")["values"]
        return {name: _plain(value) for name, value in values.items()}

    def _add_pending(
        self, oracle: keras_tuner.oracles.BayesianOptimizationOracle, pending: Sequence[Hyperparameters]
    ) -> None:
        """Trials without a score yet count with a pessimistic guess of it, so that none is proposed next to them.

        KerasTuner guesses by the fit of the proposal before.
        """
        if pending:
            oracle.gpr.fit(*oracle._vectorize_trials())  # noqa: SLF001 - there is no public way to a first fit
        for number, values in enumerate(pending):
            trial = self._trial(f"pending-{number}", values, TrialStatus.RUNNING)
            oracle.trials[trial.trial_id] = trial
            oracle.ongoing_trials[trial.trial_id] = trial

    def _trial(self, trial_id: str, values: Hyperparameters, status: str) -> Trial:
        hp = self._space.copy()
        hp.values = dict(values)
        return Trial(hp, trial_id=trial_id, status=status)


def _plain(value: object) -> bool | int | float | str:
    """NumPy's numbers as Python's."""
    plain: bool | int | float | str = value.item() if hasattr(value, "item") else value  # type: ignore[assignment]
    return plain
