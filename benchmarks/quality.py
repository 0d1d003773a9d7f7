"""Tuned models beside scikit-learn's defaults, on scikit-learn's diabetes, wine and breast-cancer data.

    python benchmarks/quality.py --seeds 5 --result quality.json
    python benchmarks/quality.py --format csv --data s3://datasets/quality --output s3://models/quality

Each seed draws a test split of a fifth of the rows, the same for all. scikit-learn's models (logistic or ridge
regression behind a StandardScaler, and HistGradientBoosting, all with their defaults) are fitted on the rest. The job
is given the rest to search and retrain on, as files, and its published model is scored on the test rows by the job
itself.
"""

import argparse
import csv
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from job import layout
from job.layout import RunLayout
from job.records import Manifest
from job.store import open_store

_TEST_SHARE = 0.2
_TARGET = "target"
_SAME = 1e-6

# No hidden layer is a linear model, with `l2` a ridge or a logistic regression: the search decides.
SPACE = {
    "hidden_layers": [0, 1, 2],
    "units": [16, 32, 64],
    # Steps so small that it is no matter of chance at which epoch a model is best.
    "learning_rate": {"type": "float", "min_value": 0.001, "max_value": 0.01, "sampling": "log"},
    "dropout": [0.0, 0.3],
    "l2": {"type": "float", "min_value": 1e-3, "max_value": 1.0, "sampling": "log"},
}


@dataclass(frozen=True)
class Problem:
    """One data set, and how models of it are scored.

    Attributes:
        metric: the job's name of the score on the test split.
        sign: 1 where more is better, -1 where less is.
        baselines: scikit-learn's models, by name.
    """

    name: str
    load: Callable[..., Any]
    metric: str
    sign: int
    baselines: dict[str, Callable[[], Any]]


_CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "HistGradientBoosting": lambda: HistGradientBoostingClassifier(random_state=0),
}
_REGRESSORS: dict[str, Callable[[], Any]] = {
    "ridge regression": lambda: make_pipeline(StandardScaler(), Ridge()),
    "HistGradientBoosting": lambda: HistGradientBoostingRegressor(random_state=0),
}
PROBLEMS = (
    Problem("diabetes", datasets.load_diabetes, "rmse", -1, _REGRESSORS),
    Problem("wine", datasets.load_wine, "accuracy", 1, _CLASSIFIERS),
    Problem("breast-cancer", datasets.load_breast_cancer, "accuracy", 1, _CLASSIFIERS),
)


@dataclass(frozen=True)
class Rows:
    """Training and test rows of one seed."""

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]


def rows_of(problem: Problem, seed: int) -> Rows:
    """The rows as a seed divides them; classes in proportion."""
    bunch = problem.load()
    strata = bunch.target if problem.metric == "accuracy" else None
    x_train, x_test, y_train, y_test = train_test_split(
        bunch.data, bunch.target, test_size=_TEST_SHARE, random_state=seed, stratify=strata
    )
    return Rows(x_train, y_train, x_test, y_test)


def baseline_score(problem: Problem, make: Callable[[], Any], rows: Rows) -> float:
    """A scikit-learn model's score on the test rows."""
    model = make().fit(rows.x_train, rows.y_train)
    if problem.metric == "accuracy":
        return float(model.score(rows.x_test, rows.y_test))
    return float(root_mean_squared_error(rows.y_test, model.predict(rows.x_test)))


def tuned_score(problem: Problem, rows: Rows, seed: int, options: argparse.Namespace) -> float:
    """The score of the job's published model, which a process of its own searched for."""
    name = f"{problem.name}-{seed}"
    document = {
        "name": name,
        "seed": seed,
        "output": options.output,
        # A validation split of so few rows decides by chance, and ends training by chance.
        "data": write_rows(problem, rows, name, options) | {"folds": 5},
        "space": SPACE,
        "search": {
            "algorithm": "random",
            "max_trials": options.trials,
            "max_epochs": options.epochs,
            # Of so few rows many models are right about all; how sure they are tells them apart, and when to stop.
            "objective": "val_cross_entropy" if problem.metric == "accuracy" else "val_rmse",
        },
    }
    command = [sys.executable, "-m", "job", "run", "--run-id", "quality", "--spec", json.dumps(document)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name}: the job ended with {done.returncode}\n{done.stderr}")
    stored = open_store(options.output).get(RunLayout(name, "quality").key(layout.MANIFEST))
    return Manifest.model_validate_json(stored.data).scores.test[problem.metric]


