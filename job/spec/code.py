"""What names the user's own code: a file `model.py`, or a function of an installed package. Pure."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

# `package.module:function`; a URL has `//` after its colon, a path no colon.
_INSTALLED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"


@dataclass(frozen=True, slots=True)
class InstalledFunction:
    """A name in a module of an installed package."""

    module: str
    name: str


def installed_function(source: str) -> InstalledFunction | None:
    """What `package.module:function` names; None for anything else."""
    match = _INSTALLED.fullmatch(source)
    return None if match is None else InstalledFunction(match[1], match[2])


def names_module_file(source: str) -> bool:
    """Whether a path or URL is that of a Python file."""
    return PurePosixPath(source).suffix.lower() == ".py"


def is_code(source: str) -> bool:
    """Whether a source is code: a Python file, or an installed function."""
    return names_module_file(source) or installed_function(source) is not None
