"""Workers are forked from one process that has imported TensorFlow and done nothing else.

Importing takes seconds of a core, for every worker and every worker that replaces one; forked, a worker is there at
once and shares what was imported. Forking a process that has threads is not safe, so none of the job's own is forked:
it is `multiprocessing`'s fork server that imports, starts no operation, opens no device and has one thread (a test
holds it to that). It ends when nothing is to be forked any more, and when the driver does.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import Any

# For `/workers-xxxxxxxx/listener-xxxxxxxx`.
_LONGEST_FOLDER = 107 - 36
_SHORT_FOLDER = "/tmp"  # noqa: S108 - a folder with a random name is made in it, for its owner alone
_PRELOADED = ["job.training.worker_imports"]
# What can be imported by whoever is not in this process's working directory. In what is forked it is the fork server's.
OWN_PATH = [entry for entry in sys.path if entry]


def worker_context() -> ForkServerContext:
    """What workers are started by; the fork server begins to import at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    configuration = _process_configuration()
    # The server may have been started for an earlier purpose.
    configuration["tempdir"] = configuration.get("tempdir") or _socket_folder()
    forkserver.ensure_running()
    return context


def _process_configuration() -> dict[str, Any]:
    """Where `multiprocessing` keeps the folder of its sockets.

    Left alone it makes one in `tempfile`'s folder and deletes it when the process ends: by then the scratch folder,
    where temporary files go, may be gone, and that it was is reported as an error.
    """
    configuration: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]  # noqa: SLF001
    return configuration


def _socket_folder() -> str:
    """A new folder whose path leaves room for a socket's name: the kernel takes 107 bytes in all."""
    folder = tempfile.gettempdir()
    return tempfile.mkdtemp(
        prefix="workers-", dir=folder if len(os.fsencode(folder)) <= _LONGEST_FOLDER else _SHORT_FOLDER
    )


def fork_server_pid() -> int | None:
    """The fork server's process, for whoever counts memory; None while there is none."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)  # noqa: SLF001 - it has no public name
    return pid if isinstance(pid, int) else None


@contextmanager
def fork_server_ended() -> Iterator[None]:
    """The fork server, if one is started within the block, ends with it."""
    try:
        yield
    finally:
        end_fork_server()


def end_fork_server() -> None:
    """End the fork server and wait for its end: the memory that it holds is of use to what follows."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # noqa: SLF001 - typeshed leaves out what is private
    folder = _process_configuration().pop("tempdir", None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
