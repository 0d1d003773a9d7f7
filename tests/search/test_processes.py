"""Worker processes: they die, hang, grow and print; the search does not notice."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from job import stages
from job.records import TrialRequest
from job.search.executors import open_executor
from job.search.memory_watch import MemoryWatch
from job.search.stopping import is_out_of_time
from job.search.trial_plan import trial_plan
from job.spec import JobSpec
from job.training.checkpoint import last_checkpoint, read_state
from job.training.fork_server import end_fork_server, fork_server_pid

SPEC = {
    "space": {"units": [8, 16, 32], "learning_rate": [0.1, 0.01, 0.001], "dropout": [0.0, 0.3]},
    "search": {"max_epochs": 3, "factor": 3},
    "limits": {"max_concurrent_trials": 2},
}
PATIENCE_SECONDS = 60


def wait_until(condition):
    """Poll a condition; fail loudly where it never comes true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def request(number=0, to_epoch=2):
    return TrialRequest(
        trial_id=f"h0-b0-i{number:03d}-r0",
        hyperparameters={"units": 8, "learning_rate": 0.01, "dropout": 0.0},
        iteration=0,
        bracket=0,
        index=number,
        rung=0,
        parent=None,
        from_epoch=0,
        to_epoch=to_epoch,
        seed=number,
    )


@pytest.fixture
def plan(dataset, tmp_path):
    def make(**spec):
        return trial_plan(JobSpec.model_validate(SPEC | spec), dataset, tmp_path)

    return make


class KillingExecutor:
    """Hands everything on, and kills the worker of every trial's first attempt as soon as it runs."""

    def __init__(self, executor):
        self.executor = executor
        self.slots = executor.slots
        self.killed = set()

    def submit(self, trial):
        before = {id(slot): slot.request for slot in self.executor._slots}  # noqa: SLF001 - to know which worker it is
        self.executor.submit(trial)
        if trial.trial_id in self.killed:
            return
        self.killed.add(trial.trial_id)
        (slot,) = [slot for slot in self.executor._slots if slot.request is trial and before[id(slot)] is None]  # noqa: SLF001
        wait_until(lambda: slot.pid is not None and slot.future.running())
        os.kill(slot.pid, signal.SIGKILL)

    def wait(self, patience=None):
        return self.executor.wait(patience)


def search(plan, executor, stored):
    return stages.search(plan.spec, plan, executor, known={}, store_record=stored.append, console=None)


def test_a_killed_worker_costs_its_trial_one_attempt(plan):
    """SIGKILL in the first attempt of every trial, in turn, changes nothing but the count of attempts."""
    made = plan(search={"max_epochs": 4, "factor": 2})
    with open_executor(made.spec, made, log_fields={}) as executor:
        undisturbed = search(made, executor, [])
    # A trial whose checkpoint says that it is done ends too soon to be killed.
    shutil.rmtree(made.checkpoints)
    with open_executor(made.spec, made, log_fields={}) as executor:
        killing = KillingExecutor(executor)
        disturbed = search(made, killing, [])
    assert len(killing.killed) == len(disturbed.trials) >= 10
    assert {trial.attempts for trial in disturbed.trials} == {2}
    same = {"seconds": 0.0, "worker": "", "attempts": 1}
    assert [t.model_copy(update=same) for t in disturbed.trials] == [
        t.model_copy(update=same) for t in undisturbed.trials
    ]
    assert disturbed.best.trial_id == undisturbed.best.trial_id


def test_a_worker_that_always_dies_fails_its_trial_alone(plan):
    """The record of a lost attempt names the signal; the next trial runs on a fresh worker."""
    made = plan(limits={"max_concurrent_trials": 1})
    with open_executor(made.spec, made, log_fields={}) as executor:
        executor.submit(request(to_epoch=100_000))
        (slot,) = executor._slots  # noqa: SLF001 - to know which worker it is
        wait_until(lambda: slot.pid is not None and slot.future.running())
        os.kill(slot.pid, signal.SIGKILL)
        lost = executor.wait()
        assert (lost.status, lost.failure) == ("failed", "killed")
        assert "SIGKILL" in lost.error
        executor.submit(request(1))
        assert executor.wait().status == "completed"


def test_a_trial_that_hangs_is_ended_at_its_time(plan):
    """A worker that no longer answers is replaced once `trial_timeout` has passed."""
    made = plan(limits={"max_concurrent_trials": 1, "trial_timeout": "5s"})
    with open_executor(made.spec, made, log_fields={}) as executor:
        executor.submit(request(to_epoch=100_000))
        (slot,) = executor._slots  # noqa: SLF001 - to know which worker it is
        wait_until(lambda: slot.pid is not None and slot.future.running())
        os.kill(slot.pid, signal.SIGSTOP)
        hung = executor.wait()
        assert (hung.status, hung.failure) == ("failed", "timed_out")
        assert "trial_timeout" in hung.error
        executor.submit(request(1))
        assert executor.wait().status == "completed"


