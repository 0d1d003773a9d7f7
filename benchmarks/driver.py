"""The driver alone: a search of 10,000 trials that take no time, with 64 simulated workers.

The real Driver and HyperbandOracle; the executor answers at once, and which trial under way ends next is drawn. Events
are formatted and thrown away; records are kept in memory, or with `--store` written as a run does, to a directory.
"""

import argparse
import gc
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import keras_tuner
import psutil

from job.layout import RunLayout
from job.logs import configure
from job.publish import Publication
from job.records import Execution, TrialRecord, TrialRequest
from job.run_state import RunState
from job.schedule import Schedule, hyperband_schedule
from job.search.driver import Driver, SearchLimits
from job.search.oracle import HyperbandOracle
from job.seeds import derive_seed
from job.store import open_store
from job.training.device import prepare_process

_MEBIBYTE = 2**20
_REPORT_EVERY = 1000


class InstantExecutor:
    """Trials that end at once, in a drawn order; their metrics are a function of the lineage's seed and the epoch."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._chance = random.Random(0)  # noqa: S311 - a benchmark's draws, no secret
        self._under_way: list[TrialRequest] = []

    def submit(self, request: TrialRequest) -> None:
        """Keep the request."""
        self._under_way.append(request)

    def wait(self) -> TrialRecord:
        """The record of one of the trials under way."""
        started, cpu_started = time.perf_counter(), time.process_time()
        request = self._under_way.pop(self._chance.randrange(len(self._under_way)))
        numbers = range(1, request.to_epoch + 1)
        logs = [_metrics(request.seed, number) for number in numbers]
        best_epoch = max(numbers, key=lambda number: logs[number - 1]["val_accuracy"])
        record = TrialRecord(
            **{name: getattr(request, name) for name in request.__slots__ if name != "seed"},
            status="completed",
            score=logs[best_epoch - 1]["val_accuracy"],
            best_epoch=best_epoch,
            executions=(Execution(epochs=tuple(logs[request.from_epoch :])),),
            seconds=0.0,
            worker="simulated",
        )
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += time.process_time() - cpu_started
        return record


def _metrics(seed: int, number: int) -> dict[str, float]:
    accuracy = derive_seed(seed, number) / 2**63
    return {"accuracy": accuracy, "loss": 1 - accuracy, "val_accuracy": accuracy, "val_loss": 1 - accuracy}


@dataclass
class Report:
    """Prints a line per thousand trials; the executor's own time is left out."""

    executor: InstantExecutor
    count: int = 0
    _started: float = 0.0
    _cpu_started: float = 0.0
    _memory: int = 0
    _last: tuple[float, float] = (0.0, 0.0)

    def begin(self) -> None:
        """Print the heading, and start the clocks."""
        gc.collect()
        self._memory = _resident()
        print(f"resident before the search: {self._memory / _MEBIBYTE:.0f} MiB")
        print(
            "| trials | ms per trial | CPU ms per trial | resident, MiB more |\n| --- | --- | --- | --- |", flush=True
        )
        self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def trial_ended(self, record: TrialRecord, best: TrialRecord | None) -> None:  # noqa: ARG002 - SearchObserver's
        """One more."""
        self.count += 1
        if self.count % _REPORT_EVERY == 0:
            now = self.own_seconds
            wall, cpu = ((end - begin) / _REPORT_EVERY * 1e3 for begin, end in zip(self._last, now, strict=True))
            grown = (_resident() - self._memory) / _MEBIBYTE
            print(f"| {self.count} | {wall:.3f} | {cpu:.3f} | {grown:.1f} |", flush=True)
            self._last = now

    @property
    def own_seconds(self) -> tuple[float, float]:
        """Seconds and processor seconds spent outside the executor."""
        return (
            time.perf_counter() - self._started - self.executor.seconds,
            time.process_time() - self._cpu_started - self.executor.cpu_seconds,
        )


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    """Search, and print time and memory as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000, help="at least so many; whole Hyperband iterations")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--max-epochs", type=int, default=10)
    parser.add_argument("--store", action="store_true", help="write every record to a directory, as a run does")
    arguments = parser.parse_args()
    schedule = _schedule(arguments.max_epochs, arguments.trials)
    executor = InstantExecutor(arguments.workers)
    report = Report(executor)
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        Path(os.devnull).open("w", encoding="utf-8") as sink,
    ):
        configure("info", stream=sink)
        # As a run does, which freezes TensorFlow's objects: full collections would walk them all.
        prepare_process(threads=1)
        state = RunState(Publication(open_store(folder), RunLayout("benchmark", "run")))
        driver = Driver(
            HyperbandOracle(keras_tuner.Objective("val_accuracy", "max"), schedule, _space(), seed=0),
            executor,
            SearchLimits(timeout=None, max_retries_per_trial=1, max_consecutive_failed_trials=3),
            known={},
            store_record=state.store_record if arguments.store else lambda _record: None,
            discard=lambda _trial_id: None,
            observer=report,
        )
        report.begin()
        totals = driver.run().totals
    wall, cpu = report.own_seconds
    print(f"{totals.trials} trials of {totals.planned_trials}, {totals.epochs} epochs: {wall:.1f} s, {cpu:.1f} CPU-s")


def _schedule(max_epochs: int, trials: int) -> Schedule:
    """The tutorial's schedule, repeated until there are enough trials."""
    once = hyperband_schedule(max_epochs, 3).trials
    return hyperband_schedule(max_epochs, 3, iterations=-(-trials // once))


def _space() -> keras_tuner.HyperParameters:
    """The tutorial's, with a learning rate that never runs out of unused points."""
    space = keras_tuner.HyperParameters()
    space.Int("units", 32, 512, step=32)
    space.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    return space


if __name__ == "__main__":
    main()
