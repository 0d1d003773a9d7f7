"""Search spaces as data: the entries of a spec's `space`, and what each built-in builder can be given.

`validate` and `plan` know both without TensorFlow; `job.models` builds from them.
"""

from job.spaces.builders import BUILDERS, CNN, LINEAR, MLP
from job.spaces.declaration import Builder, Condition, Hyperparameter, Layered
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
from job.spaces.points import as_made, can_take, same_value, space_size, values_of

__all__ = [
    "BUILDERS",
    "CNN",
    "LINEAR",
    "MLP",
    "AnyEntry",
    "BooleanEntry",
    "Builder",
    "ChoiceEntry",
    "Condition",
    "FixedEntry",
    "FloatEntry",
    "Hyperparameter",
    "IntEntry",
    "Layered",
    "Sampling",
    "Scalar",
    "Space",
    "SpaceEntry",
    "as_made",
    "can_take",
    "same_value",
    "space_size",
    "spell_out",
    "values_of",
]
