"""Every error that the job raises on purpose, and the exit code that each ends with.

    JobError
      SpecError             10  permanent: the spec is wrong
      ModelCodeError        11  permanent: the user's model code is wrong
      DataError             12  permanent: the data, or what is stored of a run, is wrong
      SearchFailedError     13  permanent: no usable trial
      StateConflictError    14  permanent: the run id belongs to another spec
      AccessError           15  permanent: credentials, permissions, missing bucket
      StoreError            20  transient: the object store failed, retries exhausted; or a disk is full
        ObjectNotFoundError     no object has this key
        PreconditionFailedError a conditional write lost
        ConditionsUnsupportedError the server has no conditional writes
      LockedError           75  another live process holds this run
      InterruptedByUser    130  SIGINT
      Preempted            143  SIGTERM: state saved, resumable

Anything else is unforeseen and ends with 1 and a traceback in the log. `job.cli` is the one place that
turns an error into a message and an exit code; a test holds the table in `docs/exit-codes.md` equal to
the classes below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

EXIT_DONE = 0
EXIT_UNFORESEEN = 1
EXIT_USAGE = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the user's input.

    Attributes:
        path: where, as the user wrote it: a field path such as `search.max_epochs`.
        message: what was expected, in one sentence.
        value: what was found, shortened and with secrets removed; None where nothing was.
        origin: what set the value where that is not the document: `--set`, or the variable's name.
    """

    path: str
    message: str
    value: str | None = None
    origin: str | None = None

    def __str__(self) -> str:
        found = "" if self.value is None else f" (found {self.value})"
        origin = "" if self.origin is None else f" [from {self.origin}]"
        return f"{self.path}: {self.message}{found}{origin}"


class JobError(Exception):
    """The root of what the job raises on purpose.

    Args:
        message: one clear sentence or more for the user; no secrets.
        advice: what can be done about it, if anything.
    """

    exit_code: ClassVar[int] = EXIT_UNFORESEEN
    permanent: ClassVar[bool] = True
    meaning: ClassVar[str] = "unforeseen"

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class SpecError(JobError):
    """The job spec is wrong; carries every problem that was found, not only the first."""

    exit_code = 10
    meaning = "the job spec is wrong"

    def __init__(self, problems: Sequence[Problem], *, advice: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems), advice=advice)

    def __reduce__(self) -> tuple[object, ...]:
        """What pickle makes it anew from: not the message, as of other exceptions, but the problems."""
        return type(self), (self.problems,), self.__dict__


class ModelCodeError(JobError):
    """The user's model code is wrong: it does not build, compile or fit the data."""

    exit_code = 11
    meaning = "the model code is wrong"


class DataError(JobError):
    """The data is wrong: the message names the file and the array or column.

    So are the stored objects of a run that a command is to read and that are missing, torn or changed.
    """

    exit_code = 12
    meaning = "the data, or what is stored of a run, is wrong"


class SearchFailedError(JobError):
    """No trial of the search can be used."""

    exit_code = 13
    meaning = "the search produced no usable trial"


class StateConflictError(JobError):
    """The run id belongs to a run with another spec, other data or an incompatible version."""

    exit_code = 14
    meaning = "the run id belongs to another spec"


class AccessError(JobError):
    """The object store refuses us: credentials, permissions or a missing bucket."""

    exit_code = 15
    meaning = "the object store refuses access"


class StoreError(JobError):
    """The object store failed and botocore's retries are exhausted, or a disk is full; trying later may help."""

    exit_code = 20
    permanent = False
    meaning = "the object store failed, or a disk is full; trying again may help"


class ObjectNotFoundError(StoreError):
    """No object has the requested key."""


class PreconditionFailedError(StoreError):
    """A conditional write lost: the object exists already, or has changed since it was read."""


class ConditionsUnsupportedError(StoreError):
    """The server refuses writes with a condition, whatever is there."""


class LockedError(JobError):
    """Another live process holds this run."""

    exit_code = 75
    permanent = False
    meaning = "another live process holds this run"


class InterruptedByUser(JobError):  # noqa: N818 - named for what happened: an interruption is no error
    """SIGINT: the user ended the job."""

    exit_code = 130
    permanent = False
    meaning = "interrupted (SIGINT)"


class Preempted(JobError):  # noqa: N818 - likewise
    """SIGTERM: the platform takes the machine back; finished trials are stored."""

    exit_code = 143
    permanent = False
    meaning = "preempted (SIGTERM): finished trials are stored, the same run id goes on"


# In the order of their codes. The store's subclasses end with their parent's code.
ERRORS_WITH_EXIT_CODES: tuple[type[JobError], ...] = (
    SpecError,
    ModelCodeError,
    DataError,
    SearchFailedError,
    StateConflictError,
    AccessError,
    StoreError,
    LockedError,
    InterruptedByUser,
    Preempted,
)
