"""What this process may use of the machine: cores and memory, a container's limits honoured; GPUs by number."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_CGROUP = Path("/sys/fs/cgroup")
# cgroup v2, then v1; v1 writes a number near 2**63 for "no limit".
_MEMORY_LIMITS = (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes")
_OWN_GROUPS = Path("/proc/self/cgroup")
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
    # Not from joblib, which has it too: that imports NumPy, for which `plan` need not wait.
    from loky import cpu_count  # noqa: PLC0415 - `plan` pays for it, `--help` does not

    return Resources(cores=int(cpu_count()), memory=memory_limit(), gpus=visible_gpus(environ))


def memory_limit() -> int:
    """Bytes that this container, or else the machine, may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_read_limit(path) for path in (*_MEMORY_LIMITS, *_own_limits())]
    return min([physical, *(limit for limit in limits if limit is not None)])


def _own_limits() -> list[Path]:
    """The limits of this process's own control group and of those that it lies in, where they can be seen.

    A container sees its own group as the root; a service or a shell of a limited group does not.
    """
    try:
        groups = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    limits: list[Path] = []
    for line in groups:
        _, controllers, path = line.split(":", 2)
        for root, name, wanted in (
            (_CGROUP, "memory.max", ""),
            (_CGROUP / "memory", "memory.limit_in_bytes", "memory"),
        ):
            if wanted in controllers.split(","):
                group = PurePosixPath(path)
                limits += [root / str(one).lstrip("/") / name for one in (group, *group.parents)]
    return limits


def _read_limit(path: Path) -> int | None:
    try:
        limit = int(path.read_text())
    except (OSError, ValueError):
        # No such file, or `max`.
        return None
    return limit if limit < _NO_LIMIT else None


def held_memory(pids: Iterable[int], matters_from: int) -> int:
    """Bytes that processes hold together besides files: the kernel drops mapped data where memory is short.

    Args:
        pids: the processes; one that has ended counts nothing.
        matters_from: below this the answer may be too large, because what forked processes share is counted for each;
            telling that apart takes the kernel milliseconds per process.
    """
    pids = list(pids)
    at_most = sum(map(resident_memory, pids))
    return at_most if at_most < matters_from else sum(map(private_memory, pids))


def resident_memory(pid: int) -> int:
    """Bytes of a process besides files, all that it shares by a fork included; 0 for one that has ended."""
    try:
        _, resident, of_files, *_ = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(resident) - int(of_files)) * os.sysconf("SC_PAGE_SIZE")


def private_memory(pid: int) -> int:
    """Bytes of a process besides files, its share of what it shares by a fork; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    fields = (line.split() for line in lines)
    return 1024 * sum(int(words[1]) for words in fields if words[0] in {"Pss_Anon:", "Pss_Shmem:"})


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
