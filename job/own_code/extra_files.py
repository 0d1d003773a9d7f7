"""Extra files beside a module: a folder, the objects under a prefix, or a `.zip`, none of which is trusted.

Nothing is written outside the module's folder: no absolute paths, no `..`, no links; and there are limits to how much
is written. Names are those that every file system takes apart the same way.
"""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from job.disk import clear_disk_errors, require_space
from job.errors import ObjectNotFoundError
from job.own_code.own_code import Section, code_error
from job.store import ObjectStore

MAX_FILES = 10_000
MAX_BYTES = 2 * 1024**3
_PIECE = 1024**2
# What Python itself writes.
_IGNORED = "__pycache__"


class _Room:
    """Counts what is added against the limits."""

    def __init__(self, shown: str, section: Section) -> None:
        self._shown = shown
        self._section = section
        self._files = 0
        self._bytes = 0

    def take(self, size: int, *, is_file: bool = True) -> None:
        self._files += is_file
        self._bytes += size
        if self._files > MAX_FILES or self._bytes > MAX_BYTES:
            raise code_error(
                self._section,
                f"{self._shown} holds more than {MAX_FILES} files or {MAX_BYTES // 2**30} GiB: "
                f"{self._section}.files is for what lies beside code",
            )


def add_folder(folder: Path, shown: str, module_file: Path, section: Section) -> list[str]:
    """Copy a folder's files; returns their names, with `/`. Raises JobError: they cannot be had, or not safely."""
    if not folder.is_dir():
        raise code_error(section, f"{shown}: there is no such folder")
    names: list[str] = []
    room = _Room(shown, section)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if _IGNORED in relative.parts or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink() or not path.is_file():
            raise code_error(section, f"{shown}: {relative} is no plain file: links are not followed")
        room.take(path.stat().st_size)
        with path.open("rb") as content:
            _add(content, relative.as_posix(), shown, module_file, section)
        names.append(relative.as_posix())
    return names


def add_prefix(  # noqa: PLR0913, PLR0917 - where from, where to, and how
    store: ObjectStore,
    prefix: str,
    shown: str,
    module_file: Path,
    section: Section,
    fetch: Callable[[str, str, ObjectStore, str, Path], None],
    field: str,
) -> list[str]:
    """Copy the objects under a prefix; returns their names below it. Raises as `add_folder` does.

    Args:
        store: holds them.
        prefix: ends with `/`.
        shown: what the user calls the prefix.
        module_file: what they are laid beside.
        section: names the code.
        fetch: `ObjectPins.fetch`.
        field: what to pin them under.
    """
    names: list[str] = []
    room = _Room(shown, section)
    copy = module_file.parent.with_name(module_file.parent.name + ".object")
    for entry in sorted(store.list(prefix), key=lambda entry: entry.key):
        name = entry.key.removeprefix(prefix)
        if not name or name.endswith("/") or _IGNORED in PurePosixPath(name).parts:
            continue
        room.take(entry.size)
        try:
            fetch(f"{field}/{name}", f"{shown}/{name}", store, entry.key, copy)
            with copy.open("rb") as content:
                _add(content, name, shown, module_file, section)
        except ObjectNotFoundError as error:
            raise code_error(section, f"{shown}/{name}: the object went while it was read") from error
        finally:
            copy.unlink(missing_ok=True)
        names.append(name)
    if not names:
        raise code_error(section, f"{shown}: there are no objects under this prefix")
    return names


def add_zip(archive: Path, shown: str, module_file: Path, section: Section) -> list[str]:
    """Unpack a `.zip` file; returns its files' names. Raises as `add_folder` does."""
    names: list[str] = []
    room = _Room(shown, section)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [one for one in opened.infolist() if not one.is_dir()]
            for member in members:
                # What the archive says of itself, before anything is written; what comes out is counted again.
                room.take(member.file_size)
            require_space(module_file.parent, sum(member.file_size for member in members))
            room = _Room(shown, section)
            for member in members:
                _refuse_special(member, shown, section)
                if _IGNORED in PurePosixPath(member.filename).parts:
                    continue
                room.take(0)
                with opened.open(member) as content:
                    _add(_Counted(content, room), member.filename, shown, module_file, section)
                names.append(member.filename)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise code_error(section, f"{shown} cannot be unpacked: {error}") from error
    return names


def _refuse_special(member: zipfile.ZipInfo, shown: str, section: Section) -> None:
    mode = member.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in {0, stat.S_IFREG}:
        raise code_error(section, f"{shown}: {member.filename} is no plain file: links are not unpacked")
    if member.flag_bits & 1:
        raise code_error(section, f"{shown}: {member.filename} is encrypted")


class _Counted:
    """Reads a member, and stops where it holds more than the archive says."""

    def __init__(self, content: IO[bytes], room: _Room) -> None:
        self._content = content
        self._room = room

    def read(self, size: int = _PIECE) -> bytes:
        piece = self._content.read(size)
        self._room.take(len(piece), is_file=False)
        return piece


def _add(content: "IO[bytes] | _Counted", name: str, shown: str, module_file: Path, section: Section) -> None:
    """Write one file below the module's folder; the module itself may be among the files, if it is the same."""
    path = _safe_path(name, shown, module_file.parent, section)
    if path == module_file:
        if not _is_same(content, module_file):
            raise code_error(section, f"{shown} holds another {name} than {section}.source")
        return
    with clear_disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as copy:
                shutil.copyfileobj(content, copy, _PIECE)
        except (FileExistsError, NotADirectoryError) as error:
            raise code_error(section, f"{shown}: {name} is there twice") from error


def _is_same(content: "IO[bytes] | _Counted", module_file: Path) -> bool:
    with module_file.open("rb") as module:
        return all(piece == module.read(len(piece)) for piece in _pieces(content)) and not module.read(1)


def _pieces(content: "IO[bytes] | _Counted") -> Iterator[bytes]:
    while piece := content.read(_PIECE):
        yield piece


def _safe_path(name: str, shown: str, folder: Path, section: Section) -> Path:
    parts = name.split("/")
    is_strange = any(part in {"", ".", ".."} or "\\" in part or ":" in part or "\0" in part for part in parts)
    path = folder.joinpath(*parts)
    if is_strange or not path.resolve().is_relative_to(folder.resolve()):
        raise code_error(section, f"{shown}: the name {name!r} leads out of its folder, or is none for a file")
    return path
