"""Whether what a spec names can be reached: inputs read, the output written. Asks the stores themselves."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from job.errors import AccessError, JobError, Problem, SpecError, StoreError
from job.layout import access_check_key
from job.redaction import show
from job.resolve.code_locations import code_locations, is_code_folder
from job.resolve.locations import folder_store, input_locations
from job.spec import JobSpec
from job.spec.paths import format_path
from job.store import StorageOptions, open_store, split_object_url


@dataclass(frozen=True, slots=True)
class AccessProblem:
    """One place that cannot be reached, and the class of error that this is."""

    problem: Problem
    error: type[JobError]


def storage_options(spec: JobSpec) -> StorageOptions:
    """How the spec wants objects to be written."""
    storage = spec.storage
    return StorageOptions(
        encryption=None if storage.encryption == "none" else storage.encryption,
        kms_key=storage.kms_key,
        tags=storage.tags,
        storage_class=storage.storage_class,
        part_bytes=storage.part_size,
    )


def check_access(spec: JobSpec) -> tuple[AccessProblem, ...]:
    """Look at every input, and write and delete a small object under the output; all that fails is returned."""
    return (*_unreadable_inputs(spec), *_unwritable_output(spec))


def require_access(spec: JobSpec) -> None:
    """Raise all that `check_access` finds as one error.

    Raises:
        SpecError: an input does not exist.
        AccessError: otherwise, a store refuses.
        StoreError: otherwise, a store fails; trying again may help.
    """
    found = check_access(spec)
    if not found:
        return
    problems = [one.problem for one in found]
    classes = {one.error for one in found}
    if SpecError in classes:
        raise SpecError(problems)
    # What is permanent decides: trying again would not help it.
    error = AccessError if AccessError in classes else StoreError
    raise error("\n".join(str(problem) for problem in problems))


def _unreadable_inputs(spec: JobSpec) -> Iterator[AccessProblem]:
    inputs = [(f"data.{field}", location, folder_store(location)) for field, location in input_locations(spec.data)]
    inputs += [
        (format_path(path), location, location if is_code_folder(path, location) else None)
        for path, location in code_locations(spec)
    ]
    for path, location, folder in inputs:
        try:
            missing = _missing(location, folder)
        except (AccessError, StoreError) as error:
            yield _problem(path, error.message, location, error)
        else:
            if missing is not None:
                yield AccessProblem(Problem(path, missing, show(location)), SpecError)


def _missing(location: str, folder: str | None) -> str | None:
    """What is not there, of a file or of the store that a folder is; None if all is."""
    if folder is not None:
        found = next(iter(open_store(folder).list()), None)
        return "there is nothing in this folder or under this prefix" if found is None else None
    store_url, key = split_object_url(location)
    return "there is no such file or object" if open_store(store_url).stat(key) is None else None


def _unwritable_output(spec: JobSpec) -> Iterator[AccessProblem]:
    # A name of its own, because several may check at once.
    key = access_check_key(spec.name, uuid.uuid4().hex)
    try:
        store = open_store(spec.output, storage_options(spec))
        store.put(key, b"tuning-job checks that it may write here\n")
        store.stat(key)
        store.delete(key)
    except (AccessError, StoreError) as error:
        yield _problem("output", error.message, spec.output, error)


def _problem(path: str, message: str, location: str, error: AccessError | StoreError) -> AccessProblem:
    kind = AccessError if isinstance(error, AccessError) else StoreError
    return AccessProblem(Problem(path, message, show(location)), kind)
