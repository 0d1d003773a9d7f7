"""A table larger than memory: makes one, and tunes a model on it in a control group that may use 2 GiB.

    python benchmarks/large_table.py --rows 10_000_000 --columns 100 --memory 2GiB --folder /some/disk

The table is 4 bytes per value: ten million rows of a hundred columns are 4 GB. Setting a limit needs a control group
that may be written to (root, or a delegated one); without it the run is not limited, and the peak alone is reported.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from job.resources import held_memory

_CGROUP = Path("/sys/fs/cgroup")
_GIBIBYTE = 2**30
_PART_ROWS = 100_000
_FILES = 4
_SAMPLE_SECONDS = 0.2


def make_table(folder: Path, kind: str, rows: int, columns: int) -> int:
    """Write a table of random numbers in a few files, with a target that two of them decide; returns its bytes."""
    names = [f"x{number}" for number in range(columns)]
    types = [pa.field(name, pa.float32()) for name in names]
    schema = pa.schema([*types, pa.field("y", pa.int64())])
    generator = np.random.default_rng(0)
    for number in range(_FILES):
        path = folder / f"part-{number}.{kind}"
        writer = pa_parquet.ParquetWriter if kind == "parquet" else pa_csv.CSVWriter
        settings = {"compression": "none", "use_dictionary": False} if kind == "parquet" else {}
        with writer(path, schema, **settings) as file:
            left = rows // _FILES
            while left > 0:
                count = min(left, _PART_ROWS)
                values = generator.standard_normal((count, columns), dtype=np.float32)
                y = (values[:, 0] + values[:, 1] > 0).astype(np.int64)
                arrays = [pa.array(values[:, column]) for column in range(columns)]
                file.write_table(pa.Table.from_arrays([*arrays, pa.array(y)], schema=schema))
                left -= count
    return sum(path.stat().st_size for path in folder.iterdir())


class Group:
    """A control group of version 1 or 2 with a limit of memory, page cache and all."""

    def __init__(self, limit: int) -> None:
        name = f"large-table-{uuid.uuid4().hex[:8]}"
        first = (_CGROUP / "memory" / "memory.limit_in_bytes").exists()
        self._folder = (_CGROUP / "memory" if first else _CGROUP) / name
        self._folder.mkdir()
        self._peak_file = self._folder / ("memory.max_usage_in_bytes" if first else "memory.peak")
        (self._folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
        for swap in ("memory.memsw.limit_in_bytes",) if first else ("memory.swap.max",):
            with suppress(OSError):
                (self._folder / swap).write_text(str(limit) if first else "0")

    def enter(self) -> None:
        """Move this process into the group."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def peak(self) -> int:
        """The most bytes that the group held, files in the page cache included."""
        return int(self._peak_file.read_text())

    def remove(self) -> None:
        """Remove the group, once its processes have ended."""
        for _ in range(50):
            with suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.1)


@contextmanager
def limited(limit: int) -> Iterator[Group | None]:
    """A group with this limit; None where none may be made."""
    try:
        group = Group(limit)
    except OSError as error:
        print(f"not limited: no control group can be made ({error.strerror})")
        yield None
        return
    try:
        yield group
    finally:
        group.remove()


class Watch:
    """Looks at what a process and its descendants hold besides files, five times a second."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self.peak = 0
        self.process_peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                pids = [self._root.pid, *(child.pid for child in self._root.children(recursive=True))]
                self.peak = max(self.peak, held_memory(pids, 0))
                self.process_peak = max(self.process_peak, *(held_memory([pid], 0) for pid in pids))

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()


def run_job(source: Path, kind: str, output: Path, group: Group | None, more: list[str]) -> tuple[float, Watch]:
    """Run the job in the group; returns its seconds and what was seen."""
    settings = [
        "name=large-table",
        f"output={output}",
        f"data.source={source}/",
        f"data.format={kind}",
        "data.target=y",
        "search.algorithm=random",
        "search.max_trials=1",
        "search.max_epochs=1",
        "space.units=64",
        "space.batch_size=1024",
        "limits.max_concurrent_trials=1",
        "logs.tensorboard=false",
        *more,
    ]
    command = [sys.executable, "-m", "job", "run", *(word for one in settings for word in ("--set", one))]
    started = time.monotonic()
    environment = {**os.environ, "JOB_SCRATCH": str(output.parent / "scratch")}
    # Nothing runs between fork and exec but the write that moves the child into the group.
    process = subprocess.Popen(command, env=environment, preexec_fn=None if group is None else group.enter)  # noqa: PLW1509
    watch = Watch(process.pid)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        watch.end()
    if code != 0:
        raise SystemExit(f"the job ended with exit code {code}")
    return time.monotonic() - started, watch


def main() -> None:
    """Make the table, run the job, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--memory", type=float, default=2.0, help="GiB")
    parser.add_argument("--folder", type=Path, required=True, help="for the table and the run; is emptied at the end")
    parser.add_argument("--set", dest="more", action="append", default=[], help="as of the job's own --set")
    asked = parser.parse_args()
    folder = asked.folder / f"large-table-{uuid.uuid4().hex[:8]}"
    source = folder / "table"
    source.mkdir(parents=True)
    try:
        size = make_table(source, asked.format, asked.rows, asked.columns)
        print(f"table: {asked.rows} rows x {asked.columns} columns, {size / 1e9:.2f} GB of {asked.format}", flush=True)
        limit = int(asked.memory * _GIBIBYTE)
        with limited(limit) as group:
            seconds, watch = run_job(source, asked.format, folder / "runs", group, asked.more)
            print(f"seconds: {seconds:.0f}")
            if group is not None:
                print(f"limit of the control group, page cache included: {limit / _GIBIBYTE:.2f} GiB")
                print(f"peak of the control group, page cache included: {group.peak / _GIBIBYTE:.2f} GiB")
        print(f"peak of all processes besides files: {watch.peak / _GIBIBYTE:.2f} GiB")
        print(f"peak of one process besides files: {watch.process_peak / _GIBIBYTE:.2f} GiB")
        (manifest,) = (folder / "runs").rglob("manifest.json")
        stages = json.loads(manifest.read_text())
        print(f"seconds by stage: {stages['seconds']}")
        print(f"test scores: {stages['scores']['test']}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
