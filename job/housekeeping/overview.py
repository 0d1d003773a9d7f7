"""What can be said of a run without reading its large objects: state, times, trials, scores, size.

Whatever lies in a run's folder, reading it never fails: an object that is torn or somebody else's is a problem of
that run, and the others are shown.
"""

import math
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from pydantic import ValidationError

from job.errors import DataError, ObjectNotFoundError
from job.housekeeping.folders import RunFolder, find_runs, list_runs, read_pointer
from job.layout import CHAMPION, FAILURE, LATEST, LEASE, LOGS_FOLDER, MANIFEST, SPEC, TRIALS_FOLDER
from job.records import Direction, Failure, Lease, Manifest, Record, Scores, TrialRecord, best_first
from job.report.results import stated_direction
from job.store import ObjectStore

RunCondition = Literal["running", "resumable", "published", "failed", "unreadable"]

# A holder renews its lease every few seconds; after this long without, it is taken for dead.
LEASE_LIFETIME = timedelta(seconds=30)

# A manifest of thousands of artifacts has less than a MiB; what is larger is none, and is not worth its download.
_LARGEST_DOCUMENT = 16 * 2**20
_READERS = 8

# What the names of leases' holders begin with that have them to delete the run.
PRUNING = "prune at "

_LOG_SEGMENT = re.compile(rf"{re.escape(LOGS_FOLDER)}job-([0-9]{{8}}T[0-9]{{12}})Z-[0-9]+\.jsonl")
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_MADE_RUN_ID = re.compile(r"([0-9]{8}T[0-9]{6})Z-[0-9a-f]+")

_AnyRecord = TypeVar("_AnyRecord", bound=Record)


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One run as its objects tell.

    Attributes:
        name: the name that the run belongs to.
        folder: its keys and sizes.
        condition: `running`: a live process holds its lease; `resumable`: unfinished, without one; `published`: it
            has a manifest; `failed`: trying again cannot help; `unreadable`: its objects do not tell.
        is_live: whether a live process holds the lease, published or not.
        is_newest, is_champion: whether `latest.json`, `champion.json` point to it.
        started_at: the start of its first process, as far as known.
        ended_at: when it was published or failed.
        seen_at: its last known sign of life; None where nothing tells.
        trials: how many trials have ended.
        objective: what `best_score` is the best of, as far as known.
        scores: of a published run.
        lease: as it was read.
        problems: objects that are not what they should be, and why.
    """

    name: str
    folder: RunFolder
    condition: RunCondition
    is_live: bool
    started_at: datetime | None
    ended_at: datetime | None
    seen_at: datetime | None
    trials: int
    is_newest: bool = False
    is_champion: bool = False
    objective: str | None = None
    best_score: float | None = None
    scores: Scores | None = None
    lease: Lease | None = None
    problems: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.folder.run_id

    @property
    def size(self) -> int:
        """Bytes of all its objects."""
        return sum(self.folder.sizes.values())


@dataclass(frozen=True, slots=True)
class Overview:
    """All runs in a store, the newest first. `problems` are those of no single run."""

    url: str
    runs: tuple[RunOverview, ...]
    problems: tuple[str, ...]


def read_overview(store: ObjectStore, *, now: datetime, with_scores: bool = True) -> Overview:
    """Look at all runs of an output or a name.

    Args:
        store: opened at the output, or at a name under it.
        now: the time by which a lease is live or not.
        with_scores: whether to read the trial records of unfinished runs for their best score so far.

    Raises:
        DataError: there is no run.
        AccessError, StoreError: the store refuses or fails.
    """
    folders = find_runs(list_runs(store))
    if not folders:
        raise DataError(
            f"{store.url} holds no runs",
            advice="name an output, or one name under it: the folder that has runs/<run_id>/",
        )
    marks = {base: _read_marks(store, base) for base in {folder.base for folder in folders}}
    with ThreadPoolExecutor(_READERS) as pool:
        runs = list(pool.map(lambda folder: _read_run(store, folder, now), folders))
        if with_scores:
            runs = [_with_score_so_far(store, run, pool) for run in runs]
    marked = [
        replace(
            run,
            is_newest=run.run_id == marks[run.folder.base].newest,
            is_champion=run.run_id == marks[run.folder.base].champion,
        )
        for run in runs
    ]
    return Overview(
        url=store.url,
        runs=tuple(sorted(marked, key=newest_first)),
        problems=tuple(problem for mark in marks.values() for problem in mark.problems),
    )


def newest_first(run: RunOverview) -> tuple[float, str]:
    """The sorting key: by the last sign of life; runs without one come last; ties by run id."""
    return (math.inf if run.seen_at is None else -run.seen_at.timestamp(), run.run_id)


@dataclass(frozen=True, slots=True)
class _Marks:
    newest: str | None
    champion: str | None
    problems: tuple[str, ...]


def _read_marks(store: ObjectStore, base: str) -> _Marks:
    problems = []
    named: list[str | None] = []
    for key in (LATEST, CHAMPION):
        try:
            named.append(read_pointer(store, base + key))
        except DataError as error:
            problems.append(error.message)
            named.append(None)
    return _Marks(named[0], named[1], tuple(problems))


@dataclass(slots=True)
class _Documents:
    """Reads a run's small objects, and notes those that are not what they should be."""

    store: ObjectStore
    folder: RunFolder
    problems: list[str] = field(default_factory=list)

    def read(self, relative: str, model: type[_AnyRecord]) -> _AnyRecord | None:
        """A record; None where it is missing or unreadable."""
        size = self.folder.sizes.get(relative)
        if size is None:
            return None
        if size > _LARGEST_DOCUMENT:
            self.problems.append(f"{relative}: {size} bytes are too many for it")
            return None
        try:
            return model.model_validate_json(self.store.get(self.folder.prefix + relative).data)
        except ObjectNotFoundError:  # deleted since it was listed
            return None
        except ValidationError as error:
            self.problems.append(f"{relative}: {error.errors()[0]['msg']}")
            return None


