"""Whether a model that was trained once more is as good as the one that the search chose."""

from job.records import Direction, RowScores

# Scores are float32, and the same sums are taken in another order.
_ROUNDING = 1e-6


def worst_allowed(winner: float, untrained: float | None, direction: Direction, tolerance: float) -> float:
    """Return the score down to which a model counts as good as the winner.

    Args:
        winner: the winner's score.
        untrained: that of the winner before its first step, on the same rows; None where it is not known.
        direction: whether less or more is better.
        tolerance: which share of what training has gained may be missing. Such a share means the same for an accuracy
            and for a loss of any scale.
    """
    sign = -1.0 if direction == "max" else 1.0
    gained = 0.0 if untrained is None else max(0.0, sign * (untrained - winner))
    return winner + sign * (tolerance * gained + _ROUNDING * abs(winner))


def shortfall(
    found: RowScores, winner: RowScores, untrained: RowScores, direction: Direction, tolerance: float
) -> str | None:
    """Return in words where a model is worse than the winner by more than is allowed; None where it is not.

    Rows on which either has no score are not compared.

    Args:
        found: the scores of the model.
        winner: the winner's.
        untrained: see `worst_allowed`.
        direction: likewise.
        tolerance: likewise.
    """
    sign = -1.0 if direction == "max" else 1.0
    reasons: list[str] = []
    for rows in ("train", "validation"):
        here, there = getattr(found, rows), getattr(winner, rows)
        if here is None or there is None:
            continue
        allowed = worst_allowed(there, getattr(untrained, rows), direction, tolerance)
        # Not a number is worse than anything.
        if not sign * here <= sign * allowed:
            reasons.append(f"{here:.6g} on the {rows} rows, where the search's own has {there:.6g}")
    return " and ".join(reasons) or None
