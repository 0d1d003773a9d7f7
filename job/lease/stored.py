"""The lease as an object of the store: read with its etag, replaced only as it was read."""

from dataclasses import dataclass

from pydantic import ValidationError

from job.errors import ObjectNotFoundError, PreconditionFailedError
from job.layout import LEASE, RunKeys
from job.records import Lease
from job.store import ObjectStore

# From this share of its memory limit on, a holder's death may be the memory's doing.
_NEAR_LIMIT = 0.8


@dataclass(frozen=True, slots=True)
class StoredLease:
    """What was read; `lease` is None where the object is none of ours."""

    lease: Lease | None
    etag: str

    @property
    def is_held(self) -> bool:
        """Whether its holder has not given it back. Of what cannot be read, this is assumed."""
        return self.lease is None or self.lease.state == "held"

    @property
    def holder(self) -> str:
        """Who that is, for people."""
        return "an unknown process" if self.lease is None else self.lease.holder

    def is_of(self, other: Lease) -> bool:
        """Whether it is the same holder's, from the same takeover."""
        return self.lease is not None and (self.lease.token, self.lease.holder) == (other.token, other.holder)


class LeaseObject:
    """`lease.json` of one run."""

    def __init__(self, store: ObjectStore, layout: RunKeys) -> None:
        self._store = store
        self._key = layout.key(LEASE)

    def read(self) -> StoredLease | None:
        """The lease as it is now; None where there is none."""
        try:
            stored = self._store.get(self._key)
        except ObjectNotFoundError:
            return None
        try:
            return StoredLease(Lease.model_validate_json(stored.data), stored.etag)
        except ValidationError:
            return StoredLease(None, stored.etag)

    def delete(self) -> None:
        """Remove the lease, whoever's it is."""
        self._store.delete(self._key)

    def write_over(self, found: StoredLease | None, lease: Lease) -> bool:
        """Put a lease where `found` was read; False, and nothing written, where that has changed meanwhile."""
        try:
            if found is None:
                self._store.put_if_absent(self._key, lease.to_json())
            else:
                self._store.replace_if_match(self._key, lease.to_json(), found.etag)
        except PreconditionFailedError:
            return False
        return True


def is_near_limit(used: int, limit: int) -> bool:
    """Whether so many bytes of memory are so close to what is allowed that the next step may be the end."""
    return used >= _NEAR_LIMIT * limit
