"""Which rows are drawn for a split. Pure.

The draw depends on the seed, the purpose, the number of rows and (stratified) the labels, and on nothing else:
neither NumPy's version nor the machine. Every row gets a random key from the Philox counter-based generator
(Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), whose raw output NumPy
guarantees (NEP 19; the methods of `numpy.random.Generator` may change); the rows with the smallest keys are drawn.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class UndrawableError(ValueError):
    """A draw would leave a split empty or a class without a training row; says so with the numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Row indices, ascending: `drawn` for the new split, `kept` for the rest."""

    kept: Indices
    drawn: Indices


def draw_stratified(labels: Indices, fraction: float, *, seed: int, purpose: str) -> Draw:
    """Draw `round(fraction * rows)` rows, every class in proportion.

    A class gives its share rounded up or down, whichever makes the total exact, but keeps at least one row.
    What classes of very few rows therefore cannot give, the others give in proportion.

    Args:
        labels: class indices from 0, one per row.
        fraction: between 0 and 1.
        seed: any whole number.
        purpose: draws of one seed for different purposes are independent.

    Raises:
        UndrawableError: nothing would be drawn, or too little kept.
    """
    count = _count(len(labels), fraction)
    counts = np.bincount(labels).astype(np.int64)
    quotas = allocate(counts, count)
    # Within each class in the order of the keys; the first of each class are drawn.
    order = np.lexsort((row_keys(len(labels), seed, purpose), labels))
    starts = np.cumsum(counts) - counts
    position = np.arange(len(labels)) - starts[labels[order]]
    return _draw(len(labels), order[position < quotas[labels[order]]])


def draw_random(rows: int, fraction: float, *, seed: int, purpose: str) -> Draw:
    """Draw `round(fraction * rows)` rows, each alike; see `draw_stratified`."""
    count = _count(rows, fraction)
    return _draw(rows, np.argsort(row_keys(rows, seed, purpose), kind="stable")[:count])


def draw_groups(groups: Indices, fraction: float, *, seed: int, purpose: str) -> Draw:
    """Draw whole groups, about `fraction * rows` rows in all.

    Groups are taken in a random order, passing over those that would take more rows than are still wanted; a fraction
    smaller than every group takes the smallest.

    Args:
        groups: group numbers from 0, one per row.
        fraction: between 0 and 1.
        seed: any whole number.
        purpose: draws of one seed for different purposes are independent.

    Raises:
        UndrawableError: there are fewer than two groups, or all rows would be drawn.
    """
    wanted = _count(len(groups), fraction)
    counts = np.bincount(groups).astype(np.int64)
    present = np.flatnonzero(counts)
    if len(present) < 2:  # noqa: PLR2004 - one to keep and one to draw
        raise UndrawableError(f"all {len(groups)} rows are of one group")
    order = present[np.argsort(row_keys(len(counts), seed, purpose)[present], kind="stable")]
    drawn = np.zeros(len(counts), dtype=np.bool_)
    left = wanted
    for group in order:
        if counts[group] <= left:
            drawn[group] = True
            left -= int(counts[group])
    if not drawn.any():
        drawn[order[np.argmin(counts[order])]] = True
    return _draw(len(groups), np.flatnonzero(drawn[groups]))


def draw_last(times: NDArray[Any], fraction: float) -> Draw:
    """Draw the `round(fraction * rows)` rows with the greatest times; of equal times, the later rows.

    Args:
        times: one number per row, none missing.
        fraction: between 0 and 1.

    Raises:
        UndrawableError: nothing would be drawn, or nothing kept.
    """
    count = _count(len(times), fraction)
    return _draw(len(times), np.argsort(times, kind="stable")[len(times) - count :])


def allocate(counts: Indices, total: int) -> Indices:
    """How many rows each class gives, by largest remainders, so that `total` is met exactly.

    Args:
        counts: rows of each class.
        total: rows to draw, fewer than there are.

    Raises:
        UndrawableError: some class that has rows would keep none.
    """
    room = np.maximum(counts - 1, 0)
    if total > room.sum():
        raise UndrawableError(
            f"{total} of {counts.sum()} rows cannot be drawn, because each of the {int((counts > 0).sum())} "
            "classes keeps one for training"
        )
    given = _largest_remainders(counts, total, room)
    missing = total - int(given.sum())
    return given + _largest_remainders(room - given, missing, room - given)


def _largest_remainders(weights: Indices, total: int, room: Indices) -> Indices:
    """Apportion `total` by weight; falls short of it only where `room` forbids rounding up."""
    if total == 0:
        return np.zeros_like(weights)
    given, remainders = np.divmod(weights * total, weights.sum())
    by_remainder = np.argsort(-remainders, kind="stable")
    may_round_up = by_remainder[(remainders > 0)[by_remainder] & (given < room)[by_remainder]]
    given[may_round_up[: total - int(given.sum())]] += 1
    return np.asarray(given, dtype=np.int64)


def _count(rows: int, fraction: float) -> int:
    count = round(fraction * rows)
    if not 0 < count < rows:
        raise UndrawableError(
            f"{fraction} of {rows} rows is {count}, which leaves {'none to draw' if count <= 0 else 'none over'}"
        )
    return count


def row_keys(rows: int, seed: int, purpose: str) -> NDArray[np.uint64]:
    """A random key for each row, a function of the seed, the purpose and how many rows there are."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    return np.asarray(generator.random_raw(rows), dtype=np.uint64)


def _draw(rows: int, drawn: NDArray[np.intp]) -> Draw:
    is_drawn = np.zeros(rows, dtype=np.bool_)
    is_drawn[drawn] = True
    return Draw(np.flatnonzero(~is_drawn).astype(np.int64), np.flatnonzero(is_drawn).astype(np.int64))
