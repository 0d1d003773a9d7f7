"""How often a lease is renewed, and how long a newcomer watches one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Seconds, but for `polls` and `attempts`.

    A newcomer's patience is counted in polls: one that gets no processor time sees less, and must not conclude more.

    Holders trust their lease for less than that: see `trusted`.

    Attributes:
        beat: between two heartbeats.
        poll, polls: how often a newcomer looks at a lease that does not move, and how many times.
        look: how often the memory in use is looked at.
        attempts: how often a heartbeat is sent, `look` apart, where somebody waits for it.
        release: how long an end waits for the store to take the lease back.
    """

    beat: float = 2.0
    poll: float = 1.0
    polls: int = 10
    look: float = 0.5
    attempts: int = 20
    release: float = 5.0

    @property
    def trusted(self) -> float:
        """For how long after a heartbeat nobody can have taken the run: a poll less than a newcomer watches it."""
        return self.poll * (self.polls - 1)
