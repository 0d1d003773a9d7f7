"""Publication: artifacts first, the manifest last, then the pointer to the newest run.

A manifest means complete: every artifact that it names was written before, with the size and SHA-256 it states. On a
server that ignores conditional writes two processes may publish one run at the same time: there each start's artifacts
have names of their own, so that whichever manifest stands is true.
"""

import contextlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from job.errors import DataError, LockedError, ObjectNotFoundError, PreconditionFailedError, StateConflictError
from job.layout import (
    FAILURE,
    INPUT_OBJECTS,
    INPUTS,
    LEASE,
    LOGS_FOLDER,
    MANIFEST,
    RECORD_FOLDERS,
    SPEC,
    RunLayout,
    condition_probe_key,
    is_log_segment,
    is_shared,
    latest_key,
    start_prefix,
)
from job.lease import FencedStore, RunLease
from job.logs import get_logger
from job.records import Artifact, Failure, Manifest, Pointer, artifact_of
from job.store import LookFirstStore, ObjectStore, honours_conditions
from job.store.keys import is_key
from job.strict_json import strict_json

# How often the pointer is tried when other runs move it at the same moment.
_POINTER_ATTEMPTS = 10
# What every start of a run shares, whether a manifest names it or not.
_PINNED = (SPEC, INPUTS, INPUT_OBJECTS, LEASE, MANIFEST)


