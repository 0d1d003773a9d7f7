"""What a process and all that it has started use of the memory."""

from collections.abc import Callable

from job.resources import family_pids, held_memory, memory_limit

# Finding the children looks at every process of the machine; what is known is cheap to look at again.
_SECONDS = 2.0


class FamilyMemory:
    """The memory of this process and its children.

    Args:
        clock: seconds on a steady clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pids: list[int] = []
        self._found_at = 0.0

    def bytes(self) -> int:
        """What they use now, shared memory left out; children are at most two seconds late."""
        if not self._pids or self._clock() - self._found_at >= _SECONDS:
            self._pids, self._found_at = family_pids(), self._clock()
        return held_memory(self._pids, matters_from=memory_limit() // 2)
