"""What becomes of an entry that the user's code declares where the spec's `space` names it, too."""

from collections.abc import Sequence

from keras_tuner.engine import hyperparameters as kt

from job.plan import values_in_words
from job.spaces import (
    AnyEntry,
    BooleanEntry,
    ChoiceEntry,
    FixedEntry,
    FloatEntry,
    IntEntry,
    Sampling,
    Scalar,
    as_made,
    can_take,
    same_value,
)


def narrowed(declared: kt.HyperParameter, known: AnyEntry, wanted: AnyEntry) -> kt.HyperParameter | str:
    """The declared entry with the spec's values, under the same conditions; or what is wrong with them, in words.

    The spec may leave out values and fix one; it cannot add any. A range without a step keeps the declared one, and
    a linear one the declared sampling.

    Args:
        declared: as the code declares it.
        known: the same as an entry of a spec.
        wanted: the spec's.
    """
    match wanted:
        case FixedEntry():
            result = _of_values(declared, known, (wanted.value,), None)
        case ChoiceEntry():
            result = _of_values(declared, known, wanted.values, wanted.default)
        case BooleanEntry():
            result = declared if isinstance(known, BooleanEntry) else None
        case _:
            result = _of_range(declared, known, wanted)
    return f"expected values that the model's code declares: {values_in_words(known)}" if result is None else result


def _of_values(
    declared: kt.HyperParameter, known: AnyEntry, values: Sequence[Scalar], default: Scalar | None
) -> kt.HyperParameter | None:
    if not all(can_take(known, value) for value in values):
        return None
    taken = [_as_declared(known, value) for value in values]
    if len(taken) == 1:
        return kt.Fixed(declared.name, taken[0], conditions=declared.conditions)
    if isinstance(known, BooleanEntry):
        return declared
    if default is None and declared.default in taken:
        default = declared.default
    ordered = declared.ordered if isinstance(declared, kt.Choice) else None
    return kt.Choice(declared.name, taken, ordered=ordered, default=default, conditions=declared.conditions)


def _as_declared(known: AnyEntry, value: Scalar) -> Scalar:
    """A value in the type that the code expects: 0 of an hp.Float is 0.0."""
    if isinstance(known, FloatEntry):
        return float(as_made(known, value))
    if isinstance(known, ChoiceEntry):
        return next(one for one in known.values if same_value(one, value))
    return value


def _of_range(declared: kt.HyperParameter, known: AnyEntry, wanted: IntEntry | FloatEntry) -> kt.HyperParameter | None:
    if not isinstance(known, IntEntry | FloatEntry) or not isinstance(wanted, type(known)):
        return None
    step = known.step if wanted.step is None else wanted.step
    sampling: Sampling = known.sampling if wanted.sampling == "linear" else wanted.sampling
    low, high = wanted.min_value, wanted.max_value
    if isinstance(known, FloatEntry):
        low, high = float(as_made(known, low)), float(as_made(known, high))
    # Where the first two values and the last are declared ones, so are all between.
    following = low if step is None or low == high else low + step if sampling == "linear" else low * step
    if not all(can_take(known, value) for value in (low, high)) or not can_take(known, following):
        return None
    default = wanted.default
    if default is None and low <= declared.default <= high:
        default = declared.default
    kind = kt.Int if isinstance(known, IntEntry) else kt.Float
    try:
        return kind(
            declared.name, low, high, step=step, sampling=sampling, default=default, conditions=declared.conditions
        )
    except ValueError:
        return None
