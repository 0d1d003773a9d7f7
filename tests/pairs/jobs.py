"""A whole job in this process, which has imported TensorFlow once for all of them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job.cli import main


@dataclass(frozen=True)
class Done:
    """How a job ended.

    Attributes:
        code: its exit code.
        said: standard error: the message of what went wrong.
        events: the log.
        run: the run's folder.
    """

    code: int
    said: str
    events: list[dict[str, Any]]
    run: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """Of the published run."""
        return json.loads((self.run / "manifest.json").read_text())

    @property
    def records(self) -> list[dict[str, Any]]:
        """Of all trials."""
        return [json.loads(line) for line in (self.run / "trials.jsonl").read_text().splitlines()]

    def event(self, name: str) -> dict[str, Any]:
        """The only event of this name."""
        (found,) = (event for event in self.events if event["event"] == name)
        return found


def run_job(folder: Path, spec: dict[str, Any], capfd: Any) -> Done:
    """Run a job whose data and code lie in a folder, the working directory; one worker process trains."""
    spec = {"limits": {"max_concurrent_trials": 1}, "output": str(folder / "runs")} | spec
    (folder / "job.json").write_text(json.dumps(spec))
    environment = {"JOB_SCRATCH": str(folder / "scratch"), "PATH": os.environ["PATH"]}
    capfd.readouterr()
    code = main(["run", "--spec", "job.json", "--run-id", "r1"], environment)
    said = capfd.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    return Done(code, said.err, events, folder / "runs" / spec["name"] / "runs" / "r1")
