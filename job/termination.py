"""The termination message: how a run ended, as one JSON object of at most 4096 bytes in a file.

Kubernetes reads the file when the container has ended and shows it in the pod's status, so that nobody need look for
the log; the workflow of GitHub Actions reads the same. Where nobody asks for it, none is written.

The limit is Kubernetes': https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

import json
import os
import time
import traceback
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from job.errors import EXIT_DONE, EXIT_UNFORESEEN, EXIT_USAGE, InterruptedByUser, JobError, LockedError, Preempted
from job.redaction import redact
from job.signals import told_of_abrupt_end
from job.strict_json import strict_json

LIMIT = 4096
# Kubernetes makes it in every container; nobody else does.
_DEFAULT = Path("/dev/termination-log")
# What gives way first where there is too much to say. A URL that is cut leads nowhere: it is left out instead.
_GIVES_WAY = ("reason", "advice", "test", "manifest", "run_uri", "objective", "run_id")
_URLS = frozenset({"manifest", "run_uri"})
# For a program that opens the pod's status and for a person alike: below this a reason says too little.
_LEAST_REASON = 400


@dataclass(slots=True)
class Ending:
    """What is known of a run; filled in as it becomes known, told when its process ends.

    Attributes:
        run_id, run_uri: which run, and its folder as a person would type it.
        manifest: where it is, once the run is published.
        objective, best_score: of the published run's best trial, at its best epoch.
        test: the published model's scores on the test split.
        is_new: whether this process has published it.
        skipped: it was published already: nothing was trained.
    """

    run_id: str | None = None
    run_uri: str | None = None
    manifest: str | None = None
    objective: str | None = None
    best_score: float | None = None
    test: Mapping[str, float] | None = None
    is_new: bool = False
    skipped: bool = False
    _started: float = field(default_factory=time.monotonic)

    def message(self, error: BaseException | None) -> bytes:
        """The termination message of a process that ends with an error, or well.

        Args:
            error: a JobError, or whatever else was raised; None if all is done.

        Returns:
            A JSON object in UTF-8 of at most 4096 bytes, without secrets.
        """
        exit_code, reason, advice = _told(error)
        return _fitting(
            {
                "exit_code": exit_code,
                "status": self._status(error),
                "reason": reason,
                "advice": advice,
                "run_id": self.run_id,
                "run_uri": self.run_uri,
                "manifest": self.manifest,
                "objective": self.objective,
                "best_score": self.best_score,
                "test": self.test,
                "skipped": self.skipped,
                "seconds": round(time.monotonic() - self._started, 3),
            }
        )

    def _status(self, error: BaseException | None) -> str:
        if error is None:
            return "published" if self.is_new else "unchanged"
        if isinstance(error, LockedError):
            return "locked"
        return "interrupted" if isinstance(error, InterruptedByUser | Preempted) else "failed"


class MisusedError(Exception):
    """The command line was wrong, and nothing of a run is known. Only for the message; it is never raised."""


@contextmanager
def termination_message(path: str | None, ending: Ending) -> Iterator[None]:
    """Have the end of the block written down, whatever it is, an abrupt end by a second signal included.

    Args:
        path: the file; None for Kubernetes', where there is one.
        ending: told as it is when the block ends.
    """
    with told_of_abrupt_end(lambda error: write_message(path, ending, error)):
        try:
            yield
        except Exception as error:
            write_message(path, ending, error)
            raise
    write_message(path, ending, None)


def write_message(path: str | None, ending: Ending, error: BaseException | None) -> None:
    """Write the termination message; that it cannot be written is never an error.

    Args:
        path: the file; None for Kubernetes', where there is one.
        ending: what is known.
        error: what ended the process; None if all is done.
    """
    file = _DEFAULT if path is None else Path(path)
    if path is None and not (file.is_file() and os.access(file, os.W_OK)):
        return
    # In place: the file is mounted, and cannot be replaced by another one. What stands there for any cause is worth
    # less than the exit code that is about to be told.
    with suppress(Exception):
        file.write_bytes(ending.message(error))


def _told(error: BaseException | None) -> tuple[int, str | None, str | None]:
    """Exit code, reason and advice."""
    if error is None:
        return EXIT_DONE, None, None
    if isinstance(error, MisusedError):
        return EXIT_USAGE, str(error), None
    if isinstance(error, JobError):
        # A wrong spec has a line for each problem.
        return error.exit_code, _in_one_line(error.message), error.advice
    reason = "".join(traceback.format_exception_only(error))
    return EXIT_UNFORESEEN, _in_one_line(reason), "please report it, with the log"


def _in_one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _fitting(message: dict[str, Any]) -> bytes:
    """The message as JSON, with as much left out as must be."""
    # Secrets first: of one that is cut the rest would not be known for one.
    redacted = {name: redact(strict_json(value)) for name, value in message.items()}
    for name in _GIVES_WAY:
        if len(_encoded(redacted)) <= LIMIT:
            break
        least = _LEAST_REASON if name == "reason" else 0
        redacted[name] = _shortened(redacted, name, least)
    return _encoded(redacted)


def _shortened(message: dict[str, Any], name: str, least: int) -> str | None:
    text = message[name]
    if not isinstance(text, str) or name in _URLS:
        return None

    def is_too_long(kept: int) -> bool:
        return len(_encoded(message | {name: f"{text[:kept]}…"})) > LIMIT

    # One less than the first number of characters that is too many; where even none is, the next field gives way too.
    kept = max(bisect_left(range(len(text)), 1, key=is_too_long) - 1, least)
    return text if kept >= len(text) else f"{text[:kept]}…" if kept > 0 else None


def _encoded(message: dict[str, Any]) -> bytes:
    # The environment may hold bytes that are no text: they come as halves of surrogate pairs.
    return json.dumps(message, ensure_ascii=False, allow_nan=False).encode(errors="replace")
