"""What each built-in builder can be given; `job.models` holds the code of the same name.

Searched by default is what the tutorial searches (TensorFlow, "Introduction to the Keras Tuner"): `units` from 32 to
512 and three learning rates. `docs/builders.md` gives the reasons for every default.
"""

from job.spaces.declaration import Builder, Condition, Hyperparameter, Layered
from job.spaces.entries import ChoiceEntry, IntEntry
from job.spaces.learning import CLIPPING, count, fixed, learning, penalty

ACTIVATIONS = ("elu", "gelu", "leaky_relu", "relu", "selu", "silu", "sigmoid", "softplus", "tanh")

# So many layers may have a number of units or filters of their own.
_LAYERS_OF_THEIR_OWN = 8
_MOST_LAYERS = 100

_HIDDEN = Condition("hidden_layers", at_least=1)


def _own(shared: str, of: str, parent: str) -> tuple[Hyperparameter, ...]:
    """`units_1`, `units_2` …: what one layer has instead of what all share."""
    return tuple(
        Hyperparameter(
            f"{shared}_{number}",
            None,
            int,
            f"{shared} of {of} {number}, instead of `{shared}`",
            minimum=1,
            needs=Condition(parent, at_least=number),
        )
        for number in range(1, _LAYERS_OF_THEIR_OWN + 1)
    )


def _layered(count_name: str, shared: str, own: tuple[Hyperparameter, ...]) -> Layered:
    return Layered(count_name, shared, tuple(one.name for one in own))


def _units(meaning: str) -> Hyperparameter:
    searched = IntEntry(type="int", min_value=32, max_value=512, step=32)
    return Hyperparameter("units", searched, int, meaning, minimum=1, needs=_HIDDEN)


def _activation(meaning: str, needs: Condition | None = None) -> Hyperparameter:
    return Hyperparameter("activation", fixed("relu"), str, meaning, choices=ACTIVATIONS, needs=needs)


def _dropout(meaning: str) -> Hyperparameter:
    return Hyperparameter("dropout", fixed(0.0), float, meaning, minimum=0.0, maximum=0.95, needs=_HIDDEN)


def _normalization(meaning: str, needs: Condition | None = None) -> Hyperparameter:
    return Hyperparameter("batch_normalization", fixed(value=False), bool, meaning, needs=needs)


def _penalties(l2: ChoiceEntry | None = None) -> tuple[Hyperparameter, Hyperparameter]:
    return (
        penalty("l1", "the factor of the sum of all weights' magnitudes (biases apart) that is added to the loss"),
        penalty("l2", "the factor of the sum of all weights' squares (biases apart) that is added to the loss", l2),
    )


_HIDDEN_UNITS = _own("units", "hidden layer", "hidden_layers")
_DENSE_UNITS = _own("units", "dense layer", "hidden_layers")
_CONVOLUTION_FILTERS = _own("filters", "convolution", "conv_layers")

LINEAR = Builder(
    name="linear",
    meaning="flatten, one output per class (logits) or number: logistic or linear regression",
    hyperparameters=(
        *learning(ChoiceEntry(type="choice", values=(0.1, 0.03, 0.01, 0.003, 0.001))),
        *_penalties(ChoiceEntry(type="choice", values=(0.0, 1e-5, 1e-4, 1e-3, 1e-2))),
    ),
    exclusive=CLIPPING,
)

MLP = Builder(
    name="mlp",
    meaning="flatten, hidden dense layers, one output per class (logits) or number",
    hyperparameters=(
        _units("units of each hidden layer"),
        *learning(),
        count("hidden_layers", 1, "number of hidden layers", minimum=0, maximum=_MOST_LAYERS),
        *_HIDDEN_UNITS,
        _activation("activation of the hidden layers", _HIDDEN),
        _dropout("share of a hidden layer's outputs dropped in training"),
        _normalization("whether the hidden layers' outputs are normalised by batch before the activation", _HIDDEN),
        *_penalties(),
    ),
    layered=(_layered("hidden_layers", "units", _HIDDEN_UNITS),),
    exclusive=CLIPPING,
)

CNN = Builder(
    name="cnn",
    meaning="convolutions, each with max pooling, dense layers, one output per class (logits) or number",
    hyperparameters=(
        _units("units of each dense layer"),
        *learning(),
        count(
            "conv_layers",
            1,
            "number of convolutions, each followed by max pooling of 2 by 2",
            maximum=_MOST_LAYERS,
        ),
        count("filters", 16, "filters of each convolution"),
        *_CONVOLUTION_FILTERS,
        count("kernel_size", 3, "rows and columns that a filter spans, at most the image's; no padding"),
        count("hidden_layers", 1, "number of dense layers after the convolutions", minimum=0, maximum=_MOST_LAYERS),
        *_DENSE_UNITS,
        _activation("activation of the convolutions and of the dense layers"),
        _dropout("share of a dense layer's outputs dropped in training"),
        _normalization("whether convolutions and dense layers are normalised by batch before the activation"),
        *_penalties(),
    ),
    layered=(
        _layered("conv_layers", "filters", _CONVOLUTION_FILTERS),
        _layered("hidden_layers", "units", _DENSE_UNITS),
    ),
    exclusive=CLIPPING,
    row_ranks=(2, 3),
    rows_in_words="images: rows of shape (height, width) or (height, width, channels)",
)

BUILDERS: dict[str, Builder] = {builder.name: builder for builder in (LINEAR, MLP, CNN)}
