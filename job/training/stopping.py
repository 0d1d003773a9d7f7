"""Early stopping inside a trial, with a state that survives promotion."""

from dataclasses import dataclass, replace

from job.records import Direction
from job.training.checkpoint import LineageState


def better(score: float, than: float | None, direction: Direction) -> bool:
    """Whether a score beats another; anything beats None."""
    if than is None:
        return True
    return score > than if direction == "max" else score < than


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """When a lineage stops: as `keras.callbacks.EarlyStopping`, but counted over all rungs.

    Attributes:
        patience: so many epochs in a row without improvement end it; at least 1.
        min_delta: by more than this a score must beat the best before it, to count as improvement.
    """

    patience: int
    min_delta: float = 0.0

    def after_epoch(self, state: LineageState, score: float, direction: Direction) -> LineageState:
        """The state once an epoch has scored; it says `stopped` when the patience is over."""
        handicapped = score - self.min_delta if direction == "max" else score + self.min_delta
        if better(handicapped, state.reference, direction):
            return replace(state, reference=score, stalled=0)
        stalled = state.stalled + 1
        return replace(state, stalled=stalled, stopped=state.stopped or stalled >= self.patience)