def write_rows(problem: Problem, rows: Rows, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Put the rows where the job reads them; the `data` section that says so."""
    store = open_store(options.data)

    def put(key: str, content: bytes) -> str:
        store.put(key, content)
        return f"{options.data.rstrip('/')}/{key}"

    task = "classification" if problem.metric == "accuracy" else "regression"
    if options.format == "npz":
        file = io.BytesIO()
        np.savez(file, **vars(rows))
        return {"source": put(f"{name}.npz", file.getvalue()), "rescale": "standardize", "task": task}
    columns = [str(column) for column in problem.load().feature_names]
    return {
        "source": put(f"{name}-train.csv", _as_csv(columns, rows.x_train, rows.y_train)),
        "test_source": put(f"{name}-test.csv", _as_csv(columns, rows.x_test, rows.y_test)),
        "target": _TARGET,
        "task": task,
    }


def _as_csv(columns: Sequence[str], x: NDArray[Any], y: NDArray[Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*columns, _TARGET])
    writer.writerows([*inputs, target] for inputs, target in zip(x.tolist(), y.tolist(), strict=True))
    return text.getvalue().encode()


@dataclass(frozen=True)
class Compared:
    """Scores of one data set, by model, a number per seed."""

    problem: Problem
    scores: dict[str, list[float]]

    def lines(self) -> list[str]:
        """A row of the table per model, with how much better or worse the tuned one is, seed by seed."""
        tuned = np.array(self.scores["tuned"])
        lines = []
        for name, values in self.scores.items():
            scores = np.array(values)
            row = f"| {self.problem.name} | {self.problem.metric} | {name} | {_mean_and_error(scores)} |"
            if name == "tuned":
                lines.append(f"{row} | |")
                continue
            gains = self.problem.sign * (tuned - scores)
            error = max(_error(gains), _SAME)
            # Within a standard error neither is better; of a single seed there is none. The job's scores are float32.
            verdict = "better" if gains.mean() > error else "worse" if gains.mean() < -error else "equal"
            lines.append(f"{row} {_mean_and_error(gains)} | {verdict} |")
        return lines


def _error(values: NDArray[np.float64]) -> float:
    """The standard error of the mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _mean_and_error(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.4g} ± {_error(values):.2g}"


def main() -> None:
    """Compare, and print the table of `docs/quality.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many splits, each with a search of its own")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--epochs", type=int, default=60, help="the job's search.max_epochs")
    parser.add_argument("--trials", type=int, default=24, help="the job's search.max_trials")
    parser.add_argument("--problems", nargs="+", default=[p.name for p in PROBLEMS], choices=[p.name for p in PROBLEMS])
    parser.add_argument("--format", choices=["csv", "npz"], default="csv", help="the files that the job is given")
    parser.add_argument("--data", help="where to put these files: a directory or s3://…; a temporary one by default")
    parser.add_argument("--output", help="where the job publishes: likewise")
    parser.add_argument("--result", type=Path, help="a JSON file to write the scores to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.data = options.data or f"{folder}/data"
        options.output = options.output or f"{folder}/runs"
        compared = [_compare(problem, options) for problem in PROBLEMS if problem.name in options.problems]
    if options.result is not None:
        scores = {one.problem.name: one.scores for one in compared}
        options.result.write_text(json.dumps(scores, indent=1), encoding="utf-8")
    print("| data | score | model | mean ± standard error | tuned is better by | verdict |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(line for one in compared for line in one.lines()))


def _compare(problem: Problem, options: argparse.Namespace) -> Compared:
    scores: dict[str, list[float]] = {name: [] for name in ("tuned", *problem.baselines)}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        rows = rows_of(problem, seed)
        for name, make in problem.baselines.items():
            scores[name].append(baseline_score(problem, make, rows))
        scores["tuned"].append(tuned_score(problem, rows, seed, options))
        found = ", ".join(f"{name} {values[-1]:.4g}" for name, values in scores.items())
        print(f"{problem.name}, seed {seed}: {found}", file=sys.stderr)
    return Compared(problem, scores)


if __name__ == "__main__":
    main()
