"""podman with configuration and storage of its own: it works as root on a bare machine, and leaves nothing there."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = "podman runc netavark aardvark-dns iptables catatonit mmdebstrap"
# What the containers of nested and rootless machines may not raise, and what works without systemd.
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""


@dataclass(frozen=True)
class Podman:
    """The engine, and the environment that leads to this one of it."""

    environment: dict[str, str]

    def command(self, *arguments: str | Path) -> list[str]:
        return ["podman", *map(str, arguments)]

    def run(self, *arguments: str | Path, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command of podman's to its end."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"podman {' '.join(map(str, arguments))}:\n{done.stderr[-3000:]}"
        return done

    def output(self, *arguments: str | Path) -> str:
        return self.run(*arguments).stdout.strip()


def reason_why_not() -> str | None:
    """Why containers cannot be run here; None if they can."""
    if shutil.which("podman") is None:
        return f"podman is needed; on Debian as root: apt-get install --no-install-recommends {PACKAGES}"
    if os.geteuid() != 0:
        return "root is needed: podman gets storage and limits of its own, and a base image may have to be made"
    return None


@contextmanager
def open_podman(folder: Path, *, keep: bool) -> Iterator[Podman]:
    """A podman whose images and containers are in a folder.

    Args:
        folder: for them; made if need be.
        keep: whether images stay there for the next time; containers never do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    (folder / "containers.conf").write_text(CONTAINERS_CONF + runtime)
    (folder / "storage.conf").write_text(STORAGE_CONF.format(folder=folder))
    (folder / "tmp").mkdir(exist_ok=True)
    podman = Podman(
        os.environ
        | {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            # Layers are unpacked there, and a small /tmp would not hold them.
            "TMPDIR": str(folder / "tmp"),
        }
    )
    try:
        yield podman
    finally:
        podman.run("rm", "--all", "--force", "--time", "0", check=False)
        podman.run("volume", "prune", "--force", check=False)
        if not keep:
            podman.run("system", "reset", "--force", check=False)
            overlay = folder / "storage" / "overlay"
            if overlay.is_mount():
                subprocess.run(["umount", overlay], check=False)  # noqa: S607 - the system's
            shutil.rmtree(folder)
