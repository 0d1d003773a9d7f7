"""Whether a published run is what its manifest says: every artifact is read and hashed again."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from job.errors import DataError, ObjectNotFoundError
from job.housekeeping.folders import find_runs, is_run, list_runs, read_pointer, run_prefix
from job.layout import CHECKPOINTS_FOLDER, LATEST, LEASE, LOGS_FOLDER, MANIFEST
from job.records import Artifact, Manifest
from job.store import ObjectStore, open_store
from job.store.keys import is_key

# So many artifacts are on disk at a time.
_READERS = 4

# What a run may leave after its manifest, or beside it.
_UNNAMED = (MANIFEST, LEASE)
_UNNAMED_FOLDERS = (LOGS_FOLDER, CHECKPOINTS_FOLDER)


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a run is: under a name (`base` and `run_id`), or in a folder of its own, without a name around it."""

    store: ObjectStore
    run_id: str | None

    @property
    def prefix(self) -> str:
        """What the run's keys in the store begin with."""
        return "" if self.run_id is None else run_prefix("", self.run_id)

    @property
    def url(self) -> str:
        """The run's folder."""
        return f"{self.store.url}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an object; `key` is relative to the run, or `latest.json`."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a run's objects are beside what its manifest says.

    Attributes:
        artifacts: how many the manifest names.
        size: their bytes, as it states them.
        problems: what is not as it should be; none in a sound run.
        notes: what is worth knowing.
    """

    url: str
    run_id: str
    artifacts: int
    size: int
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def locate_run(store: ObjectStore) -> RunPlace:
    """Find the run that a store was opened at.

    Args:
        store: opened at a run (`…/<name>/runs/<run_id>`), or at `…/<name>` for its newest published run.

    Raises:
        DataError: there is no run, or none is published, or `latest.json` is no pointer.
        AccessError, StoreError: the store refuses or fails.
    """
    newest = read_pointer(store, LATEST)
    if newest is not None:
        if not is_key(newest):
            raise DataError(f"{store.url}/{LATEST} is not what it should be: {newest!r} is no run id")
        return RunPlace(store, newest)
    if find_runs(list_runs(store)):
        raise DataError(
            f"{store.url} has no published run: there is no {LATEST}",
            advice="name a run (…/<name>/runs/<run_id>) or one name (…/<name>); `tuning-job runs` lists them",
        )
    if is_run(store.list()):
        return _place_under_name(store)
    raise DataError(
        f"{store.url} holds no run",
        advice="name a run (…/<name>/runs/<run_id>), or …/<name> for its newest published run",
    )


def _place_under_name(store: ObjectStore) -> RunPlace:
    """A run's folder usually lies under its name, where `latest.json` is; a copy of it may lie anywhere."""
    runs_url, _, run_id = store.url.rpartition("/")
    name_url, _, folder = runs_url.rpartition("/")
    if folder == "runs":
        try:
            return RunPlace(open_store(name_url), run_id)
        except ValueError:  # the bucket itself is called `runs`
            pass
    return RunPlace(store, None)


def verify_run(place: RunPlace) -> Verification:
    """Hash a run's artifacts anew and compare them with its manifest.

    Large artifacts pass through the folder for temporary files, four at a time at most.

    Raises:
        DataError: the run has no manifest, or what is there is none.
        AccessError, StoreError: the store refuses or fails; then it is not known whether the run is sound.
    """
    manifest = _manifest(place)
    sizes = {entry.key.removeprefix(place.prefix): entry.size for entry in place.store.list(place.prefix)}
    problems = [*_identity(place, manifest), *_artifact_problems(place, manifest, sizes)]
    notes = [
        Finding(key, "not named by the manifest") for key in sizes if key not in manifest.artifacts and not _may_be(key)
    ]
    if place.run_id is not None:
        pointer_problems, pointer_notes = _pointer_findings(place.store)
        problems += pointer_problems
        notes += pointer_notes
    return Verification(
        url=place.url,
        run_id=manifest.run_id,
        artifacts=len(manifest.artifacts),
        size=sum(artifact.size for artifact in manifest.artifacts.values()),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _manifest(place: RunPlace) -> Manifest:
    try:
        return Manifest.model_validate_json(place.store.get(place.prefix + MANIFEST).data)
    except ObjectNotFoundError:
        raise DataError(
            f"{place.url} is not published: it has no {MANIFEST}, so there is nothing to hold its objects against",
            advice="`tuning-job runs` shows whether it failed, is running, or can be gone on with",
        ) from None
    except ValidationError as error:
        raise DataError(f"{place.url}/{MANIFEST} is not what it should be: {error.errors()[0]['msg']}") from None


def _identity(place: RunPlace, manifest: Manifest) -> Iterator[Finding]:
    if place.run_id is not None and manifest.run_id != place.run_id:
        yield Finding(MANIFEST, f"it is the manifest of run {manifest.run_id}")


def _artifact_problems(place: RunPlace, manifest: Manifest, sizes: dict[str, int]) -> list[Finding]:
    named = sorted(manifest.artifacts.items())
    with tempfile.TemporaryDirectory(prefix="tuning-job-verify-") as folder, ThreadPoolExecutor(_READERS) as pool:

        def check(numbered: tuple[int, tuple[str, Artifact]]) -> Finding | None:
            number, (relative, artifact) = numbered
            text = _difference(place, relative, artifact, sizes.get(relative), Path(folder) / str(number))
            return None if text is None else Finding(relative, text)

        return [finding for finding in pool.map(check, enumerate(named)) if finding is not None]


def _difference(place: RunPlace, relative: str, artifact: Artifact, size: int | None, copy: Path) -> str | None:
    """How an object differs from what the manifest says of it."""
    if not is_key(relative):
        return "the manifest names it, but no object can be called so"
    if size is None:
        return "missing"
    if size != artifact.size:
        return f"{size} bytes instead of {artifact.size}"
    try:
        found = place.store.get_file(place.prefix + relative, copy)
    except ObjectNotFoundError:
        return "missing"
    copy.unlink()
    if (found.size, found.sha256) != (artifact.size, artifact.sha256):
        return f"its content has changed: SHA-256 {found.sha256[:16]}… instead of {artifact.sha256[:16]}…"
    return None


def _may_be(key: str) -> bool:
    return key in _UNNAMED or key.startswith(_UNNAMED_FOLDERS)


def _pointer_findings(store: ObjectStore) -> tuple[list[Finding], list[Finding]]:
    """Problems and notes about `latest.json`."""
    try:
        newest = read_pointer(store, LATEST)
    except DataError as error:
        return [Finding(LATEST, error.message)], []
    if newest is None:
        return [], [Finding(LATEST, "missing: no run is marked as the newest")]
    if not is_key(newest) or store.stat(run_prefix("", newest) + MANIFEST) is None:
        return [Finding(LATEST, f"it points to run {newest!r}, which has no manifest")], []
    return [], []