def test_what_is_under_way_when_time_is_up_is_ended(plan):
    """Each attempt that hangs is ended after the patience, and says why; the workers that take their place work."""
    made = plan(limits={"max_concurrent_trials": 2})
    with open_executor(made.spec, made, log_fields={}) as executor:
        for number in (0, 1):
            executor.submit(request(number, to_epoch=100_000))
        for slot in executor._slots:  # noqa: SLF001 - to know when they run
            wait_until(lambda: slot.pid is not None and slot.future.running())  # noqa: B023 - used at once
            os.kill(slot.pid, signal.SIGSTOP)
        ended = [executor.wait(0.5), executor.wait(0.0)]
        assert {record.trial_id for record in ended} == {request(0).trial_id, request(1).trial_id}
        assert all(is_out_of_time(record) for record in ended)
        executor.submit(request(2))
        assert executor.wait(600).status == "completed"


def test_a_trial_that_says_nothing_is_warned_of(plan, monkeypatch):
    """A hang is in the log long before it ends anything."""
    monkeypatch.setattr("job.search.executors._SILENCE_SECONDS", 1.0)
    monkeypatch.setattr("job.search.processes._LOOK_SECONDS", 0.2)
    made = plan(limits={"max_concurrent_trials": 1})
    with open_executor(made.spec, made, log_fields={}) as executor:
        executor.submit(request(to_epoch=100_000))
        (slot,) = executor._slots  # noqa: SLF001 - to know when it runs
        wait_until(lambda: slot.pid is not None and slot.future.running())
        os.kill(slot.pid, signal.SIGSTOP)
        with capture_logs(processors=[merge_contextvars]) as events:
            executor.wait(3.0)
    (told, *_) = [event for event in events if event["event"] == "a trial says nothing"]
    assert told["trial_id"] == request().trial_id


def test_the_largest_worker_is_ended_before_the_memory_limit(plan):
    """Past its share of the limit the watch ends a worker, and the trial's record says what for."""
    made = plan(limits={"max_concurrent_trials": 1})
    with open_executor(made.spec, made, log_fields={}) as executor:
        executor.submit(request(to_epoch=100_000))
        (slot,) = executor._slots  # noqa: SLF001 - to know when it runs
        wait_until(lambda: slot.pid is not None and slot.future.running())
        with MemoryWatch(executor, limit=1):
            record = executor.wait()
        assert record.status == "failed"
        assert "ended for memory" in record.error


def test_events_of_workers_arrive_with_their_fields(plan, caplog):
    """What a worker logs is logged here, in order and before its record, with the fields bound there."""
    made = plan(limits={"max_concurrent_trials": 1})
    with caplog.at_level(logging.INFO), open_executor(made.spec, made, log_fields={"run_id": "r1"}) as executor:
        executor.submit(request(to_epoch=3))
        executor.wait()
        events = [r.msg for r in caplog.records if isinstance(r.msg, dict) and r.msg["event"] == "epoch finished"]
    assert [event["epoch"] for event in events] == [1, 2, 3]
    assert {(event["run_id"], event["trial_id"]) for event in events} == {("r1", "h0-b0-i000-r0")}


def test_the_fork_server_has_one_thread(plan):
    """What workers are forked from has no thread that could hold a lock meanwhile, and ends when it is told to."""
    made = plan()
    with open_executor(made.spec, made, log_fields={}) as executor:
        executor.submit(request())
        executor.wait()
        server = psutil.Process(fork_server_pid())
        assert server.num_threads() == 1
        # It has imported what workers need.
        assert server.memory_info().rss > 200 * 2**20
    end_fork_server()
    assert not server.is_running()


def test_trials_under_way_are_checkpointed_when_the_search_is_left(plan):
    """Whatever ends a search, its workers write where their trials are, and the next start goes on from there."""
    made = plan(limits={"max_concurrent_trials": 1, "checkpoint_interval": "1h"})
    wanted = request(to_epoch=100_000)

    def leave():
        with open_executor(made.spec, made, log_fields={}) as executor:
            executor.submit(wanted)
            wait_until(
                lambda: executor.worker_pids() and psutil.Process(executor.worker_pids()[0]).cpu_times().user > 3
            )
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    state = read_state(last_checkpoint(made.checkpoints, wanted.trial_id))
    assert 0 < state.epoch < wanted.to_epoch
    assert len(state.logs) == state.epoch


def test_a_killed_driver_leaves_no_worker(tmp_path):
    """After SIGKILL of the driver its workers, busy or idle, end by themselves."""
    program = tmp_path / "driver.py"
    program.write_text(
        textwrap.dedent("""
            import sys, time

            if __name__ == "__main__":
                from job.cli import main

                sys.exit(main(["run", "--set", "search.max_epochs=1000", "--set", "search.factor=2"], {}))
        """)
    )
    process = subprocess.Popen([sys.executable, program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    driver = psutil.Process(process.pid)
    with process.stdout:
        next(line for line in process.stdout if '"epoch finished"' in line)
        workers = [child for child in driver.children(recursive=True) if child.memory_info().rss > 200 * 2**20]
        assert workers
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_SECONDS)
    assert not alive
