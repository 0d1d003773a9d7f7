"""Everything that a run stores while it goes on: trial records, checkpoints and log segments, in the background."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from job.checkpoint_copies import CheckpointCopies
from job.layout import LOGS_FOLDER, trial_of_record, trial_record
from job.logs import get_logger
from job.outbox import Outbox
from job.records import TrialRecord
from job.run_state import RunState
from job.scratch import Scratch
from job.sealing import BrokenRecordError, seal, unseal_own
from job.uploads import UploadQueue, through_outage


class RunUploads:
    """A run's queue, with what goes through it.

    Args:
        state: the run's objects in its store.
        scratch: the run's folder on this machine.
        queue: sends; closed by its owner.
        patience: seconds to wait for a store that fails.
    """

    def __init__(self, state: RunState, scratch: Scratch, queue: UploadQueue, patience: float) -> None:
        self._state = state
        self._queue = queue
        self._patience = patience
        self._outbox = Outbox(scratch.outbox, queue)
        publication = state.publication
        self.copies = CheckpointCopies(scratch.checkpoints, publication.store, publication.layout, queue)

    def known_records(self) -> dict[str, TrialRecord]:
        """The trials that earlier starts finished, by id: those in the store, and those that this machine still has.

        What an earlier start did not get stored is sent now. Call once.

        Raises:
            StoreError: the store fails for longer than the patience.
            AccessError: the store refuses.
        """
        found: dict[str, TrialRecord] = {}
        self.through_outage(lambda: found.update(self._state.trial_records()))
        for relative, data in self._outbox.left():
            if relative.startswith(LOGS_FOLDER):
                self._outbox.send_again(relative, self._segment_sender(relative))
                continue
            record = _record_in(relative, data, self._state.publication.provenance)
            if record is None or record.trial_id in found:
                self._outbox.drop(relative)
                continue
            found[record.trial_id] = record
            self._outbox.send_again(relative, self._record_sender(record), lane=record.trial_id)
        return found

    def store_record(self, record: TrialRecord) -> None:
        """Keep a newly ended trial: on disk now, in the store soon, after the checkpoints that it ended with.

        Raises:
            StoreError: the disk is full, or the store has failed for longer than the patience.
            Exception: why else nothing more is stored.
        """
        record = self._state.as_own(record)
        self.copies.look()
        self._outbox.add(trial_record(record.trial_id), seal(record), self._record_sender(record), lane=record.trial_id)

    def store_segment(self, relative: str, data: bytes) -> None:
        """Keep a segment of the log; see `store_record`."""
        self._outbox.add(relative, data, self._segment_sender(relative))

    def flush(self) -> bool:
        """Wait until everything is stored; see `UploadQueue.flush`."""
        self.copies.look()
        return self._queue.flush()

    def end_within(self, seconds: float) -> None:
        """From now on nobody is kept waiting longer than this; see `UploadQueue.end_within`."""
        self._queue.end_within(seconds)

    def through_outage(self, action: Callable[[], None]) -> None:
        """Do something with the store in this thread, and again while the store fails, for as long as the patience.

        Raises:
            StoreError: the store still fails.
        """
        through_outage(action, self._patience)

    @property
    def is_all_stored(self) -> bool:
        """Whether this machine holds no record and no log that the store does not."""
        return self._outbox.is_empty

    def _record_sender(self, record: TrialRecord) -> Callable[[bytes], None]:
        return lambda _: self._state.store_record(record)

    def _segment_sender(self, relative: str) -> Callable[[bytes], None]:
        return lambda data: self._state.publication.write(relative, data)


def _record_in(relative: str, data: bytes, provenance: str | None) -> TrialRecord | None:
    try:
        return unseal_own(data, trial_of_record(relative), provenance)
    except BrokenRecordError as error:
        get_logger().warning("trial record not used, its trial runs again", key=relative, reason=str(error))
        return None


@contextmanager
def open_uploads(
    state: RunState, scratch: Scratch, *, patience: float, on_failure: Callable[[Exception], None]
) -> Iterator[RunUploads]:
    """The uploads of a run; nothing is sent after the block's end, whatever waits stays on disk.

    Args:
        state: the run's objects in its store.
        scratch: the run's folder on this machine.
        patience: seconds that the store may fail for.
        on_failure: told from another thread why nothing more will be stored; see `job.interruption`.
    """
    queue = UploadQueue(patience, on_failure=on_failure)
    try:
        yield RunUploads(state, scratch, queue, patience)
    finally:
        queue.close()
