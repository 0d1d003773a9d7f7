"""What the environment says: the only reader of its variables.

Kinds of variables that begin with `JOB_`:

- control variables: `JOB_SPEC`, `JOB_RUN_ID`, `JOB_SCRATCH`, `JOB_TERMINATION_LOG`; and what is known of the code's
  origin, `JOB_GIT_COMMIT` (or the `GITHUB_SHA` of a GitHub workflow) and `JOB_IMAGE_DIGEST`;
- overrides of the spec's fields: `JOB_NAME`, `JOB_SEARCH__MAX_EPOCHS`;
- anything else with `__` names a field that does not exist: an error of the spec;
- anything else without it is not ours: Kubernetes gives every container `JOB_SERVICE_HOST` and more where a service
  is called `job`. That is worth a warning.

An empty variable counts as not set, because templates and workflows write one where a value is missing; but not an
empty `JOB_SPEC`: the ConfigMap that it comes from may have been emptied, and the quickstart is no night's work.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from job.errors import Problem, SpecError
from job.spec.fields import nearest, paths_named
from job.spec.model import JobSpec
from job.spec.overrides import VARIABLE_PREFIX, Override, variable_name, variable_segments

SPEC_VARIABLE = "JOB_SPEC"
RUN_ID_VARIABLE = "JOB_RUN_ID"
GIT_COMMIT_VARIABLES = ("JOB_GIT_COMMIT", "GITHUB_SHA")
IMAGE_DIGEST_VARIABLE = "JOB_IMAGE_DIGEST"
SCRATCH_VARIABLE = "JOB_SCRATCH"
TERMINATION_LOG_VARIABLE = "JOB_TERMINATION_LOG"

# For the reference page, with the meaning of each.
CONTROL_VARIABLES: dict[str, str] = {
    SPEC_VARIABLE: "the job spec: a path, an `s3://` URL, `-` for standard input, or the document itself",
    RUN_ID_VARIABLE: "the run to make or to go on with; else the newest unfinished one, or a new one",
    SCRATCH_VARIABLE: "the folder for arrays, checkpoints and what is not stored yet, one folder in it per run; "
    "`tuning-job` in the system's temporary folder without it",
    TERMINATION_LOG_VARIABLE: "the file that gets one JSON object of at most 4096 bytes when a run ends; "
    "`/dev/termination-log` without it, where Kubernetes has made that",
    GIT_COMMIT_VARIABLES[0]: "the commit that the code was built from, for the manifest",
    GIT_COMMIT_VARIABLES[1]: "the same, as GitHub's workflows set it",
    IMAGE_DIGEST_VARIABLE: "the digest of the container image, for the manifest",
}

_BACKEND_VARIABLE, _BACKEND = "KERAS_BACKEND", "tensorflow"

# Kubernetes sets it in the pods of Indexed Jobs.
_KNOWN_OF_OTHERS = {"JOB_COMPLETION_INDEX"}


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once.

    Attributes:
        spec: path, URL or document of the spec; None for all defaults.
        run_id: the run to make or to go on with; None leaves it to the job.
        overrides: of the spec's fields; whole sections before their fields.
        scratch: the folder for what lives on this machine's disk; None for the default.
        termination_log: the file for the termination message; None for Kubernetes' own, where there is one.
        git_commit, image_digest: where the code comes from, as far as the environment tells.
        warnings: what looks like ours and is not.
    """

    spec: str | None = None
    run_id: str | None = None
    overrides: tuple[Override, ...] = ()
    scratch: str | None = None
    termination_log: str | None = None
    git_commit: str | None = None
    image_digest: str | None = None
    warnings: tuple[str, ...] = ()


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read all that concerns the job from environment variables.

    Raises:
        SpecError: Keras is told to compute by something else than TensorFlow.
    """
    backend = environ.get(_BACKEND_VARIABLE) or _BACKEND
    if backend != _BACKEND:
        raise SpecError([Problem(_BACKEND_VARIABLE, f"expected {_BACKEND}: the job trains on TensorFlow", backend)])
    given = {name: value for name, value in environ.items() if value}
    ours = sorted(
        name
        for name in given
        if name.startswith(VARIABLE_PREFIX) and name not in CONTROL_VARIABLES and name not in _KNOWN_OF_OTHERS
    )
    overrides = [Override(name, variable_segments(name), given[name]) for name in ours]
    fields = {field.upper() for field in JobSpec.model_fields}
    return Settings(
        spec=environ.get(SPEC_VARIABLE),
        run_id=given.get(RUN_ID_VARIABLE),
        overrides=tuple(
            override
            for override in sorted(overrides, key=lambda override: len(override.segments))
            if len(override.segments) > 1 or override.segments[0].upper() in fields
        ),
        scratch=given.get(SCRATCH_VARIABLE),
        termination_log=given.get(TERMINATION_LOG_VARIABLE),
        git_commit=next((given[name] for name in GIT_COMMIT_VARIABLES if name in given), None),
        image_digest=given.get(IMAGE_DIGEST_VARIABLE),
        warnings=tuple(
            _warning(override.origin)
            for override in overrides
            if len(override.segments) == 1 and override.segments[0].upper() not in fields
        ),
    )


def _warning(name: str) -> str:
    field = variable_segments(name)[0].lower()
    paths = [*paths_named(field), nearest(field, JobSpec.model_fields)]
    hint = next((f"; did you mean {variable_name(path.split('.'))}?" for path in paths if path), "")
    return f"the variable {name} is not one of this job's and is ignored{hint}"
