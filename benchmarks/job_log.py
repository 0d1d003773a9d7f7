"""What a finished run of the job says about itself: its manifest, its trial records and its log."""

import itertools
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from first_rungs import FirstRungs, first_rungs


def job_findings(run: Path, log: Path) -> dict[str, Any]:
    """The numbers of one published run.

    Args:
        run: the run's folder in a directory store.
        log: the job's standard output, one JSON event per line.

    Returns:
        Among others `share_inside_epochs`: of the workers' wall time, from the start of the search to its end, the
        share spent in compiled training and validation (see `epoch_seconds`), and `share_of_trials`, that of the
        time that trials took, without the workers' start and idle time.
    """
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    lines = (run / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    trials = [json.loads(line) for line in lines]
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    epochs = [trial["to_epoch"] - trial["from_epoch"] for trial in trials]
    unit_epochs = sum(trial["hyperparameters"]["units"] * count for trial, count in zip(trials, epochs, strict=True))
    workers = next((event["workers"] for event in events if event["event"] == "workers started"), 1)
    inside = epoch_seconds(events)
    return {
        "trials": len(trials),
        "epochs": sum(epochs),
        "unit_epochs": unit_epochs,
        "mean_units": unit_epochs / sum(epochs),
        "best_score": max(trial["score"] for trial in trials if trial["score"] is not None),
        "test_accuracy": manifest["scores"]["test"]["accuracy"],
        "best_hyperparameters": manifest["best_hyperparameters"],
        "first_rungs": _tried_first(trials),
        "workers": workers,
        "seconds": manifest["seconds"],
        "share_inside_epochs": inside / (workers * manifest["seconds"]["search"]),
        "share_of_trials": inside / sum(trial["seconds"] for trial in trials),
    }


def _tried_first(trials: Iterable[dict[str, Any]]) -> FirstRungs:
    found: FirstRungs = {}
    for trial in sorted(trials, key=lambda trial: trial["index"]):
        if trial["rung"] == 0:
            found.setdefault(trial["bracket"], []).append(trial["hyperparameters"])
    return first_rungs(found)


def epoch_seconds(events: Iterable[dict[str, Any]]) -> float:
    """Seconds that trials spent in epochs, all together.

    Where an epoch's event says its `seconds`, they are taken. Where it does not, they are estimated: a trial's epochs
    take the time between their events, checkpoints included, and the first one, whose beginning no event tells, what
    the shortest of the others takes; so tracing and compiling count as outside.
    """
    ends: dict[str, list[datetime]] = {}
    total = 0.0
    for event in events:
        if event["event"] != "epoch finished" or "trial_id" not in event:
            continue
        if "seconds" in event:
            total += event["seconds"]
        else:
            ends.setdefault(event["trial_id"], []).append(datetime.fromisoformat(event["timestamp"]))
    return total + sum(map(_estimate, ends.values()))


def _estimate(ends: list[datetime]) -> float:
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(ends)]
    return sum(gaps) + min(gaps, default=0.0)