@dataclass(slots=True)
class Publication:
    """Writes one run's artifacts and keeps count of them for the manifest.

    Attributes:
        store: where the run is; written to by whoever holds the run, once that is this process (see `FencedStore`).
        prefix: stands before the names of artifacts; where the server ignores conditional writes it is the start's own.
        artifacts: what was written so far, by key relative to the run.
        lease: once it is lost, nothing but the log is written any more; None for whoever has none.
        provenance: of the run (see `job.sealing`), once it is known.
        new_pins: which of its pins this start has written.
        unfenced: the store, for what anyone may write: the log, and what follows a manifest.

    Every method that writes may raise LockedError.
    """

    store: ObjectStore
    layout: RunLayout
    prefix: str = ""
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    lease: RunLease | None = None
    provenance: str | None = None
    new_pins: set[str] = field(default_factory=set)
    unfenced: ObjectStore = field(init=False)

    def __post_init__(self) -> None:
        self.unfenced = self.store

    def hold(self, lease: RunLease) -> None:
        """Write as the holder of this lease from now on."""
        self.lease = lease
        self.store = FencedStore(self.unfenced, lease.check)

    def warn_of_ignored_conditions(self) -> None:
        """Say in the log what the server lacks and what that means; nothing where it lacks nothing."""
        if self.prefix:
            get_logger().warning(
                "conditional writes are not honoured",
                store=self.store.url,
                consequence="two processes with this run id would not notice each other, and both would train; what is "
                "published is complete all the same",
                advice="use a server that honours If-None-Match and If-Match, or see to it that runs do not overlap",
                artifacts=self.url("") + self.prefix,
            )

    def url(self, relative: str) -> str:
        """Where an artifact is, as a person would type it."""
        return f"{self.store.url}/{self.layout.key(self._placed(relative))}"

    def write(self, relative: str, data: bytes) -> None:
        """Write a small artifact."""
        placed = self._placed(relative)
        # Segments of the log are every start's own, and the last one says that the lease was lost.
        store = self.unfenced if is_log_segment(relative) else self.store
        store.put(self.layout.key(placed), data)
        self.artifacts[placed] = artifact_of(data)

    def write_json(self, relative: str, document: object) -> None:
        """Write a document as indented JSON; NaN and infinities as strings."""
        text = json.dumps(strict_json(document), indent=2, ensure_ascii=False, allow_nan=False)
        self.write(relative, f"{text}\n".encode())

    def write_file(self, relative: str, path: Path) -> None:
        """Stream a file into an artifact."""
        placed = self._placed(relative)
        stored = self.store.put_file(self.layout.key(placed), path)
        self.artifacts[placed] = Artifact(size=stored.size, sha256=stored.sha256)

    def write_once(self, relative: str, data: bytes) -> bool:
        """Write an artifact that is never replaced; False, and nothing written, if it exists already."""
        try:
            self.store.put_if_absent(self.layout.key(relative), data)
        except PreconditionFailedError:
            return False
        self._count_shared(relative, data)
        return True

    def count(self, relative: str, data: bytes) -> None:
        """Count an artifact for the manifest that is in the store already, with this content."""
        self._count_shared(relative, data)

    def read_own(self, relative: str) -> bytes:
        """An artifact that an earlier start of this run wrote; counted for the manifest."""
        data = self.store.get(self.layout.key(relative)).data
        self._count_shared(relative, data)
        return data

    def _placed(self, relative: str) -> str:
        return relative if not relative or is_shared(relative) else self.prefix + relative

    def _count_shared(self, relative: str, data: bytes) -> None:
        """Name in the manifest what all starts of the run share.

        Where another start may replace it, the manifest names a copy. Trial records are left out of it there: the table
        of all trials holds them.
        """
        if not self.prefix:
            self.artifacts[relative] = artifact_of(data)
        elif not relative.startswith(RECORD_FOLDERS):
            copy = self.prefix + relative
            self.store.put(self.layout.key(copy), data)
            self.artifacts[copy] = artifact_of(data)

    def finish(self, manifest: Manifest) -> bool:
        """Write the manifest, and with it declare the run complete; then move the pointer.

        Returns:
            Whether it was this manifest, now or before; False where another process has published the run from the
            same spec.

        Raises:
            StateConflictError: the run was published from another spec meanwhile.
            LockedError: another process has the run, and has not published it yet.
        """
        try:
            if self.lease is not None:
                self.lease.confirm()
            self._write_manifest(manifest.to_json())
        except (LockedError, PreconditionFailedError) as error:
            published = read_manifest(self.store, self.layout)
            if published is None:
                raise
            if published.spec_hash != manifest.spec_hash:
                raise StateConflictError(
                    f"run {self.layout.run_id} was published by another process meanwhile, from another spec",
                    advice="nothing is lost: the published run stands",
                ) from error
            self.settle(published)
            # An attempt before this one may have got as far as that.
            return published.to_json() == manifest.to_json()
        self._follow_up(manifest)
        return True

    def settle(self, manifest: Manifest) -> None:
        """Do what follows a manifest, where whoever wrote it has died before: `latest.json` names the newest run."""
        with contextlib.suppress(ObjectNotFoundError):
            if self._stands(self.unfenced.get(latest_key(self.layout.name)).data, self._pointer_to(manifest)):
                return
        self._follow_up(manifest)

    def remove_leftovers(self) -> None:
        """Delete what this process has written into a run that another one has published by now, and does not name.

        A write that was under way while the process was frozen may land after its successor has cleared up.
        """
        manifest = read_manifest(self.unfenced, self.layout)
        if manifest is None or not isinstance(self.store, FencedStore):
            # Whoever has the run clears up at its end.
            return
        # Where artifacts have a prefix, records are not named one by one.
        kept = (*_PINNED, *(RECORD_FOLDERS if self.prefix else ()))
        for key in sorted(self.store.written):
            relative = key.removeprefix(self.layout.prefix)
            if relative not in manifest.artifacts and not relative.startswith(kept):
                self.unfenced.delete(key)

    def _follow_up(self, manifest: Manifest) -> None:
        self.unfenced.delete(self.layout.key(FAILURE))
        self._move_pointer(manifest)

    def _write_manifest(self, data: bytes) -> None:
        key = self.layout.key(MANIFEST)
        self.store.put_if_absent(key, data)
        # Where the server ignores conditions somebody else may have written at the same time.
        if self.prefix and self.store.get(key).data != data:
            raise PreconditionFailedError(f"{self.url(MANIFEST)} was replaced at once")

    def _move_pointer(self, manifest: Manifest) -> None:
        pointer = self._pointer_to(manifest)
        key = latest_key(self.layout.name)
        for _ in range(_POINTER_ATTEMPTS):
            try:
                current = self.unfenced.get(key)
            except ObjectNotFoundError:
                current = None
            if current is not None and self._stands(current.data, pointer):
                return
            try:
                if current is None:
                    self.unfenced.put_if_absent(key, pointer.to_json())
                else:
                    self.unfenced.replace_if_match(key, pointer.to_json(), current.etag)
            except PreconditionFailedError:
                continue
            return
        get_logger().warning("pointer not moved", key=key, reason="other runs kept moving it")

    def _pointer_to(self, manifest: Manifest) -> Pointer:
        return Pointer(run_id=manifest.run_id, manifest=self.layout.key(MANIFEST), published_at=manifest.ended_at)

    def _stands(self, data: bytes, pointer: Pointer) -> bool:
        """Whether the pointer that is there names this run already, or one that was published later.

        Which is later is the store's to say, for it has one clock; the processes' own decide within one tick of it.
        """
        try:
            there = Pointer.model_validate_json(data)
        except ValidationError:
            # What cannot be read points nowhere; any run is newer.
            return False
        if there.run_id == pointer.run_id:
            return there == pointer
        theirs = self.unfenced.stat(there.manifest) if is_key(there.manifest) else None
        ours = self.unfenced.stat(pointer.manifest)
        if theirs is None or ours is None:
            return theirs is not None
        is_dated_later = there.published_at > pointer.published_at
        if theirs.modified == ours.modified:
            return is_dated_later
        if is_dated_later != (theirs.modified > ours.modified):
            get_logger().warning(
                "clocks differ between machines",
                consequence="which run is the newest is decided by the store's clock",
                runs={there.run_id: there.published_at.isoformat(), pointer.run_id: pointer.published_at.isoformat()},
            )
        return theirs.modified > ours.modified


