"""What this process may use of the machine: cores and memory, a container's limits honoured; GPUs by number."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
# cgroup v2, then v1; v1 writes a number near 2**63 for "no limit".
_MEMORY_LIMITS = (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes")
_NO_LIMIT = 2**60
_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class Resources:
    """What there is to use: whole cores, bytes of memory, GPUs."""

    cores: int
    memory: int
    gpus: tuple[str, ...]


def available_resources(environ: Mapping[str, str] = os.environ) -> Resources:
    """Look at the machine and at the limits that a container sets.

    Args:
        environ: `CUDA_VISIBLE_DEVICES` is looked at, as CUDA does.
    """
    from loky import cpu_count  # noqa: PLC0415 - `plan` pays for it, `--help` does not

    return Resources(cores=int(cpu_count()), memory=memory_limit(), gpus=visible_gpus(environ))


def memory_limit() -> int:
    """Bytes that this container, or else the machine, may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_read_limit(path) for path in _MEMORY_LIMITS]
    return min([physical, *(limit for limit in limits if limit is not None)])


def _read_limit(path: Path) -> int | None:
    try:
        limit = int(path.read_text())
    except (OSError, ValueError):
        # No such file, or `max`.
        return None
    return limit if limit < _NO_LIMIT else None


def private_memory(pid: int) -> int:
    """Bytes of a process that no other shares: mapped data files are everybody's. 0 for one that has ended."""
    import psutil  # noqa: PLC0415 - likewise

    with contextlib.suppress(psutil.NoSuchProcess):
        info = psutil.Process(pid).memory_info()
        return int(info.rss - info.shared)
    return 0


def family_pids() -> list[int]:
    """This process and all that descend from it."""
    import psutil  # noqa: PLC0415 - likewise

    own = psutil.Process()
    return [own.pid, *(child.pid for child in own.children(recursive=True))]


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that CUDA would use, named as in `CUDA_VISIBLE_DEVICES`; TensorFlow would take 5 s to say."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name for name in named.split(",") if name.strip() not in {"", "-1", "NoDevFiles"})
    try:
        count = sum(1 for _ in _NVIDIA_GPUS.iterdir())
    except OSError:
        count = 0
    return tuple(str(number) for number in range(count))
