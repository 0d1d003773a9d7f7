"""Checks of the places that a spec names: whether they are places, and whether local files are there."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from job.spec import DataSpec
from job.spec.code import installed_function
from job.spec.datasets import DATASETS, UNSUPPORTED_DATASETS
from job.spec.drafts import Check, Draft, Finding
from job.spec.sources import FOLDER_KINDS, kind_of, names_folder
from job.store import split_object_url
from job.store.urls import LocalLocation, parse_store_url

_URL_WITH_USER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*@")
_INPUT_FIELDS = ("source", "validation_source", "test_source")


def input_locations(data: DataSpec) -> Iterator[tuple[str, str]]:
    """The fields of `data` that name a file or an object, and what they name."""
    for field in _INPUT_FIELDS:
        location = getattr(data, field)
        is_a_name = location is None or location in DATASETS or location in UNSUPPORTED_DATASETS
        # An installed function is no place.
        if location is not None and not is_a_name and installed_function(location) is None:
            yield field, location


def folder_store(location: str) -> str | None:
    """The URL of the store that a folder or prefix of inputs is; None where the location is that of one file."""
    place = parse_store_url(location)
    # Not Path.exists: it raises where a name is too long.
    if isinstance(place, LocalLocation) and os.path.exists(place.path):  # noqa: PTH110
        return location if place.path.is_dir() else None
    return location if location.endswith("/") or names_folder(location) else None


def local_path(location: str) -> Path | None:
    """The absolute path of an input that is a local file or folder; None for what is in S3. Raises ValueError."""
    folder = folder_store(location)
    if folder is not None:
        place = parse_store_url(folder)
        return place.path if isinstance(place, LocalLocation) else None
    store_url, key = split_object_url(location) if "://" in location else (location, "")
    place = parse_store_url(store_url)
    return place.path / key if isinstance(place, LocalLocation) else None


def _output_is_a_place(draft: Draft) -> Iterator[Finding]:
    message = problem_of_place(draft.spec.output, parse_store_url)
    if message is not None:
        yield Finding(("output",), message)


def _input_is_a_place(field: str) -> Check:
    path = ("data", field)

    def find(draft: Draft) -> Iterator[Finding]:
        location = dict(input_locations(draft.spec.data)).get(field)
        message = None if location is None else problem_of_place(location, local_path)
        if message is not None:
            yield Finding(path, message)

    return Check((path,), find)


def problem_of_place(location: str, parse: Callable[[str], object]) -> str | None:
    """Why something is no place, by what `parse` raises; None if it is one."""
    if _URL_WITH_USER.match(location):
        return "credentials are never in a URL: boto3's own chain (AWS_* variables, roles) finds them"
    try:
        parse(location)
    except ValueError as error:
        # The location stands at the end of the line anyway.
        return str(error).removeprefix(repr(location)).removeprefix(":").strip()
    return None


def _input_exists(field: str) -> Check:
    path = ("data", field)

    def find(draft: Draft) -> Iterator[Finding]:
        data = draft.spec.data
        location = dict(input_locations(data)).get(field)
        # What a source is that says nothing of itself is a problem of its own.
        kind = None if location is None else kind_of(location, data.format)
        if location is None or kind is None or problem_of_place(location, local_path):
            return
        place = local_path(location)
        if place is not None:
            message = problem_of_input(place, location, may_be_folder=kind in FOLDER_KINDS)
            if message is not None:
                yield Finding(path, message)

    return Check((path, ("data", "format")), find)


def problem_of_input(place: Path, written: str, *, may_be_folder: bool) -> str | None:
    """Why a local input cannot be read; None if it can."""
    try:
        if place.is_file() or (may_be_folder and place.is_dir()):
            noun = "file" if place.is_file() else "folder"
            return None if os.access(place, os.R_OK) else f"the {noun} may not be read"
        if place.exists():
            return "expected a file, and this is none"
    except OSError as error:  # a folder on the way may not be entered; a name is too long
        return f"the file cannot be reached: {error.strerror}"
    noun = "file or folder" if may_be_folder and names_folder(written) else "file"
    is_relative = "://" not in written and not Path(written).expanduser().is_absolute()
    return f"there is no such {noun} in {Path.cwd()}" if is_relative else f"there is no such {noun}"


LOCATION_CHECKS: tuple[Check, ...] = (
    *(_input_is_a_place(field) for field in _INPUT_FIELDS),
    Check((("output",),), _output_is_a_place),
)
LOCAL_FILE_CHECKS: tuple[Check, ...] = tuple(_input_exists(field) for field in _INPUT_FIELDS)
