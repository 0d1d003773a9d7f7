"""The tutorial's search on bare KerasTuner and as this job: time, processor time, memory, and what was found.

    python benchmarks/tutorial.py                                        # what `make bench` runs
    python benchmarks/tutorial.py --cases dense --rows 4000 --epochs 3   # a smoke run

Each side runs as a command of its own, one after the other, on the same splits and the same schedule: Hyperband to
`--epochs` with factor 3, then the best hyperparameters once more over training and validation rows for `--epochs`. Bare
KerasTuner is given the configurations that the job tries in its first rungs; `--own-draws` lets it draw its own.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fashion_mnist import write_splits
from first_rungs import first_rungs
from job_log import job_findings
from process_tree import Measured, run_measured

from job.resources import available_resources

_MEBIBYTE = 2**20
_BARE = Path(__file__).with_name("bare.py")


_DRAWS = Path(__file__).with_name("draws.py")

# One model each: its name for `bare.py`, and the fields of the spec that give the job the same one.
CASES: dict[str, tuple[str, ...]] = {
    "dense": (),
    "dropout": ("space.dropout=0.2",),
    "conv": ("model.builder=cnn",),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One side's run of one case.

    Attributes:
        findings: its numbers besides what was measured from outside.
        unit_epochs: `units` times epochs over the search and the retraining, whose longer epochs count by their rows.
    """

    case: str
    side: str
    measured: Measured
    findings: dict[str, Any]
    unit_epochs: float


def main() -> None:
    """Run what was asked for and print the table."""
    arguments = _arguments()
    sides = ("bare", "job") if arguments.only is None else (arguments.only,)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        scratch = Path(folder)
        data = scratch / "fashion-mnist.npz"
        rows = write_splits(data, source=arguments.data, rows=arguments.rows)
        cores = available_resources().cores
        print(f"rows {rows}, max_epochs {arguments.epochs}, factor 3, {cores} cores, load {os.getloadavg()[0]:.2f}")
        benches = [Bench(case, arguments, data, rows, scratch) for case in arguments.cases]
        if not arguments.own_draws:
            for bench in benches:
                bench.write_draws()
        for number in range(arguments.repeat):
            for bench in benches:
                for side in sides:
                    runs.append(bench.run(side, number))
                    print(_progress(runs[-1]), flush=True)
    print()
    for line in table(runs):
        print(line)
    if arguments.json is not None:
        document = [dataclasses.asdict(run) for run in runs]
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--epochs", type=int, default=10, help="max_epochs, and epochs of the retraining")
    parser.add_argument("--rows", type=int, help="use so many training rows, for a smoke run")
    parser.add_argument("--repeat", type=int, default=1, help="run each so many times; the table has medians")
    parser.add_argument("--only", choices=("bare", "job"), help="run one side alone")
    parser.add_argument("--own-draws", action="store_true", help="let bare KerasTuner draw its own configurations")
    parser.add_argument("--seed", type=int, default=1, help="of the job's draws, and of KerasTuner's own")
    parser.add_argument("--data", type=Path, help="an .npz file with x_train, y_train, x_test, y_test")
    parser.add_argument("--json", type=Path, help="write every run's numbers to this file, too")
    return parser.parse_args()


