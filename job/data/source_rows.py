"""Rows as the files of a source divide them."""

from collections.abc import Iterator
from dataclasses import dataclass

from job.data.arrays import SourceArray


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Inputs and labels that belong together, as they are in the source."""

    x: SourceArray
    y: SourceArray


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Rows as the files divide them.

    Attributes:
        train: what validation and test rows are drawn from where they are None.
        notes: what the log should say: settings that had nothing to apply to, arrays that are not used.
    """

    train: LabelledRows
    validation: LabelledRows | None
    test: LabelledRows | None
    notes: tuple[str, ...]

    def named_arrays(self) -> Iterator[tuple[str, SourceArray]]:
        """Every array under a name that does not depend on which file it came from."""
        for part, rows in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if rows is not None:
                yield f"x_{part}", rows.x
                yield f"y_{part}", rows.y
