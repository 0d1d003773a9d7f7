"""The tutorial's search on bare KerasTuner and as this job: time, processor time, memory, and what was found.

    python benchmarks/tutorial.py                                        # what `make bench` runs
    python benchmarks/tutorial.py --cases dense --rows 4000 --epochs 3   # a smoke run

Each side runs as a command of its own, one after the other, on the same splits and the same schedule: Hyperband to
`--epochs` with factor 3, then the best hyperparameters once more over training and validation rows for `--epochs`.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fashion_mnist import write_splits
from job_log import job_findings
from process_tree import Measured, run_measured

from job.resources import available_resources
from job.spaces import BUILDERS

_MEBIBYTE = 2**20
_BARE = Path(__file__).with_name("bare.py")


@dataclass(frozen=True, slots=True)
class Case:
    """One model: its name for `bare.py`, and the spec that gives the job the same one."""

    builder: str
    settings: tuple[str, ...]


# The job's conv case needs a builder whose hyperparameters are these.
CASES = {
    "dense": Case("mlp", ()),
    "dropout": Case("mlp", ("space.dropout=0.2",)),
    "conv": Case("cnn", ("model.builder=cnn",)),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One side's run of one case; `findings` are its numbers besides what was measured from outside."""

    case: str
    side: str
    measured: Measured
    findings: dict[str, Any]


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
        for number in range(arguments.repeat):
            for case in arguments.cases:
                for side in sides:
                    runs.append(_run(case, side, arguments, data, scratch / f"{case}-{side}-{number}"))
                    print(_progress(runs[-1]), flush=True)
    print()
    for line in table(runs):
        print(line)
    if arguments.json is not None:
        document = [dataclasses.asdict(run) for run in runs]
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    default_cases = [name for name, case in CASES.items() if case.builder in BUILDERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=default_cases, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=10, help="max_epochs, and epochs of the retraining")
    parser.add_argument("--rows", type=int, help="use so many training rows, for a smoke run")
    parser.add_argument("--repeat", type=int, default=1, help="run each so many times; the table has medians")
    parser.add_argument("--only", choices=("bare", "job"), help="run one side alone")
    parser.add_argument("--seed", type=int, default=1, help="of both sides' sampling")
    parser.add_argument("--data", type=Path, help="an .npz file with x_train, y_train, x_test, y_test")
    parser.add_argument("--json", type=Path, help="write every run's numbers to this file, too")
    arguments = parser.parse_args()
    for name in arguments.cases:
        if arguments.only != "bare" and CASES[name].builder not in BUILDERS:
            parser.error(f"the job has no builder {CASES[name].builder!r}: case {name} runs with --only bare")
    return arguments


def _run(case: str, side: str, arguments: argparse.Namespace, data: Path, folder: Path) -> Run:
    folder.mkdir()
    result = folder / "result.json"
    output = folder / "runs"
    if side == "bare":
        command = [sys.executable, str(_BARE), "--case", case, "--data", str(data), "--result", str(result)]
        command += ["--epochs", str(arguments.epochs), "--seed", str(arguments.seed)]
    else:
        command = [sys.executable, "-m", "job", "run", "--run-id", "run", "--output", str(output)]
        settings = (
            "name=benchmark",
            f"seed={arguments.seed}",
            f"data.source={data}",
            "search.factor=3",
            f"search.max_epochs={arguments.epochs}",
            f"retrain.epochs={arguments.epochs}",
            *CASES[case].settings,
        )
        command += [word for setting in settings for word in ("--set", setting)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "AWS_"))}
    try:
        measured = run_measured(command, folder=folder, environment=environment, log=folder / "log")
    except subprocess.CalledProcessError as error:
        said = (error.stdout + error.stderr).decode(errors="replace")
        sys.exit(f"{said[-2000:]}\n{case}, {side}: ended with code {error.returncode}: {' '.join(command)}")
    if side == "bare":
        findings = json.loads(result.read_text(encoding="utf-8"))
    else:
        findings = job_findings(output / "benchmark" / "runs" / "run", folder / "log.out")
    return Run(case, side, measured, findings)


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
)


def table(runs: Sequence[Run]) -> Iterable[str]:
    """A Markdown table: medians over the repetitions; the ratios are bare KerasTuner's seconds over the job's."""
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
        )
        yield f"| {' | '.join(cells)} |"


def _median(runs: Iterable[Run], name: str) -> float:
    return float(statistics.median(getattr(run.measured, name) for run in runs))


def _median_finding(runs: Iterable[Run], name: str) -> float:
    return float(statistics.median(run.findings[name] for run in runs))


if __name__ == "__main__":
    main()
