"""Which rows of a table are the same. Pure.

Each row has a hash of 64 bits: 8 bytes of memory per row. Among ten million different rows two share one with a
probability of about 3 in a million.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray

Hashes = NDArray[np.uint64]

# The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
_INCREMENT = 0x9E3779B97F4A7C15
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
_WORD = (1 << 64) - 1


def hash_rows(columns: Sequence[AnyArray]) -> Hashes:
    """A hash of each row: equal for rows that are equal in every column, a missing number being equal to another.

    Args:
        columns: each (rows,): numbers, booleans or strings. Their order counts.
    """
    hashes: Hashes = np.zeros(len(columns[0]), dtype=np.uint64)
    for position, values in enumerate(columns):
        salt = np.uint64(((position + 1) * _INCREMENT) & _WORD)
        hashes = _mixed(hashes ^ (_words(values) + salt))
    return hashes


def repeated(tables: Sequence[Hashes]) -> list[NDArray[np.bool_]]:
    """Which rows are the same as one before them, in the same table or in an earlier one."""
    hashes = np.concatenate(tables)
    order = np.argsort(hashes, kind="stable")
    found = np.zeros(len(hashes), dtype=np.bool_)
    in_order = hashes[order]
    found[order[1:][in_order[1:] == in_order[:-1]]] = True
    return np.split(found, np.cumsum([len(table) for table in tables])[:-1])


def _words(values: AnyArray) -> Hashes:
    if values.dtype.kind in "US":
        different, positions = np.unique(values, return_inverse=True)
        return np.array([_hash_of(str(value)) for value in different], dtype=np.uint64)[positions]
    # A whole number equals the same number of another table's floats; 0.0 equals -0.0, a missing number another.
    numbers = values.astype(np.float64) + 0.0
    numbers[np.isnan(numbers)] = np.nan
    return numbers.view(np.uint64)


def _hash_of(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mixed(words: Hashes) -> Hashes:
    words = (words ^ (words >> np.uint64(30))) * _FIRST_FACTOR
    words = (words ^ (words >> np.uint64(27))) * _SECOND_FACTOR
    return words ^ (words >> np.uint64(31))
