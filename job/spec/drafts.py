"""What cross-field checks see: a spec without its invalid parts, and what those are."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from job.spec.model import JobSpec
from job.spec.paths import Path, begins_with, parse_path


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, and what was expected.

    What was found is looked up there, unless it is beside the point: the value of an unknown field is.
    """

    path: Path
    message: str
    shows_value: bool = True


@dataclass(frozen=True, slots=True)
class Draft:
    """A spec in the making.

    Attributes:
        spec: with defaults where something was invalid.
        broken: the paths of what was invalid.
    """

    spec: JobSpec
    broken: frozenset[Path]

    def has(self, path: Path) -> bool:
        """Whether the value at a path is the user's (or the default that the user left)."""
        return not any(begins_with(path, broken) for broken in self.broken)

    @property
    def broken_entries(self) -> frozenset[str]:
        """The names of the space's entries that are invalid by themselves."""
        return frozenset(str(path[1]) for path in self.broken if path[0] == "space" and len(path) > 1)


@dataclass(frozen=True, slots=True)
class Check:
    """A check of fields against each other; runs where all the fields that it needs are valid by themselves."""

    needs: tuple[Path, ...]
    find: Callable[[Draft], Iterable[Finding]]

    def run(self, draft: Draft) -> Iterable[Finding]:
        """What the check finds, if it can run."""
        return self.find(draft) if all(draft.has(path) for path in self.needs) else ()


def check(*needs: str) -> Callable[[Callable[[JobSpec], Iterator[Finding]]], Check]:
    """Turn a function of a spec into a check that needs these fields."""

    def made(find: Callable[[JobSpec], Iterator[Finding]]) -> Check:
        return Check(tuple(parse_path(path) for path in needs), lambda draft: find(draft.spec))

    return made
