"""Checks of fields against each other. Each declares the fields that it needs, and runs where those are valid."""

import re
from collections.abc import Iterator

from job.spec.code_checks import CODE_CHECKS
from job.spec.data_checks import DATA_CHECKS
from job.spec.drafts import Check, Finding, check
from job.spec.fields import listed
from job.spec.file_checks import FILE_CHECKS
from job.spec.fold_checks import FOLD_CHECKS
from job.spec.model import JobSpec
from job.spec.sections import SearchSpec
from job.spec.space_checks import SPACE_CHECKS
from job.spec.table_checks import TABLE_CHECKS
from job.spec.task_checks import TASK_CHECKS

# Amazon S3's limits of a part of a multipart upload, and of object tags.
_MIN_PART_SIZE = 5 * 1024**2
_MAX_PART_SIZE = 5 * 1024**3
_MAX_TAG_KEY = 128
_MAX_TAG_VALUE = 256
_TAG_CHARACTERS = re.compile(r"[\w +\-=.:/@]*")
_TAG_CHARACTERS_IN_WORDS = "letters, digits, spaces and + - = . _ : / @"


# The fields that only some algorithms know.
_ALGORITHMS_OF: dict[str, tuple[str, ...]] = {
    "max_trials": ("random", "grid", "bayesian"),
    **dict.fromkeys(("factor", "hyperband_iterations", "min_epochs", "schedule"), ("hyperband",)),
    **dict.fromkeys(("lag", "num_initial_points", "alpha", "beta"), ("bayesian",)),
}


@check("search.algorithm")
def search_fields_have_a_use(spec: JobSpec) -> Iterator[Finding]:
    """Another algorithm's field would be ignored in silence."""
    search, default = spec.search, SearchSpec()
    for field, algorithms in _ALGORITHMS_OF.items():
        if search.algorithm not in algorithms and getattr(search, field) != getattr(default, field):
            message = f"needs search.algorithm: {listed(algorithms, 'or')}; it is {search.algorithm}"
            yield Finding(("search", field), message)


@check("search.max_epochs", "search.factor", "search.algorithm")
def max_epochs_allow_a_rung(spec: JobSpec) -> Iterator[Finding]:
    """With fewer epochs than the factor, Hyperband has nothing to promote."""
    search = spec.search
    if search.algorithm == "hyperband" and search.max_epochs < search.factor:
        yield Finding(("search", "max_epochs"), f"expected at least search.factor, which is {search.factor}")


@check("search.max_epochs", "search.min_epochs", "search.algorithm")
def min_epochs_within_max_epochs(spec: JobSpec) -> Iterator[Finding]:
    """No first rung may be longer than the whole."""
    search = spec.search
    if search.algorithm == "hyperband" and search.min_epochs > search.max_epochs:
        yield Finding(("search", "min_epochs"), f"expected at most search.max_epochs, which is {search.max_epochs}")


@check("early_stopping.patience", "early_stopping.min_delta")
def min_delta_has_a_use(spec: JobSpec) -> Iterator[Finding]:
    """Without patience nothing stops early, however little improves."""
    if spec.early_stopping.min_delta and spec.early_stopping.patience is None:
        yield Finding(("early_stopping", "min_delta"), "needs early_stopping.patience")


@check("retrain.on", "retrain.seeds")
def seeds_need_a_validation_split(spec: JobSpec) -> Iterator[Finding]:
    """Without rows kept apart, nothing tells which of several retrained models is the best."""
    if spec.retrain.seeds > 1 and spec.retrain.on == "train_and_validation":
        message = "expected 1, or retrain.on: train: train_and_validation keeps no rows to choose between models by"
        yield Finding(("retrain", "seeds"), message)


@check("storage.kms_key", "storage.encryption")
def kms_key_has_a_use(spec: JobSpec) -> Iterator[Finding]:
    """Only SSE-KMS takes a key."""
    if spec.storage.kms_key is not None and spec.storage.encryption != "sse-kms":
        message = f"needs storage.encryption: sse-kms, which is {spec.storage.encryption}"
        yield Finding(("storage", "kms_key"), message)


@check("storage.part_size")
def part_size_is_possible(spec: JobSpec) -> Iterator[Finding]:
    """S3 takes parts of 5 MiB to 5 GiB."""
    if not _MIN_PART_SIZE <= spec.storage.part_size <= _MAX_PART_SIZE:
        yield Finding(("storage", "part_size"), "expected 5MiB to 5GiB, the limits of S3")


@check("storage.tags")
def tags_are_possible(spec: JobSpec) -> Iterator[Finding]:
    """S3 limits the length and the characters of tags, and keeps the prefix `aws:` to itself."""
    for key, value in spec.storage.tags.items():
        key_fits = 1 <= len(key) <= _MAX_TAG_KEY and not key.lower().startswith("aws:")
        if not key_fits or not _TAG_CHARACTERS.fullmatch(key):
            message = f"expected a key of 1 to {_MAX_TAG_KEY} {_TAG_CHARACTERS_IN_WORDS}, not beginning with aws:"
            yield Finding(("storage", "tags", key), message)
        if len(value) > _MAX_TAG_VALUE or not _TAG_CHARACTERS.fullmatch(value):
            message = f"expected at most {_MAX_TAG_VALUE} {_TAG_CHARACTERS_IN_WORDS}"
            yield Finding(("storage", "tags", key), message)


def _scheme(location: str) -> str:
    """The scheme of a URL in small letters; empty for a path."""
    scheme, separator, _ = location.partition("://")
    return scheme.lower() if separator else ""


@check("output")
def storage_options_have_a_use(spec: JobSpec) -> Iterator[Finding]:
    """A directory can neither encrypt nor tag: ignoring the wish in silence would be worse than refusing it."""
    if _scheme(spec.output) not in {"", "file"}:
        return
    storage, default = spec.storage, type(spec.storage)()
    for field in ("encryption", "kms_key", "storage_class", "tags"):
        if getattr(storage, field) != getattr(default, field):
            yield Finding(("storage", field), "needs an output at s3://…; output is a directory")


@check("export")
def formats_are_named_once(spec: JobSpec) -> Iterator[Finding]:
    """A format is there or not."""
    for index, name in enumerate(spec.export):
        if name in spec.export[:index]:
            yield Finding(("export", index), f"{name} is named twice")


CHECKS: tuple[Check, ...] = (
    *TASK_CHECKS,
    search_fields_have_a_use,
    max_epochs_allow_a_rung,
    min_epochs_within_max_epochs,
    *SPACE_CHECKS,
    *CODE_CHECKS,
    *DATA_CHECKS,
    *TABLE_CHECKS,
    *FILE_CHECKS,
    *FOLD_CHECKS,
    min_delta_has_a_use,
    seeds_need_a_validation_split,
    kms_key_has_a_use,
    part_size_is_possible,
    tags_are_possible,
    storage_options_have_a_use,
    formats_are_named_once,
)
