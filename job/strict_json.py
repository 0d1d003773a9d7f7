"""Values that every JSON reader takes."""

import math
from collections.abc import Mapping


def strict_json(value: object) -> object:
    """The value with NaN and infinities as strings: JSON has no numbers for them. Tuples become lists."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: strict_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(inner) for inner in value]
    return value
