"""From what the user gave to a JobSpec: fetch the document, lay the overrides over it, validate; check access."""

import re
from collections.abc import Sequence

from job.errors import Problem, SpecError
from job.redaction import show
from job.resolve.access import AccessProblem, check_access, require_access, storage_options
from job.resolve.code_locations import CODE_LOCATION_CHECKS, LOCAL_CODE_CHECKS
from job.resolve.fetch import fetch_document
from job.resolve.headers import HEADER_CHECKS
from job.resolve.locations import LOCAL_FILE_CHECKS, LOCATION_CHECKS
from job.settings import RUN_ID_VARIABLE, SPEC_VARIABLE, Settings
from job.spec import JobSpec
from job.spec.overrides import Override, apply_overrides
from job.spec.validation import validate_document

__all__ = [
    "AccessProblem",
    "check_access",
    "require_access",
    "resolve_run_id",
    "resolve_spec",
    "storage_options",
]

# One segment of an object's key, as the names of Kubernetes' Jobs and the ids of workflow runs are.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def resolve_run_id(settings: Settings, argument: str | None) -> str | None:
    """The run id that the user gave; None leaves it to the job. Raises SpecError where it cannot be one."""
    run_id, origin = (settings.run_id, RUN_ID_VARIABLE) if argument is None else (argument, "--run-id")
    if run_id is not None and not _RUN_ID.fullmatch(run_id):
        expected = "expected 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
        raise SpecError([Problem(origin, expected, show(run_id))])
    return run_id


def resolve_spec(
    settings: Settings,
    *,
    spec: str | None = None,
    overrides: Sequence[Override] = (),
    with_local_files: bool = True,
) -> JobSpec:
    """The spec that the user means: `--set` over the environment over the document over the defaults.

    Args:
        settings: the environment.
        spec: the `--spec` argument (a path, a URL, `-` or a document); None takes the environment's.
        overrides: from the command line; they win.
        with_local_files: whether inputs that are local files must exist.

    Raises:
        SpecError: the document is missing, unreadable or wrong; with every problem of its fields.
        AccessError, StoreError: the store that holds the document refuses or fails.
    """
    source, origin = (settings.spec, SPEC_VARIABLE) if spec is None else (spec, "--spec")
    document = {} if source is None else fetch_document(source, origin)
    result = apply_overrides(document, [*settings.overrides, *overrides])
    return validate_document(
        result.document,
        result.origins,
        found_before=result.problems,
        more_checks=(
            *LOCATION_CHECKS,
            *CODE_LOCATION_CHECKS,
            *((*LOCAL_FILE_CHECKS, *HEADER_CHECKS, *LOCAL_CODE_CHECKS) if with_local_files else ()),
        ),
    )
