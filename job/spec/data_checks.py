"""Checks of the `data` section's fields against each other; see `job.spec.checks`."""

from collections.abc import Iterator

from job.redaction import show
from job.spec.datasets import DATASETS, UNSUPPORTED_DATASETS, BuiltinDataset
from job.spec.drafts import Check, Finding, check
from job.spec.fields import listed, nearest
from job.spec.model import JobSpec
from job.spec.objectives import known_task
from job.spec.sections import DEFAULT_TEST_FRACTION, DEFAULT_VALIDATION_FRACTION, DataSpec
from job.spec.sources import KINDS_IN_WORDS, SUFFIXES_IN_WORDS, kind_of, source_kind


@check("data.source", "data.format")
def source_is_known(spec: JobSpec) -> Iterator[Finding]:
    """A source is the name of a built-in set, or a path or URL that says what it holds, by itself or by the format."""
    data = spec.data
    if data.source in UNSUPPORTED_DATASETS:
        yield Finding(("data", "source"), f"this is {UNSUPPORTED_DATASETS[data.source]}; {_sources_in_words()}")
    elif source_kind(data) is None and not _has_unknown_scheme(data.source):
        close = nearest(data.source, DATASETS)
        hint = f"; did you mean {close}?" if close else ""
        yield Finding(("data", "source"), f"{_sources_in_words()}{hint}")


def _sources_in_words() -> str:
    return (
        f"expected {listed(tuple(DATASETS), 'or')}, a {SUFFIXES_IN_WORDS} file by path or s3:// URL, or a folder or "
        "prefix with data.format"
    )


def _has_unknown_scheme(source: str) -> bool:
    # A problem of its own, which `job.resolve` reports together with these.
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme.lower() not in {"file", "s3"}


@check("data.source", "data.format", "data.validation_source")
def validation_source_is_alike(spec: JobSpec) -> Iterator[Finding]:
    """Rows to validate on come from files like the source's."""
    yield from _extra_source(spec.data, "validation_source", spec.data.validation_source)


@check("data.source", "data.format", "data.test_source")
def test_source_is_alike(spec: JobSpec) -> Iterator[Finding]:
    """Rows to test on come from files like the source's."""
    yield from _extra_source(spec.data, "test_source", spec.data.test_source)


def _extra_source(data: DataSpec, field: str, source: str | None) -> Iterator[Finding]:
    """A built-in set goes with .npz files, every other kind with its own."""
    kind = source_kind(data)
    if source is None or kind is None or _has_unknown_scheme(source):
        return
    wanted = "npz" if kind == "builtin" else kind
    if source in DATASETS or kind_of(source, data.format) != wanted:
        yield Finding(("data", field), f"expected {KINDS_IN_WORDS[wanted]}, to go with data.source {show(data.source)}")


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
    if data.validation_source is None:
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


DATA_CHECKS: tuple[Check, ...] = (
    source_is_known,
    validation_source_is_alike,
    test_source_is_alike,
    validation_rows_come_from_one_place,
    test_rows_come_from_one_place,
    fractions_leave_every_split_rows,
)
