"""Bringing the user's own code into the run's scratch folder, once per start, and checking what it is."""

import hashlib
import importlib.machinery
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from job.disk import clear_disk_errors
from job.errors import AccessError, ObjectNotFoundError
from job.own_code.extra_files import add_folder, add_prefix, add_zip
from job.own_code.own_code import CodeSource, OwnCode, Section, code_error
from job.records import SourceObject
from job.redaction import redact_text
from job.spec.code import installed_function
from job.store import ObjectStore, open_store, split_object_url

MAX_MODULE_BYTES = 10 * 1024**2
_NAME_LENGTH = 12


class Pins(Protocol):
    """Fetches objects in the versions that the run started with, and notes what was read; see `job.data.pins`."""

    read: dict[str, SourceObject]

    def read_in_place(self, field: str, location: str, size: int) -> None:
        """Note a local file."""
        ...

    def fetch(self, field: str, location: str, store: ObjectStore, key: str, path: Path) -> None:
        """Copy an object to a local file."""
        ...


def fetch_code(wanted: CodeSource, folder: Path, pins: Pins) -> OwnCode:
    """Copy a module and what lies beside it; nothing of it is run.

    Args:
        wanted: where it is.
        folder: where to; emptied first.
        pins: which versions of objects to read; told of all that is read, with its SHA-256.

    Raises:
        ModelCodeError, DataError: it is not there, or not what its SHA-256 says.
        AccessError, StoreError: a store or the file system refuses or fails.
    """
    shown = redact_text(wanted.source)
    installed = installed_function(wanted.source)
    if installed is not None:
        file, root = _find_installed(installed.module, wanted)
        found, module = sha256_of(file), installed.module
        pins.read_in_place(_field(wanted.section, "source"), shown, file.stat().st_size)
    else:
        file, root = _copy_module(wanted, folder, shown, pins), folder
        found = sha256_of(file)
        module = f"own_{wanted.section}_{found[:_NAME_LENGTH]}"
    _require(wanted, "sha256", shown, found, wanted.sha256)
    _note(pins, _field(wanted.section, "source"), found)
    if wanted.files is not None and installed is None:
        _add_files(wanted, wanted.files, file, pins)
    return OwnCode(
        section=wanted.section,
        # As a traceback of the package's own has it.
        shown=shown if installed is None else file.relative_to(root.parent).as_posix(),
        function=wanted.function,
        module=module,
        file=file,
        root=root,
        is_installed=installed is not None,
        sha256=found,
    )


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _field(section: Section, name: str) -> str:
    """The key of `inputs.json`: fields of the `data` section stand there without it."""
    return name if section == "data" else f"model.{name}"


def _note(pins: Pins, field: str, sha256: str) -> None:
    pins.read[field] = pins.read[field].model_copy(update={"sha256": sha256})


def _require(wanted: CodeSource, field: str, shown: str, found: str, expected: str | None) -> None:
    if expected is not None and found != expected:
        raise code_error(
            wanted.section,
            f"{shown} is not the code that {wanted.section}.{field} means: its SHA-256 is {found}, expected {expected}",
            advice="Nothing of it was run. Look at what has changed, then give its SHA-256 in the spec.",
        )


def _copy_module(wanted: CodeSource, folder: Path, shown: str, pins: Pins) -> Path:
    with clear_disk_errors(folder), _clear_scratch_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    copy = folder / PurePosixPath(wanted.source).name
    _fetch_file(wanted, "source", wanted.source, copy, pins)
    if copy.stat().st_size > MAX_MODULE_BYTES:
        raise code_error(wanted.section, f"{shown}: expected a Python file of at most {MAX_MODULE_BYTES // 2**20} MiB")
    return copy


def _fetch_file(wanted: CodeSource, name: str, location: str, copy: Path, pins: Pins) -> None:
    shown, field = redact_text(location), _field(wanted.section, name)
    if "://" in location:
        store, key = _opened(wanted, location)
        try:
            pins.fetch(field, shown, store, key, copy)
        except ObjectNotFoundError as error:
            raise code_error(wanted.section, f"{shown}: there is no such object") from error
        return
    try:
        path = Path(location).expanduser()
        with clear_disk_errors(copy):
            shutil.copyfile(path, copy)
    except FileNotFoundError as error:
        raise code_error(wanted.section, f"{shown}: there is no such file") from error
    except PermissionError as error:
        raise AccessError(f"{shown}: the file may not be read") from error
    except (OSError, RuntimeError) as error:  # a folder; `~` of an unknown user
        reason = getattr(error, "strerror", None) or error
        raise code_error(wanted.section, f"{shown}: the file cannot be read: {reason}") from error
    pins.read_in_place(field, shown, copy.stat().st_size)


def _opened(wanted: CodeSource, location: str) -> tuple[ObjectStore, str]:
    try:
        store_url, key = split_object_url(location)
        return open_store(store_url), key
    except ValueError as error:
        raise code_error(wanted.section, f"{redact_text(location)}: {redact_text(str(error))}") from error


def _add_files(wanted: CodeSource, location: str, module_file: Path, pins: Pins) -> None:
    """Lay the extra files beside the module; the listing of all of them is pinned as one."""
    shown, field = redact_text(location), _field(wanted.section, "files")
    folder = module_file.parent
    if PurePosixPath(location).suffix.lower() == ".zip":
        # Beside the folder: what is in the folder can be imported.
        archive = folder.with_name(folder.name + ".zip")
        try:
            _fetch_file(wanted, "files", location, archive, pins)
            found = sha256_of(archive)
            _require(wanted, "files_sha256", shown, found, wanted.files_sha256)
            add_zip(archive, shown, module_file, wanted.section)
        finally:
            archive.unlink(missing_ok=True)
        _note(pins, field, found)
        return
    if "://" in location:
        store, prefix = _opened(wanted, location.rstrip("/"))
        listing = add_prefix(store, prefix + "/", shown.rstrip("/"), module_file, wanted.section, pins.fetch, field)
    else:
        listing = add_folder(Path(location).expanduser(), shown, module_file, wanted.section)
    found = hashlib.sha256(
        "".join(f"{sha256_of(folder / name)}  {name}\n" for name in sorted(listing)).encode()
    ).hexdigest()
    _require(wanted, "files_sha256", f"the listing of {shown}", found, wanted.files_sha256)
    pins.read_in_place(field, shown, sum((folder / name).stat().st_size for name in listing))
    _note(pins, field, found)


def _find_installed(module: str, wanted: CodeSource) -> tuple[Path, Path]:
    """The file of an installed module, and what belongs to it: found without running any of it."""
    parts = module.split(".")
    search: list[str] | None = None
    root: Path | None = None
    spec = None
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        spec = importlib.machinery.PathFinder.find_spec(name, search)
        if spec is None:
            raise code_error(wanted.section, f"{redact_text(wanted.source)}: no module named {name} is installed")
        search = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if depth == 1 and search:
            root = Path(search[0])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise code_error(wanted.section, f"{redact_text(wanted.source)}: {module} is not a module in Python")
    file = Path(spec.origin)
    return file, root or file


@contextmanager
def _clear_scratch_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AccessError(
            f"the scratch folder {folder} cannot be used: {error.strerror or error}",
            advice="Set JOB_SCRATCH to a folder that the job may write to.",
        ) from error
