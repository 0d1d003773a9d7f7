"""From a spec's `search` to the oracle that decides what to try."""

from collections.abc import Mapping

import keras_tuner

from job.errors import Problem, SpecError
from job.records import TrialRecord
from job.schedule import Schedule
from job.search.addressed import AddressedOracle
from job.search.bayesian import BayesianProposals
from job.search.oracle import HyperbandOracle
from job.search.proposals import GridProposals, RandomProposals
from job.search.sampling import count_points
from job.search.stopping import SearchLimits
from job.search.straight import Proposals, StraightOracle
from job.spec import JobSpec


def make_oracle(
    spec: JobSpec,
    objective: keras_tuner.Objective,
    space: keras_tuner.HyperParameters,
    known: Mapping[str, TrialRecord],
) -> AddressedOracle:
    """The oracle of a search.

    Args:
        spec: the algorithm and its settings.
        objective: name and direction.
        space: the frozen search space.
        known: records of earlier starts of this run, by trial id.
    """
    schedule = planned_over(spec, space)
    if spec.search.algorithm == "hyperband":
        # Where a search may end early, the brackets' own order finds good scores sooner.
        may_stop = (
            spec.limits.timeout is not None or spec.stop.target is not None or spec.stop.no_improvement is not None
        )
        return HyperbandOracle(objective, schedule, space, spec.seed, opens_iterations=not may_stop)
    return StraightOracle(
        spec.search.algorithm,
        objective,
        schedule,
        space,
        spec.seed,
        proposals=_proposals(spec, objective, space, known),
    )


def planned_over(spec: JobSpec, space: keras_tuner.HyperParameters) -> Schedule:
    """The trials that a spec asks for over the space as it is declared.

    Raises:
        SpecError: a grid over a space without an end, which only the user's own code knew.
    """
    if spec.search.algorithm != "grid":
        return spec.planned()
    points = count_points(space)
    if points is None and spec.search.max_trials is None:
        endless = ", ".join(entry.name for entry in space.space if getattr(entry, "step", 1) is None)
        message = f"a grid lists every value: give {endless} a step or values in space, or limit search.max_trials"
        raise SpecError([Problem("search.algorithm", message)])
    return spec.planned(points)


def _proposals(
    spec: JobSpec,
    objective: keras_tuner.Objective,
    space: keras_tuner.HyperParameters,
    known: Mapping[str, TrialRecord],
) -> Proposals:
    search = spec.search
    if search.algorithm == "grid":
        return GridProposals(space)
    if search.algorithm == "random":
        return RandomProposals(space, spec.seed)
    return BayesianProposals(
        objective,
        space,
        spec.seed,
        lag=search.lag,
        num_initial_points=search.num_initial_points,
        alpha=search.alpha,
        beta=search.beta,
        known={trial_id: record.hyperparameters for trial_id, record in known.items()},
    )


def search_limits(spec: JobSpec) -> SearchLimits:
    """What ends the search early, besides the schedule's own end."""
    timeout = None if spec.limits.timeout is None else spec.limits.timeout.total_seconds()
    return SearchLimits(
        timeout=timeout,
        # Trials that are nearly done may end.
        grace=max(spec.limits.grace_period.total_seconds(), (timeout or 0.0) / 10),
        max_retries_per_trial=spec.limits.max_retries_per_trial,
        max_consecutive_failed_trials=spec.limits.max_consecutive_failed_trials,
        target=spec.stop.target,
        no_improvement=spec.stop.no_improvement,
    )
