"""One trial: a configuration from one rung's start to its end, with all its seeds and folds."""

import gc
import math
import os
import socket
import time
from contextlib import AbstractContextManager, nullcontext

import keras_tuner

from job.disk import disk_full, is_disk_full
from job.errors import JobError, ModelCodeError
from job.logs import bound, get_logger
from job.records import FailureKind, TrialRecord, TrialRequest, mean_and_deviation, trial_identity
from job.training.building import build_model
from job.training.checkpoint import best_checkpoint, last_checkpoint
from job.training.lineage import DivergedError, Lineage, TrialTimeoutError
from job.training.stopping import better
from job.training.trial_setting import ExecutionPlace, TrialSetting, execution_places

__all__ = [
    "DivergedError",
    "TrialSetting",
    "TrialTimeoutError",
    "best_checkpoint",
    "better",
    "build_model",
    "last_checkpoint",
    "run_trial",
]


class _Trial:
    """The state of one attempt at a trial."""

    def __init__(self, request: TrialRequest, setting: TrialSetting) -> None:
        self.request = request
        self.setting = setting
        self.lineages: list[Lineage] = []
        self.started = time.monotonic()

    def train(self) -> None:
        """Train one lineage after the other. What an earlier attempt got through is not trained again."""
        folds = self.setting.folds
        for place in execution_places(self.setting.executions, None if folds is None else folds.count):
            lineage = Lineage(self.request, self.setting, place, self.started)
            self.lineages.append(lineage)
            with _named_in_log(place):
                lineage.run()
            # Of what is on disk only the figures are needed: the next lineage has the memory.
            lineage.best = lineage.last = None

    def record(self, failure: FailureKind | None, error: str | None) -> TrialRecord:
        """What is stored of the trial, completed or failed."""
        scores = [one.state.best_score for one in self.lineages if one.state.best_score is not None]
        best_epochs = [one.state.best_epoch for one in self.lineages if one.state.best_epoch is not None]
        is_scored = failure is None and bool(scores)
        score, deviation = mean_and_deviation(scores) if is_scored else (None, None)
        return TrialRecord(
            **trial_identity(self.request),
            status="completed" if failure is None else "failed",
            score=score,
            deviation=deviation,
            best_epoch=math.floor(mean_and_deviation([*map(float, best_epochs)])[0] + 0.5) if is_scored else None,
            executions=tuple(lineage.execution() for lineage in self.lineages),
            failure=failure,
            error=error,
            seconds=round(time.monotonic() - self.started, 3),
            worker=f"{socket.gethostname()}:{os.getpid()}",
        )


def _named_in_log(place: ExecutionPlace) -> AbstractContextManager[object]:
    if place.is_only:
        return nullcontext()
    return bound(execution=place.index, **({} if place.fold is None else {"fold": place.fold}))


def run_trial(request: TrialRequest, setting: TrialSetting) -> TrialRecord:
    """Make one attempt at a trial; whatever goes wrong in it is in the record, as `status` and `error`.

    When it returns the checkpoints are written: the next rung may start in another process.

    Raises:
        ModelCodeError: the user's code has raised KerasTuner's FatalError: the search is to end.
        JobError: what is wrong is not the trial's own affair, for example a full disk of the job.
        TrainingPausedError: the process was asked to stop; the trial's checkpoint is written.
    """
    trial = _Trial(request, setting)
    failure: FailureKind | None = None
    error: str | None = None
    with bound(trial_id=request.trial_id, iteration=request.iteration, bracket=request.bracket, rung=request.rung):
        try:
            trial.train()
        except JobError:
            raise
        except keras_tuner.errors.FatalError as reason:
            raise ModelCodeError(setting.hypermodel.explain(reason)) from reason
        except keras_tuner.errors.FailedTrialError as reason:
            failure, error = "given_up", setting.hypermodel.explain(reason)
        except DivergedError as reason:
            failure, error = "diverged", str(reason)
        except TrialTimeoutError as reason:
            failure, error = "timed_out", str(reason)
        except Exception as reason:
            if is_disk_full(reason):
                raise disk_full(setting.checkpoints, reason) from reason
            failure = "error"
            error = setting.hypermodel.explain(reason)
            get_logger().warning("trial raised", exc_info=reason)
    if failure is not None:
        gc.collect()
    return trial.record(failure, error)
