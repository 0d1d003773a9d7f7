"""What has to be installed for a format. Imports nothing of it."""

from collections.abc import Sequence
from importlib.util import find_spec

from job.errors import Problem, SpecError
from job.records import ExportFormat

# The package's extra that brings these modules along.
_EXTRAS: dict[ExportFormat, tuple[str, tuple[str, ...]]] = {"onnx": ("onnx", ("onnx", "onnxruntime", "tf2onnx"))}


def require_packages(formats: Sequence[ExportFormat]) -> None:
    """Refuse formats whose packages are not installed.

    Raises:
        SpecError: names the format's place in the spec's `export` and the extra to install.
    """
    problems = []
    for index, name in enumerate(formats):
        extra, modules = _EXTRAS.get(name, ("", ()))
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            message = f"needs {' and '.join(missing)}, which this installation lacks: install tuning-job[{extra}]"
            problems.append(Problem(f"export[{index}]", message, name))
    if problems:
        raise SpecError(problems)
