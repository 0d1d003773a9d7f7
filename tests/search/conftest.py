"""What the tests of the search and of training share. They run in one process: importing TensorFlow costs seconds."""

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import keras_tuner
import numpy as np
import pytest

from job.data import load_dataset
from job.records import Execution, FailureKind, SearchResult, TrialRecord, TrialRequest, lost_trial
from job.schedule import hyperband_schedule
from job.search.algorithms import make_oracle, search_limits
from job.search.driver import Driver
from job.search.oracle import HyperbandOracle
from job.search.stopping import OUT_OF_TIME, SearchLimits
from job.seeds import derive_seed
from job.spec import DataSpec
from job.training.device import prepare_process

METRIC = "val_accuracy"


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory):
    """What killed workers leave behind is in pytest's own folder, which it clears."""
    folder = str(tmp_path_factory.mktemp("temporary-files"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _tensorflow():
    """TensorFlow as a run sets it up, before its first operation."""
    prepare_process(threads=1)


def dice(seed):
    """Repeatable chance."""
    return random.Random(seed)  # noqa: S311 - a test's draws, no secret


@pytest.fixture(scope="session")
def chance_of():
    """Repeatable chance, by its seed."""
    return dice


def two_hyperparameters():
    """The built-in `mlp`'s own space: 48 points."""
    space = keras_tuner.HyperParameters()
    space.Int("units", 32, 512, step=32)
    space.Choice("learning_rate", [1e-2, 1e-3, 1e-4])
    return space


def simulated_metric(hyperparameters, epoch):
    """A metric in tenths: ties are common, and an epoch is as often worse than the one before as better."""
    return derive_seed(0, repr(sorted(hyperparameters.items())), epoch) % 11 / 10


def rising_metric(hyperparameters, epoch):
    """A metric that every epoch improves, so that the best trial is a promoted one."""
    return epoch + simulated_metric(hyperparameters, 0) / 2


@dataclass
class SimulatedExecutor:
    """Trains nothing: what a trial logs is a function of its hyperparameters; keeps account of checkpoints.

    Attributes:
        slots: trials at a time; which of those under way ends next is drawn.
        failures: how the attempts of a trial fail, in order; when the list ends, the attempt completes.
        metric: what a configuration scores in an epoch.
        elsewhere: trials that ran on another machine: their checkpoints are not expected here.
        hang_from: the second from which on no attempt ends; None for never.
        seconds: a fake clock; each epoch takes one second of it.
    """

    slots: int
    chance: random.Random
    failures: Mapping[str, Sequence[FailureKind]] = field(default_factory=dict)
    metric: Callable[[Mapping[str, float], int], float] = simulated_metric
    elsewhere: frozenset[str] = frozenset()
    hang_from: float | None = None
    seconds: float = 0.0
    requests: list[TrialRequest] = field(default_factory=list)
    under_way: list[TrialRequest] = field(default_factory=list)
    checkpoints: set[str] = field(default_factory=set)
    discarded: list[str] = field(default_factory=list)

    def clock(self):
        return self.seconds

    def submit(self, request):
        assert len(self.under_way) < self.slots
        assert request.trial_id not in {other.trial_id for other in self.under_way}
        if request.parent is not None:
            assert request.parent in self.checkpoints | self.elsewhere
            assert request.parent not in self.discarded
        self.requests.append(request)
        self.under_way.append(request)

    def wait(self, patience=None):
        if self.hang_from is not None and self.seconds >= self.hang_from:
            assert patience is not None
            self.seconds += patience
            return lost_trial(self.under_way.pop(0), "timed_out", OUT_OF_TIME)
        request = self.under_way.pop(self.chance.randrange(len(self.under_way)))
        self.seconds += request.to_epoch - request.from_epoch
        self.checkpoints.add(request.trial_id)
        attempt = sum(other.trial_id == request.trial_id for other in self.requests)
        failures = self.failures.get(request.trial_id, ())
        return self._record(request, failures[attempt - 1] if attempt <= len(failures) else None, attempt)

    def discard(self, trial_id):
        assert trial_id not in self.discarded
        needed = {name for request in self.under_way for name in (request.trial_id, request.parent)}
        assert trial_id not in needed
        self.discarded.append(trial_id)
        self.checkpoints.discard(trial_id)

    def _record(self, request, failure, attempt):
        """What a trial's attempt comes back as."""
        scores = {epoch: self.metric(request.hyperparameters, epoch) for epoch in range(1, request.to_epoch + 1)}
        best_epoch = max(scores, key=lambda epoch: (scores[epoch], -epoch))
        epochs = tuple({METRIC: scores[epoch]} for epoch in range(request.from_epoch + 1, request.to_epoch + 1))
        return TrialRecord(
            **{name: getattr(request, name) for name in request.__slots__ if name != "seed"},
            status="completed" if failure is None else "failed",
            score=scores[best_epoch] if failure is None else None,
            best_epoch=best_epoch if failure is None else None,
            executions=(Execution(epochs=epochs if failure is None else ()),),
            failure=failure,
            error=None if failure is None else f"{failure} in attempt {attempt}",
            seconds=float(request.to_epoch - request.from_epoch),
            worker="simulated",
        )


@dataclass
class Simulation:
    """One search by the real driver and oracle over a simulated executor."""

    executor: SimulatedExecutor
    driver: Driver
    stored: list[TrialRecord] = field(default_factory=list)
    announced: list[TrialRequest] = field(default_factory=list)
    bests: list[TrialRecord | None] = field(default_factory=list)

    def run(self) -> SearchResult:
        return self.driver.run()

    def trial_ended(self, record, best):
        assert record.trial_id not in {executor_request.trial_id for executor_request in self.executor.under_way}
        self.bests.append(best)


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Simulation]:
    """Sets up a search over two hyperparameters; see SimulatedExecutor.

    Without a spec it has 30 trials (10 epochs, factor 3), one bracket after the other.
    """

    def set_up(
        *,
        slots=1,
        chance=None,
        failures=None,
        known=None,
        seed=0,
        timeout=None,
        used_before=0.0,
        retries=1,
        consecutive=3,
        iterations=1,
        rising=False,
        spec=None,
        space=None,
        metric=None,
        hang_from=None,
    ):
        space = space or two_hyperparameters()
        known = known or {}
        metric = metric or (rising_metric if rising else simulated_metric)
        executor = SimulatedExecutor(slots, chance or dice(0), failures or {}, metric, frozenset(known), hang_from)
        simulation = Simulation(executor, driver=None)
        objective = keras_tuner.Objective(METRIC, "max")
        if spec is None:
            oracle = HyperbandOracle(objective, hyperband_schedule(10, 3, iterations=iterations), space, seed)
            limits = SearchLimits(timeout, retries, consecutive)
        else:
            oracle, limits = make_oracle(spec, objective, space, known), search_limits(spec)
        simulation.driver = Driver(
            oracle,
            executor,
            limits,
            known=known,
            store_record=simulation.stored.append,
            discard=executor.discard,
            observer=simulation,
            starting=simulation.announced.append,
            used_before=used_before,
            clock=executor.clock,
        )
        return simulation

    return set_up


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """An `.npz` of 150 byte images of 4 by 4 in three classes that a small net can tell apart, but not perfectly."""
    generator = np.random.default_rng(0)
    y = np.arange(150) % 3
    brightness = 90.0 + 30.0 * y
    x = np.clip(generator.normal(brightness[:, None, None], 45.0, (150, 4, 4)), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="session")
def dataset(images, tmp_path_factory):
    """The images, split and prepared: 108 rows to train on, 27 to validate on, 15 to test on."""
    return load_dataset(DataSpec(source=str(images)), seed=0, scratch=tmp_path_factory.mktemp("scratch"))
