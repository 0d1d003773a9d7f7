"""Checks of what names the user's own model and data code."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from job.spec.code import installed_function, is_code, names_module_file
from job.spec.drafts import Check, Draft, Finding, check
from job.spec.model import JobSpec
from job.spec.sections import DEFAULT_DATA_FUNCTION, DEFAULT_MODEL_FUNCTION, DataSpec, ModelSpec
from job.spec.sources import source_kind

_EXPECTED = "expected a Python file (.py) as a path or s3:// URL, or package.module:function of an installed package"
_DEFAULTS = {"model": DEFAULT_MODEL_FUNCTION, "data": DEFAULT_DATA_FUNCTION}


@check("model.builder", "model.source")
def one_model_is_named(spec: JobSpec) -> Iterator[Finding]:
    """Either a built-in builder or the user's own code."""
    if spec.model.builder is not None and spec.model.source is not None:
        message = "contradicts model.source, which builds the model: keep one of the two"
        yield Finding(("model", "builder"), message)
    elif spec.model.builder is None and spec.model.source is None:
        yield Finding(("model", "builder"), "expected mlp or cnn, or a model.source")


@check("model.source")
def model_source_is_code(spec: JobSpec) -> Iterator[Finding]:
    """A model's source is code."""
    source = spec.model.source
    if source is not None and not is_code(source) and not _has_unknown_scheme(source):
        yield Finding(("model", "source"), _EXPECTED)


def _has_unknown_scheme(source: str) -> bool:
    # A problem of its own, which `job.resolve` reports together with these.
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme.lower() not in {"s3", "file"}


def _settings_have_a_use(section: str) -> Check:
    """What belongs to code would be ignored in silence without any, and a function is named once."""
    fields = ("source", "function", "sha256", "files", "files_sha256")

    def find(draft: Draft) -> Iterator[Finding]:
        part: ModelSpec | DataSpec = draft.spec.model if section == "model" else draft.spec.data
        default = _DEFAULTS[section]
        source = part.source or ""
        given = [name for name in ("sha256", "files", "files_sha256") if getattr(part, name) is not None]
        given += ["function"] if part.function != default else []
        installed = installed_function(source)
        if installed is not None:
            yield from _of_installed(section, given, source)
        elif not names_module_file(source):
            for name in given:
                yield Finding((section, name), f"needs a {section}.source that is a Python file (.py)")
        elif part.files is None and part.files_sha256 is not None:
            yield Finding((section, "files_sha256"), f"needs {section}.files")

    return Check(tuple((section, field) for field in fields), find)


def _of_installed(section: str, given: list[str], source: str) -> Iterator[Finding]:
    for name in given:
        if name == "function":
            message = f"contradicts {section}.source {source}, which names the function: keep one of the two"
            yield Finding((section, name), message)
        elif name != "sha256":
            yield Finding((section, name), f"needs a {section}.source that is a file; {source} is installed")


def _files_are_a_place(section: str) -> Check:
    def find(draft: Draft) -> Iterator[Finding]:
        part: ModelSpec | DataSpec = draft.spec.model if section == "model" else draft.spec.data
        if part.files is not None and PurePosixPath(part.files).suffix.lower() in {".py", ".gz", ".tar", ".tgz"}:
            yield Finding((section, "files"), "expected a folder, an s3:// prefix or a .zip file")

    return Check(((section, "files"),), find)


def _conditions_are_the_codes_own(draft: Draft) -> Iterator[Finding]:
    """The spec narrows what code declares; when an entry is active is decided there."""
    if draft.spec.built_in is None:
        for name, entry in draft.spec.space.items():
            if entry.parent_name is not None:
                message = "not with a model of your own: its code decides when an entry is active"
                yield Finding(("space", name, "parent_name"), message)


@check("data.source", "data.format", "data.validation_source", "data.test_source")
def data_code_gives_all_splits(spec: JobSpec) -> Iterator[Finding]:
    """A function returns the rows to validate and test on along with the others, or a share of its rows is drawn."""
    if source_kind(spec.data) != "python":
        return
    for field in ("validation_source", "test_source"):
        if getattr(spec.data, field) is not None:
            message = f"not with code as data.source: its function returns x_{field.removesuffix('_source')} and y_…"
            yield Finding(("data", field), message)


CODE_CHECKS: tuple[Check, ...] = (
    one_model_is_named,
    model_source_is_code,
    _settings_have_a_use("model"),
    _settings_have_a_use("data"),
    data_code_gives_all_splits,
    _files_are_a_place("model"),
    _files_are_a_place("data"),
    Check((("space",), ("model", "builder"), ("model", "source")), _conditions_are_the_codes_own),
)
