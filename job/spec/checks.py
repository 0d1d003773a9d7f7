"""Checks of fields against each other. Each declares the fields that it needs, and runs where those are valid."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from job.spec.datasets import DATASETS, UNSUPPORTED_DATASETS, BuiltinDataset
from job.spec.drafts import Check, Finding, check
from job.spec.fields import listed, nearest
from job.spec.fold_checks import FOLD_CHECKS
from job.spec.model import JobSpec
from job.spec.objectives import known_task
from job.spec.sections import DEFAULT_TEST_FRACTION, DEFAULT_VALIDATION_FRACTION, DataSpec, SearchSpec
from job.spec.space_checks import SPACE_CHECKS
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


@check("data.source")
def source_is_known(spec: JobSpec) -> Iterator[Finding]:
    """A source is the name of a built-in set, or the path or URL of an .npz file."""
    source = spec.data.source
    if source in UNSUPPORTED_DATASETS:
        yield Finding(("data", "source"), f"this is {UNSUPPORTED_DATASETS[source]}; {_sources_in_words()}")
    elif source not in DATASETS and not _names_npz(source):
        close = nearest(source, DATASETS)
        hint = f"; did you mean {close}?" if close else ""
        yield Finding(("data", "source"), f"{_sources_in_words()}{hint}")


def _sources_in_words() -> str:
    return f"expected {listed(tuple(DATASETS), 'or')}, or an .npz file as a path or s3:// URL"


def _names_npz(source: str) -> bool:
    # An unknown scheme is a problem of its own, which `job.resolve` reports together with these.
    return PurePosixPath(source).suffix.lower() == ".npz" or _scheme(source) not in {"", "file", "s3"}


def _scheme(location: str) -> str:
    """The scheme of a URL in small letters; empty for a path."""
    scheme, separator, _ = location.partition("://")
    return scheme.lower() if separator else ""


@check("data.validation_source")
def validation_source_is_npz(spec: JobSpec) -> Iterator[Finding]:
    """Rows to validate on come from an .npz file."""
    yield from _extra_source("validation_source", spec.data.validation_source)


@check("data.test_source")
def test_source_is_npz(spec: JobSpec) -> Iterator[Finding]:
    """Rows to test on come from an .npz file."""
    yield from _extra_source("test_source", spec.data.test_source)


def _extra_source(field: str, source: str | None) -> Iterator[Finding]:
    if source is not None and not _names_npz(source):
        yield Finding(("data", field), "expected an .npz file as a path or s3:// URL")


@check("data.validation_source", "data.validation_fraction")
def validation_rows_come_from_one_place(spec: JobSpec) -> Iterator[Finding]:
    """Either a file or a share of the rows, not both."""
    if spec.data.validation_source is not None and spec.data.validation_fraction is not None:
        message = "contradicts data.validation_source, which gives the validation rows: keep one of the two"
        yield Finding(("data", "validation_fraction"), message)


@check("data.test_source", "data.test_fraction")
def test_rows_come_from_one_place(spec: JobSpec) -> Iterator[Finding]:
    """Either a file or a share of the rows, not both."""
    if spec.data.test_source is not None and spec.data.test_fraction is not None:
        message = "contradicts data.test_source, which gives the test rows: keep one of the two"
        yield Finding(("data", "test_fraction"), message)


@check(
    "data.source",
    "data.validation_source",
    "data.folds",
    "data.validation_fraction",
    "data.test_source",
    "data.test_fraction",
    "data.split",
    "data.task",
)
def fractions_leave_every_split_rows(spec: JobSpec) -> Iterator[Finding]:
    """Something remains to train on, and no drawn split of a built-in set is empty."""
    data = spec.data
    validation, test = data.validation_fraction or 0.0, data.test_fraction or 0.0
    if validation + test >= 1:
        message = f"expected less than 1 together with data.test_fraction, which is {test}"
        yield Finding(("data", "validation_fraction"), message)
    elif data.source in DATASETS:
        yield from _empty_splits(data, DATASETS[data.source])


def _empty_splits(data: DataSpec, dataset: BuiltinDataset) -> Iterator[Finding]:
    """The rule of `job.data`: the test rows are drawn first, from all rows; validation from what remains."""
    rows = dataset.rows
    fractions = []
    if data.test_source is None and dataset.test_rows is None:
        fractions.append(("test", data.test_fraction or DEFAULT_TEST_FRACTION))
    if data.validation_source is None and data.folds is None:
        fractions.append(("validation", data.validation_fraction or DEFAULT_VALIDATION_FRACTION))
    for split, fraction in fractions:
        drawn = round(fraction * rows)
        # A stratified draw leaves every class a row to train on.
        most = rows - (1 if dataset.classes is None or not _may_stratify(data) else dataset.classes)
        if not 0 < drawn <= most:
            message = (
                f"expected a share that draws 1 to {most} of the {rows} rows of {dataset.name} that there are to "
                f"draw from; it draws {drawn}"
            )
            yield Finding(("data", f"{split}_fraction"), message)
        rows -= drawn


def _may_stratify(data: DataSpec) -> bool:
    return data.split != "random" and known_task(data) == "classification"


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


@check("output")
def storage_options_have_a_use(spec: JobSpec) -> Iterator[Finding]:
    """A directory can neither encrypt nor tag: ignoring the wish in silence would be worse than refusing it."""
    if _scheme(spec.output) not in {"", "file"}:
        return
    storage, default = spec.storage, type(spec.storage)()
    for field in ("encryption", "kms_key", "storage_class", "tags"):
        if getattr(storage, field) != getattr(default, field):
            yield Finding(("storage", field), "needs an output at s3://…; output is a directory")


CHECKS: tuple[Check, ...] = (
    *TASK_CHECKS,
    search_fields_have_a_use,
    max_epochs_allow_a_rung,
    min_epochs_within_max_epochs,
    *SPACE_CHECKS,
    source_is_known,
    validation_source_is_npz,
    test_source_is_npz,
    validation_rows_come_from_one_place,
    test_rows_come_from_one_place,
    *FOLD_CHECKS,
    fractions_leave_every_split_rows,
    min_delta_has_a_use,
    seeds_need_a_validation_split,
    kms_key_has_a_use,
    part_size_is_possible,
    tags_are_possible,
    storage_options_have_a_use,
)
