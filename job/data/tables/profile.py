"""What the log and `metrics.json` say of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from job.data.tables.columns import Column
from job.data.tables.preparation import TablePreparation


def profile_of(  # noqa: PLR0913 - all that is known
    columns: Sequence[Column],
    preparation: TablePreparation,
    *,
    missing: Mapping[str, int],
    duplicates: int,
    dropped: bool,
    split: str,
) -> dict[str, Any]:
    """What is known of a table's columns and rows.

    Args:
        columns: the features.
        preparation: what is done to them.
        missing: how many values of each are missing, in all rows that are used.
        duplicates: rows that are the same as one before them.
        dropped: whether they were dropped.
        split: how rows were divided.
    """
    done = dict(preparation.column_profiles())
    return {
        "split": split,
        "duplicates": duplicates,
        "duplicates_dropped": duplicates if dropped else 0,
        "missing_values": sum(missing.values()),
        "columns": {
            column.name: {
                "type": column.type,
                **({"unit": "days since 1970-01-01"} if column.type == "date" else {}),
                "missing": missing[column.name],
                **done[column.name],
            }
            for column in columns
        },
    }
