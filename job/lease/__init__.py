"""The run's lease: of any number of processes that are given one run, one works on it.

The lease is one object, `lease.json`, that is changed by compare-and-swap alone. Its holder renews it every two
seconds. A newcomer trusts no clock but its own: it watches the object for ten seconds, and takes the lease over, with
the next token, only if nothing has moved. A holder trusts its lease for less than that after a heartbeat; then `check`
asks, and refuses once another's token is found. `FencedStore` checks before every write, and binds each to what it saw.

In a local directory the holder has an flock besides. A newcomer that does not get the flock need not watch: its holder
lives. One that gets the very lock which the lease names, on the same kernel, need not watch either: that holder is
dead. In a directory that machines share without sharing locks, the heartbeat decides, as in a bucket.
"""

from job.lease.fenced import FencedStore
from job.lease.hold import RunLease
from job.lease.stored import is_near_limit
from job.lease.timing import LeaseTiming

__all__ = ["FencedStore", "LeaseTiming", "RunLease", "is_near_limit"]
