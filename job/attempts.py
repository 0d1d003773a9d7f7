"""Trials that take the container down with them: counted over the starts of a run, and failed in the end.

Before a trial trains, the holder of the lease leaves a marker; once the trial has a record, its markers go. A marker
that a later start finds, of a holder that the lease counts among the dead, says that the trial was under way when that
holder died. What it died of is not known: three deaths close to the memory limit are held against the trial, and so are
many in a row during which it gained nothing. A machine that is taken away again and again fails no trial that gets on.
"""

import contextvars
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from job.errors import JobError
from job.layout import ATTEMPTS_FOLDER, RunLayout, attempt_marker
from job.lease import RunLease, is_near_limit
from job.logs import get_logger
from job.records import AttemptMarker, HolderDeath, TrialRecord, TrialRequest, lost_trial, trial_identity
from job.store import ObjectStore

# So many deaths with the memory nearly full are enough.
MEMORY_DEATHS = 3
# So many in a row without any progress are enough where each left the trial time to make some, and so many in any case:
# a machine that is taken away within seconds, over and over, says nothing about what it was doing.
SLOW_DEATHS = 8
QUICK_DEATHS = 30
# A marker that the store does not take at once is written while the trial runs: an outage holds up no training.
_MARKER_SECONDS = 1.0
# So long the search's end waits for the last removals.
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Death:
    """A holder's death with the trial under way."""

    marker: AttemptMarker
    holder: HolderDeath

    @property
    def seconds(self) -> float:
        """How long the holder lived after it had started the trial."""
        return self.holder.elapsed_seconds - self.marker.elapsed_seconds

    @property
    def is_of_memory(self) -> bool:
        return is_near_limit(self.holder.memory_bytes, self.holder.memory_limit)


class Attempts:
    """The markers of one run. Its end without an error removes those of trials that count no more.

    Args:
        store: the store that the run is in.
        layout: which run.
        lease: this process's; it must be held.
        progress: names a trial's checkpoint, from its id; another name means that the trial has got on.
        patience: seconds in which a healthy trial makes progress.
        provenance: of the run (see `job.sealing`): markers of another one are ignored.
    """

    def __init__(  # noqa: PLR0913 - all that a marker says
        self,
        store: ObjectStore,
        layout: RunLayout,
        lease: RunLease,
        *,
        progress: Callable[[str], str],
        patience: float,
        provenance: str | None = None,
    ) -> None:
        self._store = store
        self._layout = layout
        self._lease = lease
        self._progress = progress
        self._patience = patience
        self._provenance = provenance
        # Keys of the markers of trials without a record, by trial.
        self._left: dict[str, set[str]] = defaultdict(set)
        # One thread, so that a marker is never written after it was to be removed; None ends it.
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        context = contextvars.copy_context()
        # A daemon, because nobody who has to end may wait for a store that does not answer.
        self._writer = threading.Thread(target=context.run, args=(self._write,), name="attempts", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for trial_id in list(self._left):
                self.ended(trial_id)
        self._waiting.put(None)
        if error is None:
            self._writer.join(_END_SECONDS)

    def given_up(self, known: Mapping[str, TrialRecord]) -> list[TrialRecord]:
        """Records of the trials that have taken down their holders too often; to be stored like any others.

        Args:
            known: the records that there are.

        Raises:
            AccessError, StoreError: the store refuses or fails.
        """
        dead = {death.token: death for death in self._lease.current.deaths}
        found: dict[str, list[AttemptMarker]] = defaultdict(list)
        prefix = self._layout.key(ATTEMPTS_FOLDER)
        for entry in self._store.list(prefix):
            trial_id = entry.key.removeprefix(prefix).partition(".")[0]
            self._left[trial_id].add(entry.key)
            if trial_id not in known:
                found[trial_id] += self._read(entry.key)
        records = []
        for trial_id, markers in found.items():
            markers.sort(key=lambda marker: marker.token)
            deaths = [_Death(marker, dead[marker.token]) for marker in markers if marker.token in dead]
            reason = self._verdict(trial_id, deaths)
            if reason is not None:
                get_logger().error("trial given up", trial_id=trial_id, reason=reason)
                records.append(lost_trial(markers[-1], "error", reason, attempts=len(markers)))
        for trial_id in self._left.keys() & known.keys():
            self.ended(trial_id)
        return records

    def starting(self, request: TrialRequest) -> None:
        """Leave a marker; to be called before the trial trains. A second attempt in the same process leaves none.

        Raises:
            LockedError: another process has the run: nothing is begun any more.
        """
        self._lease.raise_if_lost()
        lease = self._lease.current
        key = self._layout.key(attempt_marker(request.trial_id, lease.token))
        if key in self._left[request.trial_id]:
            return
        self._left[request.trial_id].add(key)
        marker = AttemptMarker(
            **trial_identity(request),
            provenance=self._provenance,
            token=lease.token,
            started_at=datetime.now(UTC),
            progress=self._progress(request.trial_id),
            elapsed_seconds=lease.elapsed_seconds,
            memory_bytes=lease.memory_bytes,
            memory_limit=lease.memory_limit,
        )
        written = threading.Event()
        self._waiting.put(lambda: self._store.put(key, marker.to_json()))
        self._waiting.put(written.set)
        written.wait(_MARKER_SECONDS)

    def ended(self, trial_id: str) -> None:
        """The trial has a record, or counts no more: remove its markers. Waits for nothing."""
        for key in self._left.pop(trial_id, ()):
            self._waiting.put(partial(self._store.delete, key))

    def _read(self, key: str) -> list[AttemptMarker]:
        """The marker with this key; none if it is not one."""
        try:
            marker = AttemptMarker.model_validate_json(self._store.get(key).data)
        except ValidationError:
            get_logger().warning("attempt marker ignored", key=key, reason="it cannot be read")
            return []
        if marker.provenance != self._provenance:
            get_logger().warning("attempt marker ignored", key=key, reason="it is of another run")
            return []
        return [marker]

    def _verdict(self, trial_id: str, deaths: Sequence[_Death]) -> str | None:
        """Why a trial counts as failed; None if it does not."""
        of_memory = sum(death.is_of_memory for death in deaths)
        if of_memory >= MEMORY_DEATHS:
            limit = deaths[-1].holder.memory_limit >> 20
            return (
                f"{of_memory} processes died with this trial under way and the memory nearly full (limit {limit} MiB)"
            )
        now = self._progress(trial_id)
        in_row = [death for death in deaths if death.marker.progress == now]
        slow = sum(death.seconds >= self._patience for death in in_row)
        if slow >= SLOW_DEATHS or len(in_row) >= QUICK_DEATHS:
            return f"{len(in_row)} processes in a row died with this trial under way and without progress of it"
        return None

    def _write(self) -> None:
        while (action := self._waiting.get()) is not None:
            try:
                action()
            except JobError as error:
                # It costs evidence, not the search.
                get_logger().warning("attempt marker not stored", reason=error.message)