def _read_run(store: ObjectStore, folder: RunFolder, now: datetime) -> RunOverview:
    documents = _Documents(store, folder)
    manifest = documents.read(MANIFEST, Manifest)
    failure = documents.read(FAILURE, Failure)
    lease = documents.read(LEASE, Lease)
    if not folder.is_ours:
        documents.problems.append("no object of a run is in it")
    is_live = lease is not None and lease.state == "held" and now - _aware(lease.renewed_at) <= LEASE_LIFETIME
    condition = _condition(manifest, failure, is_live=is_live, is_readable=not documents.problems)
    # The times of a run's processes are in the names of their log segments: nothing need be read for them.
    starts = _starts(folder)
    ends = [manifest.ended_at] if manifest is not None else [failure.failed_at] if failure is not None else []
    # That of a prune is no sign of life: where one was interrupted, the run goes with the next.
    renewed = [] if lease is None else [_BEGINNING if lease.holder.startswith(PRUNING) else _aware(lease.renewed_at)]
    signs = [*starts, *map(_aware, ends), *renewed]
    if manifest is not None:
        starts.append(_aware(manifest.started_at))
    return RunOverview(
        # The folder that a store was opened at is the name's own.
        name=folder.base.rstrip("/") or store.url.rpartition("/")[2],
        folder=folder,
        condition=condition,
        is_live=is_live,
        started_at=min(starts, default=None),
        ended_at=_aware(ends[0]) if ends and condition in {"published", "failed"} else None,
        seen_at=max(signs, default=None),
        trials=sum(_is_trial_record(relative) for relative in folder.sizes),
        objective=None if manifest is None else manifest.search.objective,
        best_score=None if manifest is None else manifest.scores.validation.get(manifest.search.objective),
        scores=None if manifest is None else manifest.scores,
        lease=lease,
        problems=tuple(documents.problems),
    )


def _condition(manifest: Manifest | None, failure: Failure | None, *, is_live: bool, is_readable: bool) -> RunCondition:
    if manifest is not None:
        return "published"
    if is_live:
        return "running"
    if not is_readable:
        return "unreadable"
    return "failed" if failure is not None and failure.permanent else "resumable"


def _starts(folder: RunFolder) -> list[datetime]:
    segments = filter(None, map(_LOG_SEGMENT.fullmatch, folder.sizes))
    stamps = [_time(match[1], "%Y%m%dT%H%M%S%f") for match in segments]
    if made := _MADE_RUN_ID.fullmatch(folder.run_id):
        stamps.append(_time(made[1], "%Y%m%dT%H%M%S"))
    return [stamp for stamp in stamps if stamp is not None]


def _time(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:  # digits that are no date
        return None


def _aware(moment: datetime) -> datetime:
    """Our own records say their zone; a foreign one's silence is taken for UTC, to be comparable."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _is_trial_record(relative: str) -> bool:
    return relative.startswith(TRIALS_FOLDER) and relative.endswith(".json")


def _with_score_so_far(store: ObjectStore, run: RunOverview, pool: ThreadPoolExecutor) -> RunOverview:
    """Add the best score of a run that goes on, or may; records that cannot be read are its problems."""
    if run.condition not in {"running", "resumable"}:
        return run
    documents = _Documents(store, run.folder)
    relatives = sorted(filter(_is_trial_record, run.folder.sizes))
    records = pool.map(lambda relative: documents.read(relative, TrialRecord), relatives)
    score = _best_score(records, _direction(store, run.folder))
    return replace(run, best_score=score, problems=(*run.problems, *sorted(documents.problems)))


def _direction(store: ObjectStore, folder: RunFolder) -> Direction:
    return stated_direction(store, folder.prefix) if folder.sizes.get(SPEC, 0) <= _LARGEST_DOCUMENT else "max"


def _best_score(records: Iterable[TrialRecord | None], direction: Direction) -> float | None:
    scored = [one for one in records if one is not None and one.score is not None and not math.isnan(one.score)]
    best: Sequence[TrialRecord] = best_first(scored, direction)
    return best[0].score if best else None
