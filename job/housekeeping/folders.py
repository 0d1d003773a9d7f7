"""Where the runs are in a store: which of its keys belong to which run. By keys alone; nothing is read."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from job.errors import DataError, ObjectNotFoundError
from job.layout import LOGS_FOLDER, RUN_ENTRIES, RUNS_FOLDER
from job.records import Record
from job.store import ListedObject, ObjectStore

_RUNS_SEGMENT = RUNS_FOLDER.rstrip("/")
# What tells a run from another folder: the files right in it, and its log, which is the last to be deleted. Not all
# that lies under its folders: a run may be called `logs` or `trials`, and its name `runs`.
_OWN_FILES = frozenset(entry.key for entry in RUN_ENTRIES if "/" not in entry.key)
_OWN_LOG = re.compile(rf"{re.escape(LOGS_FOLDER)}job-[^/]+\.jsonl")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's keys in a store that was opened at an output or at a name under it.

    Attributes:
        base: the prefix of the name in the store: empty where the store is the name's own folder.
        sizes: the bytes of each object, by key relative to the run.
        modified: likewise when it was written, by the store's clock.
    """

    base: str
    run_id: str
    sizes: dict[str, int]
    modified: dict[str, datetime] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What the run's keys in the store begin with."""
        return run_prefix(self.base, self.run_id)

    def key(self, relative: str) -> str:
        """The store key of an object named relative to the run."""
        return self.prefix + relative

    @property
    def is_ours(self) -> bool:
        """Whether any object is named as a run's are."""
        return any(_is_own(key) for key in self.sizes)


def run_prefix(base: str, run_id: str) -> str:
    """What the keys of a run begin with, under a name's prefix."""
    return f"{base}{RUNS_FOLDER}{run_id}/"


def list_runs(store: ObjectStore) -> Iterator[ListedObject]:
    """Yield the objects under `runs/` and `<name>/runs/`: what else lies in the bucket may be millions."""
    for name in store.list_folders(""):
        yield from store.list(RUNS_FOLDER if name == _RUNS_SEGMENT else f"{name}/{RUNS_FOLDER}")


def find_runs(listing: Iterable[ListedObject]) -> list[RunFolder]:
    """Sort a store's listing (see `list_runs`) into runs.

    The store may be an output (`<name>/runs/<run_id>/…`) or a name (`runs/<run_id>/…`). Which it is, is told by the
    names of objects, because `runs` is also what people call their outputs. Keys that belong to no run are left out.
    """
    entries = [(entry, list(_readings(entry.key))) for entry in listing]
    bases = {base for _, readings in entries for base, _, relative in readings if _is_own(relative)}
    found: dict[tuple[str, str], RunFolder] = {}
    for entry, readings in entries:
        fitting = next((reading for reading in readings if reading[0] in bases), None)
        if fitting is not None:
            base, run_id, relative = fitting
            folder = found.setdefault((base, run_id), RunFolder(base, run_id, {}))
            folder.sizes[relative], folder.modified[relative] = entry.size, entry.modified
    return [folder for _, folder in sorted(found.items())]


def is_run(listing: Iterable[ListedObject]) -> bool:
    """Whether a listing is that of a single run's folder."""
    return any(_is_own(entry.key) for entry in listing)


def _readings(key: str) -> Iterator[tuple[str, str, str]]:
    """The ways to take a key for an object of a run: base, run id, and the key relative to the run."""
    for depth, base_segments in ((3, 0), (4, 1)):
        segments = key.split("/", depth - 1)
        if len(segments) == depth and segments[base_segments] == _RUNS_SEGMENT:
            yield "".join(f"{segment}/" for segment in segments[:base_segments]), segments[-2], segments[-1]


def _is_own(relative: str) -> bool:
    return relative in _OWN_FILES or _OWN_LOG.fullmatch(relative) is not None


class _Pointing(Record):
    """What `latest.json` and `champion.json` have in common."""

    run_id: str


def read_pointer(store: ObjectStore, key: str) -> str | None:
    """The run id that a pointer (`latest.json`, `champion.json`) names; None where there is no pointer.

    Raises:
        DataError: the object is no pointer.
    """
    try:
        return _Pointing.model_validate_json(store.get(key).data).run_id
    except ObjectNotFoundError:
        return None
    except ValidationError as error:
        raise DataError(f"{store.url}/{key} is not what it should be: {error.errors()[0]['msg']}") from None
