"""Columns that number a table's rows: left out as features, or warned of. Imports pyarrow."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from job.data.arrays import chunks
from job.data.tables.columns import NUMERIC, Roles
from job.data.tables.raw import RawTable
from job.data.tables.reading import TableFiles
from job.data.tables.values import numbers_of
from job.spec import DataSpec

# What columns are called that number rows, in small letters.
_NAMES = frozenset({"", "index", "id", "unnamed: 0", "row", "rownum", "row_number", "rowid", "row_id"})


def without_indexes(spec: DataSpec, table: TableFiles, roles: Roles) -> tuple[Roles, tuple[str, ...]]:
    """Return the roles without features that only number the rows, and what the log should say of it.

    Left out is what a Parquet file itself calls an index, and a column that is called like one and counts the rows
    through, from 0 or 1, over all files or within each. What the spec names stays.

    Args:
        spec: the `data` section.
        table: the files.
        roles: what columns are for.
    """
    notes = []
    if table.unnamed:
        notes.append(f"{table.unnamed} unnamed columns at the end are left out")
    if spec.features is not None:
        return roles, tuple(notes)
    candidates = [name for name in roles.features if name not in spec.columns]
    declared = [name for name in candidates if name in table.indexes]
    named = [name for name in candidates if name.lower() in _NAMES and name not in declared]
    counting = [name for name in named if _counts_rows(table, name)]
    for name in (*declared, *counting):
        why = "the file calls it an index" if name in declared else "it counts the rows"
        notes.append(f"column {name!r} is left out: {why}; data.features or data.columns keep what they name")
    left = tuple(name for name in roles.features if name not in {*declared, *counting})
    return replace(roles, features=left or roles.features), tuple(notes)


def _counts_rows(table: TableFiles, name: str) -> bool:
    expected: dict[str, float] = {}
    for batch in table.batches([name]):
        try:
            numbers = numbers_of(batch.rows.column(name), "number", frozenset())
        except ValueError:
            return False
        if not len(numbers):
            continue
        following = expected.get("next")
        starts = {0.0, 1.0} if batch.first_row == 0 else set()
        if following is not None:
            starts.add(following)
        if numbers[0] not in starts or not np.array_equal(numbers, numbers[0] + np.arange(len(numbers))):
            return False
        expected["next"] = float(numbers[-1]) + 1
    return bool(expected)


def notes_on_counters(table: RawTable) -> Iterator[str]:
    """Yield what the log should say of columns of numbers that order the rows and do nothing else."""
    numeric = [column.name for column in table.columns if column.type in NUMERIC]
    for position, name in enumerate(numeric):
        if table.rows > 1 and _is_counter(table, position):
            yield (
                f"column {name!r} counts the rows in their order, and says nothing of others: data.exclude: [{name}] "
                "leaves it out"
            )


def _is_counter(table: RawTable, position: int) -> bool:
    last = None
    step = None
    for piece in chunks(table.features.numbers):
        values = piece[:, position].astype(np.float64)
        if last is not None:
            values = np.concatenate([[last], values])
        differences = np.diff(values)
        if len(differences):
            step = differences[0] if step is None else step
            if step == 0 or not np.array_equal(differences, np.full(len(differences), step)):
                return False
        last = values[-1]
    return step is not None
