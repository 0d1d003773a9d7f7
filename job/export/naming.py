"""What inputs and outputs are called in every format: names that TensorFlow, ONNX and Python's keywords all take."""

import keyword
import re
from collections.abc import Iterable, Sequence


def serving_names(wanted: Sequence[str], taken: Iterable[str] = (), *, otherwise: str) -> tuple[str, ...]:
    """A name for each, as near to what is wanted as can be; no two differ in the case of letters alone.

    Args:
        wanted: names of any characters.
        taken: names that others have already.
        otherwise: stands before a name that does not begin with a letter.

    Returns:
        Python identifiers of ASCII letters, digits and `_`.
    """
    used = {name.casefold() for name in taken}
    found: list[str] = []
    for name in wanted:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not re.match(r"[A-Za-z]", plain):
            plain = f"{otherwise}_{plain.lstrip('_')}".rstrip("_")
        if keyword.iskeyword(plain):
            plain += "_"
        unique, number = plain, 2
        while unique.casefold() in used:
            unique, number = f"{plain}_{number}", number + 1
        used.add(unique.casefold())
        found.append(unique)
    return tuple(found)
