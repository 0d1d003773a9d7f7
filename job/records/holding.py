"""Who works on a run, and on which trials: what is not published."""

from datetime import datetime
from typing import Literal

from job.records.record import Hyperparameters, Record


class HolderDeath(Record):
    """A holder of the lease that ended without releasing it, as its last heartbeat showed it."""

    token: int
    elapsed_seconds: float
    memory_bytes: int
    memory_limit: int


class Lease(Record):
    """Who works on a run: one mutable object per run, changed by compare-and-swap alone.

    Attributes:
        token: the fencing token; each takeover adds one, and every record of a holder carries its own.
        holder: host, process id and start of the process, for people and to tell holders apart.
        state: `held` while the holder lives; `released` once it has ended in good order.
        beat: grows with every heartbeat; a newcomer watches it on its own clock.
        renewed_at: by the holder's clock; for people.
        elapsed_seconds: how long the run was held so far, over all holders, for `limits.timeout`.
        memory_bytes, memory_limit: what the holder's processes used at the last heartbeat, and what they may use.
        process_lock: which lock the holder has besides, in a local directory; empty elsewhere.
        deaths: the holders that did not end in good order, the newest last.
    """

    schema_version: Literal[1] = 1
    token: int
    holder: str
    state: Literal["held", "released"]
    beat: int
    renewed_at: datetime
    elapsed_seconds: float
    memory_bytes: int
    memory_limit: int
    process_lock: str = ""
    deaths: tuple[HolderDeath, ...] = ()


class AttemptMarker(Record):
    """Written before a trial trains and removed once it has a record: what is left says who died over which trial.

    It has all that a record needs of the trial, because whoever finds it may have to write that record.

    Attributes:
        token: of the holder that started the trial.
        progress: names the checkpoint that the trial went on from; equal ones mean that nothing was gained.
        elapsed_seconds: the lease's, when the trial was started.
        memory_bytes, memory_limit: what the holder's processes used then, and what they may use.
        provenance: of the run that it belongs to; None in markers of earlier versions.
    """

    schema_version: Literal[1] = 1
    provenance: str | None = None
    trial_id: str
    hyperparameters: Hyperparameters
    iteration: int
    bracket: int
    index: int
    rung: int
    parent: str | None
    from_epoch: int
    to_epoch: int
    token: int
    started_at: datetime
    progress: str
    elapsed_seconds: float
    memory_bytes: int
    memory_limit: int
