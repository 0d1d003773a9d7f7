"""Checks of the places that the user's own code is at."""

from collections.abc import Iterator
from pathlib import Path as FilePath
from pathlib import PurePosixPath

from job.resolve.locations import local_path, problem_of_input, problem_of_place
from job.spec import JobSpec
from job.spec.code import is_code, names_module_file
from job.spec.drafts import Check, Draft, Finding
from job.spec.paths import Path
from job.store.urls import LocalLocation, parse_store_url

_FIELDS: tuple[Path, ...] = (("model", "source"), ("model", "files"), ("data", "files"))


def code_locations(spec: JobSpec) -> Iterator[tuple[Path, str]]:
    """The fields that name files or folders of code, and what they name; `data.source` is among the data's."""
    for path in _FIELDS:
        location = getattr(getattr(spec, str(path[0])), str(path[1]))
        if location is not None and (path[1] == "files" or names_module_file(location) or not is_code(location)):
            yield path, location


def is_code_folder(path: Path, location: str) -> bool:
    """Whether a field of `code_locations` names a folder or prefix, not a file."""
    return path[1] == "files" and PurePosixPath(location).suffix.lower() != ".zip"


def local_code(path: Path, location: str) -> FilePath | None:
    """The absolute path of code that is a local file or folder; None for what is in S3. Raises ValueError."""
    if not is_code_folder(path, location):
        return local_path(location)
    place = parse_store_url(location)
    return place.path if isinstance(place, LocalLocation) else None


def _is_a_place(path: Path) -> Check:
    def find(draft: Draft) -> Iterator[Finding]:
        location = dict(code_locations(draft.spec)).get(path)
        message = None if location is None else problem_of_place(location, lambda one: local_code(path, one))
        if message is not None:
            yield Finding(path, message)

    return Check((path,), find)


def _exists(path: Path) -> Check:
    def find(draft: Draft) -> Iterator[Finding]:
        location = dict(code_locations(draft.spec)).get(path)
        if location is None or problem_of_place(location, lambda one: local_code(path, one)):
            return
        is_folder = is_code_folder(path, location)
        # What is no code at all is a problem of its own.
        if not (is_folder or path[1] == "files" or names_module_file(location)):
            return
        place = local_code(path, location)
        message = None if place is None else problem_of_input(place, location, may_be_folder=is_folder)
        if message is None and place is not None and is_folder and place.is_file():
            message = "expected a folder, an s3:// prefix or a .zip file"
        if message is not None:
            yield Finding(path, message)

    return Check((path,), find)


CODE_LOCATION_CHECKS: tuple[Check, ...] = tuple(_is_a_place(path) for path in _FIELDS)
LOCAL_CODE_CHECKS: tuple[Check, ...] = tuple(_exists(path) for path in _FIELDS)
