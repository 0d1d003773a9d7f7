"""Every random choice derives from the spec's seed and an address, never from what was drawn before.

So an answer does not depend on the order of events: not on the number of workers, not on restarts.
"""

import hashlib


def derive_seed(seed: int, *address: str | int) -> int:
    """A 63-bit seed for one purpose, for example `derive_seed(0, "lineage", iteration, bracket, index)`.

    Different addresses give independent seeds (BLAKE2b); the same one gives the same seed on every machine.
    """
    text = "\x1f".join(str(part) for part in (seed, *address))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
