"""What each built-in builder can be given, declared as data; `job.models` holds the code of the same name."""

from collections.abc import Mapping
from dataclasses import dataclass

from job.spaces.entries import AnyEntry, ChoiceEntry, FixedEntry, IntEntry, Scalar


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One thing that a built-in builder can be given.

    Attributes:
        entry: what is searched where the spec says nothing; a FixedEntry is the builder's constant.
        kind: the type its values must have.
        minimum, maximum: the values that the builder accepts; `exclusive` excludes the bounds themselves.
        choices: the values that the builder accepts, where they can be listed.
    """

    name: str
    entry: AnyEntry
    kind: type[int] | type[float] | type[str] | type[bool]
    meaning: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Builder:
    """A built-in model builder, declared as data; `job.models` holds the code of the same name."""

    name: str
    meaning: str
    hyperparameters: tuple[Hyperparameter, ...]

    def hyperparameter(self, name: str) -> Hyperparameter | None:
        """The declaration of this name, if the builder has it."""
        return next((h for h in self.hyperparameters if h.name == name), None)

    def resolve(self, space: Mapping[str, AnyEntry]) -> dict[str, AnyEntry]:
        """The entries to search: the builder's own, replaced and added to by the spec's.

        The builder's constants are left out unless the spec names them. An entry follows its parent, as
        KerasTuner requires; otherwise the builder's order holds.
        """
        searched = {
            h.name: space.get(h.name, h.entry)
            for h in self.hyperparameters
            if h.name in space or not isinstance(h.entry, FixedEntry)
        }
        ordered: dict[str, AnyEntry] = {}
        while searched:
            ready = [n for n, e in searched.items() if e.parent_name not in searched]
            # A cycle of parents is a spec error that the checks report; here it must only not hang.
            for name in ready or list(searched):
                ordered[name] = searched.pop(name)
        return ordered

    def constants(self) -> dict[str, Scalar]:
        """The values of what is not searched unless a spec names it."""
        return {h.name: h.entry.value for h in self.hyperparameters if isinstance(h.entry, FixedEntry)}


# The tutorial's space (TensorFlow, "Introduction to the Keras Tuner"): one hidden layer of 32 to 512 units,
# learning rate 1e-2, 1e-3 or 1e-4.
MLP = Builder(
    name="mlp",
    meaning="flatten, hidden dense layers, one output per class (logits); Adam",
    hyperparameters=(
        Hyperparameter(
            "units",
            IntEntry(type="int", min_value=32, max_value=512, step=32),
            int,
            "units of each hidden layer",
            minimum=1,
        ),
        Hyperparameter(
            "learning_rate",
            ChoiceEntry(type="choice", values=(1e-2, 1e-3, 1e-4)),
            float,
            "Adam's learning rate",
            minimum=0.0,
            exclusive=True,
        ),
        Hyperparameter(
            "hidden_layers",
            FixedEntry(type="fixed", value=1),
            int,
            "number of hidden layers",
            minimum=0,
        ),
        Hyperparameter(
            "activation",
            FixedEntry(type="fixed", value="relu"),
            str,
            "activation of the hidden layers",
            choices=("elu", "gelu", "leaky_relu", "relu", "selu", "silu", "sigmoid", "softplus", "tanh"),
        ),
        Hyperparameter(
            "dropout",
            FixedEntry(type="fixed", value=0.0),
            float,
            "share of a hidden layer's outputs dropped in training",
            minimum=0.0,
            maximum=0.95,
        ),
        Hyperparameter(
            "batch_size",
            FixedEntry(type="fixed", value=32),
            int,
            "rows per training step",
            minimum=1,
        ),
    ),
)

BUILDERS: dict[str, Builder] = {MLP.name: MLP}
