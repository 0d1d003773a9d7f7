"""What random and grid search try; both look at no score."""

from collections.abc import Iterator, Sequence

import keras_tuner

from job.records import Hyperparameters
from job.search.sampling import AddressedSampler, points_of


class RandomProposals:
    """The same draws as those of a Hyperband search's bracket 0.

    Args:
        space: the frozen search space.
        seed: the search's seed.
    """

    lag = None

    def __init__(self, space: keras_tuner.HyperParameters, seed: int) -> None:
        self._sampler = AddressedSampler(space, seed)

    def propose(
        self, index: int, before: Sequence[Hyperparameters], scores: Sequence[float | None]
    ) -> Hyperparameters | None:
        """The draw at address (0, 0, index); see `Proposals`."""
        del before, scores
        return self._sampler.draw(0, 0, index)


class GridProposals:
    """Every point of the space, the last entry's values changing fastest. Lists no more of them than are asked for.

    Args:
        space: the frozen search space; finite.
    """

    lag = None

    def __init__(self, space: keras_tuner.HyperParameters) -> None:
        self._points: Iterator[Hyperparameters] = points_of(space)

    def propose(
        self, index: int, before: Sequence[Hyperparameters], scores: Sequence[float | None]
    ) -> Hyperparameters | None:
        """The point after the last one; see `Proposals`."""
        del index, before, scores
        return next(self._points, None)