def open_publication(store: ObjectStore, layout: RunLayout) -> Publication:
    """Find out whether conditional writes are honoured, and publish accordingly.

    Raises:
        AccessError: the store refuses.
        StoreError: the store fails.
    """
    unique = os.urandom(4).hex()
    if honours_conditions(store, condition_probe_key(layout.name, unique)):
        return Publication(store, layout)
    start = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{unique}"
    return Publication(LookFirstStore(store), layout, prefix=start_prefix(start))


def read_manifest(store: ObjectStore, layout: RunLayout) -> Manifest | None:
    """Return the manifest of a run; None if it is not published.

    Raises:
        DataError: there is one, and it cannot be read: nothing tells what was published.
    """
    try:
        return Manifest.model_validate_json(store.get(layout.key(MANIFEST)).data)
    except ObjectNotFoundError:
        return None
    except ValidationError as error:
        raise DataError(
            f"{store.url}/{layout.key(MANIFEST)} is damaged: it is no manifest",
            advice="use another run id; or put back the object, or delete it: then the run is published again",
        ) from error


def require_artifacts(store: ObjectStore, layout: RunLayout, manifest: Manifest) -> None:
    """Raise DataError where something that a manifest names is gone, or of another size; `verify` reads it all.

    Trial records are left out, for there may be many, and logs, which a rule of the bucket may expire.
    """
    named = {
        name: artifact
        for name, artifact in manifest.artifacts.items()
        if not name.startswith((LOGS_FOLDER, *RECORD_FOLDERS))
    }
    found = {name: store.stat(layout.key(name)) for name in named}
    wrong = [name for name, info in found.items() if info is None or info.size != named[name].size]
    if wrong:
        raise DataError(
            f"run {layout.run_id} was published, but of its {len(named)} artifacts {len(wrong)} are gone or of another "
            f"size, {min(wrong)} among them",
            advice="tuning-job verify names all of them; put them back, or use another run id",
        )


def write_failure(store: ObjectStore, layout: RunLayout, failure: Failure) -> None:
    """Leave the reason where the manifest would be."""
    store.put(layout.key(FAILURE), failure.to_json())
