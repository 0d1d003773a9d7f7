"""How a built-in builder's hyperparameters are declared, and what a spec's space makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from job.spaces.entries import AnyEntry, FixedEntry, Scalar
from job.spaces.points import same_value, values_of


@dataclass(frozen=True, slots=True)
class Condition:
    """When a hyperparameter has an effect: with these values of another one, or from this number up."""

    parent: str
    values: tuple[Scalar, ...] = ()
    at_least: int | None = None

    def admits(self, value: Scalar) -> bool:
        """Whether the hyperparameter has an effect with this value of the other one."""
        if self.at_least is not None:
            return isinstance(value, int | float) and value >= self.at_least
        return any(same_value(one, value) for one in self.values)

    def admitted(self, parent: AnyEntry) -> tuple[Scalar, ...] | None:
        """The values of the parent's entry with which there is an effect; None where that is with all of them."""
        # No hyperparameter that others depend on takes a continuous range: the spec's checks refuse that one.
        values = () if parent.size() is None else values_of(parent)
        admitted = tuple(value for value in values if self.admits(value))
        return None if len(admitted) == len(values) else admitted

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"{self.parent} of at least {self.at_least}"
        return f"{self.parent} {' or '.join(str(value) for value in self.values)}"


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One thing that a built-in builder can be given.

    Attributes:
        entry: what is searched where the spec says nothing; a FixedEntry is the builder's constant. None for what
            takes another's place where a spec names it, and is nothing otherwise.
        kind: the type its values must have.
        minimum, maximum: the values that the builder accepts; `exclusive` excludes the bounds themselves.
        choices: the values that the builder accepts, where they can be listed.
        needs: when it has an effect; None for always.
    """

    name: str
    entry: AnyEntry | None
    kind: type[int] | type[float] | type[str] | type[bool]
    meaning: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    choices: tuple[str, ...] | None = None
    needs: Condition | None = None


@dataclass(frozen=True, slots=True)
class Layered:
    """A hyperparameter that all layers of a kind share, and those that single layers may have instead.

    Attributes:
        count: the hyperparameter that says how many layers there are.
        shared: what layers have that have none of their own.
        own: what the first layer, the second … may have instead.
    """

    count: str
    shared: str
    own: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Builder:
    """A built-in model builder, declared as data; `job.models` holds the code of the same name.

    Attributes:
        layered: what single layers may have of their own.
        exclusive: of these at most one may be other than 0.
        row_ranks: how many axes a row may have; None for any number.
        rows_in_words: which rows the builder takes.
    """

    name: str
    meaning: str
    hyperparameters: tuple[Hyperparameter, ...]
    layered: tuple[Layered, ...] = ()
    exclusive: tuple[str, ...] = ()
    row_ranks: tuple[int, ...] | None = None
    rows_in_words: str = "rows of any shape"

    def takes_rows_of(self, shape: tuple[int, ...]) -> bool:
        """Whether a row may have this shape."""
        return self.row_ranks is None or len(shape) in self.row_ranks

    def hyperparameter(self, name: str) -> Hyperparameter | None:
        """The declaration of this name, if the builder has it."""
        return next((h for h in self.hyperparameters if h.name == name), None)

    def resolve(self, space: Mapping[str, AnyEntry]) -> dict[str, AnyEntry]:
        """The entries to search: the builder's own, replaced and added to by the spec's.

        The builder's constants are left out unless the spec names them, and so are its own entries that have no effect
        in this space. An entry that has an effect with some values of another one alone depends on that one, unless it
        states a parent itself. An entry follows its parent, as KerasTuner requires; otherwise the builder's order
        holds.
        """
        searched = {
            h.name: entry
            for h in self.hyperparameters
            if (entry := space.get(h.name, h.entry)) is not None
            if h.name in space or not isinstance(entry, FixedEntry)
        }
        searched = {
            name: entry for name, entry in searched.items() if name in space or not self.without_effect(name, searched)
        }
        return _parents_first({name: self._conditioned(name, searched) for name in searched})

    def without_effect(self, name: str, entries: Mapping[str, AnyEntry]) -> str | None:
        """Why a hyperparameter changes nothing in any point of a space, in words; None where it does."""
        declared = self.hyperparameter(name)
        needs = None if declared is None else declared.needs
        if needs is not None and needs.admitted(self._entry_or_constant(needs.parent, entries)) == ():
            return f"it needs {needs}"
        for layered in self.layered:
            layers = self._most(layered.count, entries)
            own = layered.own[:layers]
            if name == layered.shared and own and len(own) == layers and {*own} <= entries.keys():
                return f"instead of it, every layer has one of its own: {', '.join(own)}"
        return None

    def constants(self) -> dict[str, Scalar]:
        """The values of what is not searched unless a spec names it."""
        return {h.name: h.entry.value for h in self.hyperparameters if isinstance(h.entry, FixedEntry)}

    def _most(self, name: str, entries: Mapping[str, AnyEntry]) -> int:
        """The greatest number of layers; 0 where a space that the checks refuse does not say it."""
        entry = self._entry_or_constant(name, entries)
        values = () if entry.size() is None else values_of(entry)
        return max((value for value in values if isinstance(value, int)), default=0)

    def _entry_or_constant(self, name: str, entries: Mapping[str, AnyEntry]) -> AnyEntry:
        if name in entries:
            return entries[name]
        declared = self.hyperparameter(name)
        if declared is None or declared.entry is None:
            raise ValueError(f"builder {self.name} has no constant {name}")
        return declared.entry

    def _conditioned(self, name: str, entries: Mapping[str, AnyEntry]) -> AnyEntry:
        """An entry with the parent that it has by its nature, where that switches it off for some values."""
        entry, declared = entries[name], self.hyperparameter(name)
        needs = None if declared is None else declared.needs
        if needs is None or entry.parent_name is not None or needs.parent not in entries:
            return entry
        values = needs.admitted(entries[needs.parent])
        if not values or name in _ancestors(needs.parent, entries):
            return entry
        return entry.model_copy(update={"parent_name": needs.parent, "parent_values": values})


def _ancestors(name: str, entries: Mapping[str, AnyEntry]) -> list[str]:
    found: list[str] = []
    parent = entries[name].parent_name
    while parent is not None and parent in entries and parent not in found:
        found.append(parent)
        parent = entries[parent].parent_name
    return found


def _parents_first(entries: dict[str, AnyEntry]) -> dict[str, AnyEntry]:
    ordered: dict[str, AnyEntry] = {}
    while entries:
        ready = [n for n, e in entries.items() if e.parent_name not in entries]
        # A cycle of parents is a spec error that the checks report; here it must only not hang.
        for name in ready or list(entries):
            ordered[name] = entries.pop(name)
    return ordered
