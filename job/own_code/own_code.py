"""What is known of a piece of the user's own code, before and after it is fetched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from job.errors import DataError, JobError, ModelCodeError
from job.spec import DataSpec, ModelSpec
from job.spec.code import installed_function

# The section of the spec that names the code.
Section = Literal["model", "data"]


@dataclass(frozen=True, slots=True)
class CodeSource:
    """What a section of the spec says of its code.

    Attributes:
        source: a path, a URL, or `package.module:function`.
        function: what to call in it.
        sha256: what the module's file must have; None for anything.
        files: what lies beside it; None for nothing.
        files_sha256: like `sha256`; of a folder or prefix that of its listing.
    """

    section: Section
    source: str
    function: str
    sha256: str | None = None
    files: str | None = None
    files_sha256: str | None = None

    @classmethod
    def of(cls, part: ModelSpec | DataSpec) -> "CodeSource":
        """What the `model` or `data` section says; its source must be code."""
        if part.source is None:
            raise ValueError("the section names no code")
        installed = installed_function(part.source)
        return cls(
            section="model" if isinstance(part, ModelSpec) else "data",
            source=part.source,
            function=part.function if installed is None else installed.name,
            sha256=part.sha256,
            files=part.files,
            files_sha256=part.files_sha256,
        )


@dataclass(frozen=True, slots=True)
class OwnCode:
    """Code that is at hand, in a form that travels between processes.

    Attributes:
        shown: what the user calls the module's file, without credentials.
        function: the name to look up in the module.
        module: its name in `sys.modules`.
        file: the module's file.
        root: the folder of the file and all that lies beside it; of an installed package its own, or the module's file.
        is_installed: whether the module is imported by its own name.
        sha256: of the module's file.
    """

    section: Section
    shown: str
    function: str
    module: str
    file: Path
    root: Path
    is_installed: bool
    sha256: str


def code_error(section: Section, message: str, *, advice: str | None = None) -> JobError:
    """The error of wrong code: of a model exit code 11, of data 12."""
    return (ModelCodeError if section == "model" else DataError)(message, advice=advice)
