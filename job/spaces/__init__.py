"""Search spaces as data: the entries of a spec's `space`, and what each built-in builder can be given.

`validate` and `plan` know both without TensorFlow; `job.models` builds from them.
"""

from job.spaces.builders import BUILDERS, CNN, MLP, Builder, Hyperparameter
from job.spaces.entries import (
    AnyEntry,
    BooleanEntry,
    ChoiceEntry,
    FixedEntry,
    FloatEntry,
    IntEntry,
    Sampling,
    Scalar,
    Space,
    SpaceEntry,
    spell_out,
)
from job.spaces.points import can_take, same_value, space_size, values_of

__all__ = [
    "BUILDERS",
    "CNN",
    "MLP",
    "AnyEntry",
    "BooleanEntry",
    "Builder",
    "ChoiceEntry",
    "FixedEntry",
    "FloatEntry",
    "Hyperparameter",
    "IntEntry",
    "Sampling",
    "Scalar",
    "Space",
    "SpaceEntry",
    "can_take",
    "same_value",
    "space_size",
    "spell_out",
    "values_of",
]
