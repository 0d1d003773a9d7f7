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
    """A built-in model builder, declared as data; `job.models` holds the code of the same name.

    Attributes:
        row_ranks: how many axes a row may have; None for any number.
        rows_in_words: which rows the builder takes.
    """

    name: str
    meaning: str
    hyperparameters: tuple[Hyperparameter, ...]
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


_ACTIVATIONS = ("elu", "gelu", "leaky_relu", "relu", "selu", "silu", "sigmoid", "softplus", "tanh")


# The tutorial's space (TensorFlow, "Introduction to the Keras Tuner"): one hidden layer of 32 to 512 units,
# learning rate 1e-2, 1e-3 or 1e-4.
def _units(meaning: str) -> Hyperparameter:
    return Hyperparameter("units", IntEntry(type="int", min_value=32, max_value=512, step=32), int, meaning, minimum=1)


_LEARNING_RATE = Hyperparameter(
    "learning_rate",
    ChoiceEntry(type="choice", values=(1e-2, 1e-3, 1e-4)),
    float,
    "Adam's learning rate",
    minimum=0.0,
    exclusive=True,
)


def _count(name: str, default: int, meaning: str, *, minimum: int = 1) -> Hyperparameter:
    """A whole number that is not searched by default."""
    return Hyperparameter(name, FixedEntry(type="fixed", value=default), int, meaning, minimum=minimum)


def _activation(meaning: str) -> Hyperparameter:
    return Hyperparameter("activation", FixedEntry(type="fixed", value="relu"), str, meaning, choices=_ACTIVATIONS)


def _dropout(meaning: str) -> Hyperparameter:
    return Hyperparameter("dropout", FixedEntry(type="fixed", value=0.0), float, meaning, minimum=0.0, maximum=0.95)


_BATCH_SIZE = _count("batch_size", 32, "rows per training step")

MLP = Builder(
    name="mlp",
    meaning="flatten, hidden dense layers, one output per class (logits); Adam",
    hyperparameters=(
        _units("units of each hidden layer"),
        _LEARNING_RATE,
        _count("hidden_layers", 1, "number of hidden layers", minimum=0),
        _activation("activation of the hidden layers"),
        _dropout("share of a hidden layer's outputs dropped in training"),
        _BATCH_SIZE,
    ),
)

CNN = Builder(
    name="cnn",
    meaning="convolutions, each with max pooling, a dense layer, one output per class (logits); Adam",
    hyperparameters=(
        _units("units of the dense layer"),
        _LEARNING_RATE,
        _count("conv_layers", 1, "number of convolutions, each followed by max pooling of 2 by 2"),
        _count("filters", 16, "filters of each convolution"),
        _count("kernel_size", 3, "rows and columns that a filter spans, at most the image's; no padding"),
        _activation("activation of the convolutions and of the dense layer"),
        _dropout("share of the dense layer's outputs dropped in training"),
        _BATCH_SIZE,
    ),
    row_ranks=(2, 3),
    rows_in_words="images: rows of shape (height, width) or (height, width, channels)",
)

BUILDERS: dict[str, Builder] = {builder.name: builder for builder in (MLP, CNN)}
