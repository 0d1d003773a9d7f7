"""Values that Kubernetes reads from text: quantities and images."""

import re
from fractions import Fraction

_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_FACTORS = {
    suffix: Fraction(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
}
_FACTORS |= {
    suffix: Fraction(1000) ** power for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G"), start=-3)
}
_FACTORS |= {"T": Fraction(10) ** 12, "P": Fraction(10) ** 15, "E": Fraction(10) ** 18}


def quantity(written: object) -> Fraction:
    """The number that a quantity means.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(str(written))
    if match is None or isinstance(written, bool):
        raise ValueError(f"{written!r} is no quantity")
    number, suffix = match.groups(default="")
    if suffix in _FACTORS:
        return Fraction(number) * _FACTORS[suffix]
    return Fraction(number) * Fraction(10) ** int(suffix[1:])


def image_parts(image: str) -> tuple[str, str]:
    """Name and tag of an image; the tag is `@sha256:…` where there is a digest alone, and empty without either."""
    rest, at, digest = image.partition("@")
    folder, slash, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}{slash}{name}", tag or f"{at}{digest}"