@dataclass(frozen=True, slots=True)
class Bench:
    """One case, ready to run on either side.

    Attributes:
        rows: of each split in the file `data`.
        scratch: where runs get folders of their own.
    """

    case: str
    arguments: argparse.Namespace
    data: Path
    rows: Mapping[str, int]
    scratch: Path

    def write_draws(self) -> None:
        """Ask the job what it tries in its first rungs; see `draws.py`."""
        command = [sys.executable, str(_DRAWS), *self._settings(), "--result", str(self._draws)]
        done = subprocess.run(command, check=False, env=_environment(), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.stderr[-2000:]}\n{self.case}: no draws: {' '.join(command)}")

    def run(self, side: str, number: int) -> Run:
        """Run one side, and see that it tried in its first rungs what it should."""
        folder = self.scratch / f"{self.case}-{side}-{number}"
        folder.mkdir()
        command = self._bare_command(folder) if side == "bare" else self._job_command(folder)
        try:
            measured = run_measured(command, folder=folder, environment=_environment(), log=folder / "log")
        except subprocess.CalledProcessError as error:
            said = (error.stdout + error.stderr).decode(errors="replace")
            sys.exit(f"{said[-2000:]}\n{self.case}, {side}: ended with code {error.returncode}: {' '.join(command)}")
        if side == "bare":
            findings = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        else:
            findings = job_findings(folder / "runs" / "benchmark" / "runs" / "run", folder / "log.out")
        tried = first_rungs(findings.pop("first_rungs"))
        if self._draws.exists() and tried != first_rungs(json.loads(self._draws.read_text(encoding="utf-8"))):
            sys.exit(f"{self.case}, {side}: the first rungs are not those that draws.py foretold: {tried}")
        return Run(self.case, side, measured, findings, self._unit_epochs(findings))

    @property
    def _draws(self) -> Path:
        return self.scratch / f"{self.case}-draws.json"

    def _bare_command(self, folder: Path) -> list[str]:
        command = [sys.executable, str(_BARE), "--case", self.case, "--data", str(self.data)]
        command += ["--epochs", str(self.arguments.epochs), "--seed", str(self.arguments.seed)]
        draws = ["--draws", str(self._draws)] if self._draws.exists() else []
        return [*command, *draws, "--result", str(folder / "result.json")]

    def _job_command(self, folder: Path) -> list[str]:
        command = [sys.executable, "-m", "job", "run", "--run-id", "run", "--output", str(folder / "runs")]
        return [*command, *self._settings()]

    def _settings(self) -> list[str]:
        epochs = self.arguments.epochs
        settings = (
            "name=benchmark",
            f"seed={self.arguments.seed}",
            f"data.source={self.data}",
            "search.factor=3",
            f"search.max_epochs={epochs}",
            f"retrain.epochs={epochs}",
            *CASES[self.case],
        )
        return [word for setting in settings for word in ("--set", setting)]

    def _unit_epochs(self, findings: Mapping[str, Any]) -> float:
        longer = (self.rows["train"] + self.rows["validation"]) / self.rows["train"]
        retraining = findings["best_hyperparameters"]["units"] * self.arguments.epochs * longer
        return float(findings["unit_epochs"] + retraining)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "AWS_"))}


def _progress(run: Run) -> str:
    return f"{run.case} {run.side}: {run.measured.wall:.1f} s, {run.measured.cpu:.1f} CPU-s, {json.dumps(run.findings)}"


_COLUMNS = (
    "case",
    "side",
    "wall s",
    "CPU s",
    "largest process MiB",
    "largest child MiB",
    "whole tree MiB",
    "trials",
    "epochs",
    "units per epoch",
    "best score",
    "test accuracy",
    "inside epochs",
    "wall ratio",
    "CPU ratio",
    "unit-epochs ratio",
)


def table(runs: Sequence[Run]) -> Iterable[str]:
    """A Markdown table: medians over the repetitions; the ratios are bare KerasTuner's numbers over the job's."""
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"| {' | '.join('---' for _ in _COLUMNS)} |"
    for case, side in dict.fromkeys((run.case, run.side) for run in runs):
        own = [run for run in runs if (run.case, run.side) == (case, side)]
        bare = [run for run in runs if (run.case, run.side) == (case, "bare")]
        wall, cpu = _median(own, "wall"), _median(own, "cpu")
        compared = side == "job" and bare
        share = [run.findings["share_inside_epochs"] for run in own if side == "job"]
        cells = (
            case,
            side,
            f"{wall:.1f}",
            f"{cpu:.1f}",
            *(f"{_median(own, peak) / _MEBIBYTE:.0f}" for peak in ("process_peak", "child_peak", "tree_peak")),
            *(f"{_median_finding(own, name):.0f}" for name in ("trials", "epochs", "mean_units")),
            *(f"{_median_finding(own, name):.4f}" for name in ("best_score", "test_accuracy")),
            f"{statistics.median(share):.0%}" if share else "",
            f"{_median(bare, 'wall') / wall:.2f}" if compared else "",
            f"{_median(bare, 'cpu') / cpu:.2f}" if compared else "",
            f"{_unit_epochs(bare) / _unit_epochs(own):.2f}" if compared else "",
        )
        yield f"| {' | '.join(cells)} |"


def _median(runs: Iterable[Run], name: str) -> float:
    return float(statistics.median(getattr(run.measured, name) for run in runs))


def _unit_epochs(runs: Iterable[Run]) -> float:
    return float(statistics.median(run.unit_epochs for run in runs))


def _median_finding(runs: Iterable[Run], name: str) -> float:
    return float(statistics.median(run.findings[name] for run in runs))


if __name__ == "__main__":
    main()
