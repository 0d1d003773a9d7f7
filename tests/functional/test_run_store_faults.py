"""The whole job against stores and disks that fail: what is lost (nothing), what it says, and how it goes on."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

SEARCH = ("--set", "search.max_epochs=3", "--set", "space.units=[16, 32]")
# One process imports TensorFlow instead of three.
INLINE = ("--set", "resources.executor=inline")


def run_folder(output: Path) -> Path:
    return output / "quickstart" / "runs" / "r1"


def records(output: Path) -> dict[str, dict]:
    """All that does not differ from run to run, by trial."""
    found = [json.loads(path.read_text()) for path in (run_folder(output) / "trials").glob("*.json")]
    # The executor is part of the spec, and the spec of the provenance.
    changing = {"seconds", "worker", "token", "attempts", "checksum", "provenance"}
    return {one["trial_id"]: {k: v for k, v in one.items() if k not in changing} for one in found}


def assert_manifest_holds(output: Path) -> dict:
    manifest = json.loads((run_folder(output) / "manifest.json").read_text())
    for relative, stated in manifest["artifacts"].items():
        content = (run_folder(output) / relative).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (stated["size"], stated["sha256"]), relative
    return manifest


def trained(events: list[dict]) -> set[str]:
    return {event["trial_id"] for event in events if event["event"] == "trial started"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, clean_environment):
    """The records of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(
        [sys.executable, "-m", "job", "run", *SEARCH, "--run-id", "r1"],
        cwd=folder,
        env=clean_environment | {"JOB_SCRATCH": str(folder / "scratch")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    # Published: nothing is left of what only an unfinished run needs.
    assert list((folder / "scratch").iterdir()) == []
    assert [path for path in run_folder(folder / "runs").rglob("checkpoints/*") if path.is_file()] == []
    assert_manifest_holds(folder / "runs")
    return records(folder / "runs")


class Job:
    """The real command, watched as it goes."""

    def __init__(self, folder, environment, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "job", "run", *SEARCH, "--run-id", "r1", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events = []

    def until(self, name, count=1):
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            count -= self.events[-1]["event"] == name
            if count == 0:
                return
        pytest.fail(f"no more {name!r}: {self.process.communicate()[1]}")

    def end(self) -> tuple[int, str]:
        out, err = self.process.communicate(timeout=300)
        self.events += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, err


@pytest.fixture
def environment(clean_environment, tmp_path):
    return clean_environment | {"JOB_SCRATCH": str(tmp_path / "scratch")}


def make_unusable(folder: Path) -> None:
    """From now on nothing can be written there, not even by root."""
    blocked = folder.with_name("blocked")
    blocked.mkdir()
    (blocked / "quickstart").write_text("a file where the store has a folder")
    shutil.move(folder, folder.with_name("away"))
    while True:
        try:
            blocked.rename(folder)
        except OSError:
            # The job has made a folder in between.
            shutil.rmtree(folder)
        else:
            return


def make_usable(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.move(folder.with_name("away"), folder)


def test_a_permanent_outage_ends_with_20_and_the_next_start_trains_nothing_again(tmp_path, environment, undisturbed):
    """What finished during the outage is on this machine's disk: the next start stores it and finishes."""
    output = tmp_path / "runs"
    first = Job(tmp_path, environment, "--set", "storage.outage_patience=3s")
    first.until("trial completed", 2)
    make_unusable(output)
    code, message = first.end()
    assert code == 20, message
    assert "cannot write" in message
    assert "Traceback" not in message
    finished = {event["trial_id"] for event in first.events if event["event"] == "trial completed"}
    assert len(finished) > 2
    make_usable(output)
    stored = set(records(output))
    assert stored < finished
    second = Job(tmp_path, environment, "--set", "storage.outage_patience=3s")
    code, message = second.end()
    assert code == 0, message
    assert trained(second.events) == set(undisturbed) - finished
    assert records(output) == undisturbed
    manifest = assert_manifest_holds(output)
    assert {f"trials/{trial_id}.json" for trial_id in undisturbed} < set(manifest["artifacts"])
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_short_outage_costs_nothing(tmp_path, environment, undisturbed):
    """Training goes on while the store does not answer; when it does, all is stored, in one run."""
    output = tmp_path / "runs"
    job = Job(tmp_path, environment, *INLINE)
    job.until("trial completed", 1)
    make_unusable(output)
    timer = threading.Timer(2.0, make_usable, [output])
    timer.start()
    code, message = job.end()
    timer.join()
    assert code == 0, message
    assert records(output) == undisturbed
    assert_manifest_holds(output)
    names = [event["event"] for event in job.events]
    assert "store does not answer, trying again" in names
    assert "store answers again" in names


def test_an_outage_ends_a_long_trial_too(tmp_path, environment):
    """When the patience is over the job ends, although its trials would train for hours."""
    job = Job(
        tmp_path,
        environment,
        *("--set", "search.algorithm=random", "--set", "search.max_epochs=1000000"),
        *("--set", "logs.upload_interval=1s", "--set", "storage.outage_patience=2s"),
    )
    job.until("epoch finished", 1)
    make_unusable(tmp_path / "runs")
    code, message = job.end()
    assert code == 20, message
    assert "Traceback" not in message
    assert "trial completed" not in {event["event"] for event in job.events}


def test_two_starts_at_once_on_one_machine_do_the_work_once(tmp_path, environment):
    """The second waits a moment for the first, and ends with 75, or with 0 once that has published."""
    first = Job(tmp_path, environment)
    first.until("trial started", 1)
    second = Job(tmp_path, environment)
    code, message = second.end()
    assert code in {0, 75}, message
    assert trained(second.events) == set()
    assert first.end()[0] == 0
    assert_manifest_holds(tmp_path / "runs")


def test_a_killed_job_goes_on_elsewhere_and_leaves_no_temporary_files(tmp_path, environment, undisturbed):
    """After SIGKILL of everything another machine, with an empty disk, ends with the same answer.

    The killed processes' temporary files were all in the scratch folder.
    """
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    job = Job(tmp_path, environment | {"TMPDIR": str(temporary)})
    job.until("trial completed", 3)
    children = Path(f"/proc/{job.process.pid}/task/{job.process.pid}/children").read_text().split()
    for pid in [job.process.pid, *map(int, children)]:
        os.kill(pid, signal.SIGKILL)
    assert job.end()[0] == -signal.SIGKILL
    assert list(temporary.iterdir()) == []
    known = set(records(tmp_path / "runs"))
    elsewhere = Job(tmp_path, environment | {"JOB_SCRATCH": str(tmp_path / "other")})
    code, message = elsewhere.end()
    assert code == 0, message
    assert trained(elsewhere.events).isdisjoint(known)
    assert records(tmp_path / "runs") == undisturbed


def test_damaged_records_are_trained_again(tmp_path, environment, undisturbed):
    """A record that was torn and one that was tampered with are reported, and the run ends as if they never were."""
    job = Job(tmp_path, environment, *INLINE)
    job.until("trial completed", 4)
    job.process.send_signal(signal.SIGTERM)
    assert job.end()[0] == 143
    torn, tampered, *_ = sorted((run_folder(tmp_path / "runs") / "trials").iterdir())
    torn.write_bytes(torn.read_bytes()[:100])
    tampered.write_text(re.sub(r'"score": [\d.]+', '"score": 0.999', tampered.read_text()))
    again = Job(tmp_path, environment, *INLINE)
    code, message = again.end()
    assert code == 0, message
    reported = {event["key"].rpartition("/")[2] for event in again.events if event["event"].startswith("trial record")}
    assert reported == {torn.name, tampered.name}
    assert {torn.stem, tampered.stem} <= trained(again.events)
    assert records(tmp_path / "runs") == undisturbed
    assert_manifest_holds(tmp_path / "runs")


def test_too_small_a_disk_is_refused_before_anything_is_written(tmp_path, environment, small_disk):
    """Exit code 20, the folder, the figures and what to do, in one message; no run, and nothing left on the disk."""
    job = Job(tmp_path, environment | {"JOB_SCRATCH": str(small_disk(4))}, "--set", "space.units=4096")
    code, message = job.end()
    assert code == 20, message
    assert re.search(r"has [\d.]+ MiB of free disk space, and this run needs about [\d.]+ MiB", message)
    assert "JOB_SCRATCH" in message
    assert "Traceback" not in message
    assert trained(job.events) == set()
    assert not run_folder(tmp_path / "runs").exists()


def test_a_disk_that_fills_up_ends_with_20_and_the_next_start_finishes(tmp_path, environment, small_disk, undisturbed):
    """The scratch disk is full in mid-search: one clear message, no failed trial on record, and nothing lost."""
    disk = small_disk(64)
    job = Job(tmp_path, environment | {"JOB_SCRATCH": str(disk)})
    job.until("trial completed", 2)
    fill(disk / "filler")
    code, message = job.end()
    assert code == 20, message
    assert "no space is left on its disk" in message
    assert "Traceback" not in message + "".join(map(str, job.events))
    assert {one["status"] for one in records(tmp_path / "runs").values()} <= {"completed"}
    (disk / "filler").unlink()
    again = Job(tmp_path, environment | {"JOB_SCRATCH": str(disk)})
    code, message = again.end()
    assert code == 0, message
    assert records(tmp_path / "runs") == undisturbed


def test_a_full_output_ends_with_20_and_the_next_start_finishes(tmp_path, environment, small_disk, undisturbed):
    """The same where the directory that the run is published to is full; finished trials wait in the scratch folder."""
    disk = small_disk(64)
    arguments = (*INLINE, "--output", str(disk / "runs"), "--set", "storage.outage_patience=2s")
    job = Job(tmp_path, environment, *arguments)
    job.until("trial completed", 2)
    fill(disk / "filler")
    code, message = job.end()
    assert code == 20, message
    assert "no space is left on its disk" in message
    assert "Traceback" not in message + "".join(map(str, job.events))
    finished = {event["trial_id"] for event in job.events if event["event"] == "trial completed"}
    (disk / "filler").unlink()
    again = Job(tmp_path, environment, *arguments)
    code, message = again.end()
    assert code == 0, message
    assert trained(again.events).isdisjoint(finished)
    assert records(disk / "runs") == undisturbed


def fill(path: Path) -> None:
    """Write until the disk has no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
        try:
            while True:
                file.write(b"x")
        except OSError:
            pass


@pytest.fixture
def small_disk(tmp_path):
    """Make a disk of so many MiB; skipped where this user may not mount."""
    mounted = []

    def make(mebibytes):
        folder = tmp_path / f"disk{mebibytes}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder],  # noqa: S607 - the system's own
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)  # noqa: S607 - likewise
