"""The exit codes, in the code and in the documentation."""

from pathlib import Path

import pytest

from job.cli import failure_text
from job.errors import (
    ERRORS_WITH_EXIT_CODES,
    AccessError,
    ConditionsUnsupportedError,
    JobError,
    ObjectNotFoundError,
    PreconditionFailedError,
    Problem,
    SpecError,
    StoreError,
)

EXIT_CODES = {
    "SpecError": 10,
    "ModelCodeError": 11,
    "DataError": 12,
    "SearchFailedError": 13,
    "StateConflictError": 14,
    "AccessError": 15,
    "StoreError": 20,
    "LockedError": 75,
    "InterruptedByUser": 130,
    "Preempted": 143,
}


def documented_exit_codes():
    page = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    return {row[1].strip("`"): (int(row[0]), row[3]) for row in rows[2:] if row[1] != "-"}


def all_errors(error=JobError):
    for subclass in error.__subclasses__():
        yield subclass
        yield from all_errors(subclass)


def test_the_exit_codes_are_those_promised():
    """Exit codes are an interface: Kubernetes' podFailurePolicy refers to them."""
    assert {error.__name__: error.exit_code for error in ERRORS_WITH_EXIT_CODES} == EXIT_CODES


def test_the_documented_exit_codes_are_those_of_the_code():
    """docs/exit-codes.md has every error, with its code and whether trying again may help."""
    assert documented_exit_codes() == {
        error.__name__: (error.exit_code, "no" if error.permanent else "yes") for error in ERRORS_WITH_EXIT_CODES
    }


def test_every_error_is_in_the_table():
    """No error ends with a code that the table lacks; the store's own kinds end as the store's error."""
    kinds = {ObjectNotFoundError, PreconditionFailedError, ConditionsUnsupportedError}
    assert set(all_errors()) - kinds == set(ERRORS_WITH_EXIT_CODES)
    assert {kind.exit_code for kind in kinds} == {StoreError.exit_code}


def test_a_problem_reads_as_one_line():
    """Path, expectation, value and origin stand in one line."""
    problem = Problem("search.max_epochs", "expected a whole number", '"ten"', "--set")
    assert str(problem) == 'search.max_epochs: expected a whole number (found "ten") [from --set]'


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (
            SpecError([Problem("a", "b"), Problem("c", "d")]),
            ["tuning-job: the job spec is wrong:", "  a: b", "  c: d"],
        ),
        (
            AccessError("s3://key:hunter2@bucket refuses", advice="ask for s3:PutObject"),
            ["tuning-job: s3://<redacted>@bucket refuses", "What can be done: ask for s3:PutObject"],
        ),
    ],
)
def test_a_failures_text_has_every_problem_the_advice_and_the_codes_meaning(error, lines):
    """A person reads what is wrong, what to do, and what the exit code means; secrets are gone."""
    text = failure_text(error).splitlines()
    assert text[:-1] == lines
    assert text[-1].startswith(f"Exit code {error.exit_code}: {error.meaning}; trying again will not help.")


def test_a_transient_failure_says_so():
    """Where trying again may help, the text says that it may."""
    assert failure_text(StoreError("no answer")).endswith("the same command may succeed later.")
