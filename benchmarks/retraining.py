"""How often a published model is worse on the test split than its search promised: the rule before, and the one now.

Ten small problems, five seeds; both rules share each search. See docs/quality.md.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from sklearn import datasets

from job import stages
from job.data import load_dataset
from job.evaluation import evaluate
from job.models import publishable_model
from job.search.executors import open_executor
from job.search.trial_plan import trial_plan
from job.seeds import derive_seed
from job.spec import JobSpec
from job.training.building import build_model
from job.training.device import prepare_process


def _problems() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets by name; whole numbers are classes."""
    draw = np.random.default_rng(0)
    images = draw.normal(size=(400, 16)) + np.repeat(np.eye(16)[:4] * 3, 100, axis=0)
    x, y = datasets.make_regression(400, 10, noise=10.0, random_state=0)
    found = {
        "digits": datasets.load_digits(return_X_y=True),
        "wine": datasets.load_wine(return_X_y=True),
        "breast cancer": datasets.load_breast_cancer(return_X_y=True),
        "diabetes": datasets.load_diabetes(return_X_y=True),
        "blobs": datasets.make_blobs(300, 5, centers=5, cluster_std=3.0, random_state=0),
        "moons": datasets.make_moons(300, noise=0.25, random_state=0),
        "friedman": datasets.make_friedman1(400, noise=1.0, random_state=0),
        "linear": (x, y),
        "four shapes": (images, np.repeat(np.arange(4), 100)),
        "imbalanced": datasets.make_classification(500, 10, weights=[0.9], random_state=0),
    }
    return {name: ((x - x.mean(0)) / (x.std(0) + 1e-9), y) for name, (x, y) in found.items()}


def _retrained_as_before(plan, dataset, result, seed: int):  # noqa: ANN001, ANN202 - a script's own
    """The rule before: from a fresh seed, for the winner's epochs, unseen."""
    best, hypermodel = result.best, plan.hypermodel()
    core = build_model(hypermodel, best.hyperparameters, derive_seed(seed, "retrain", 0))
    rows = dataset.files.open()
    core.fit(
        rows.x,
        rows.y,
        batch_size=hypermodel.batch_size(best.hyperparameters),
        epochs=best.best_epoch or best.to_epoch,
        verbose=0,
    )
    return publishable_model(core, dataset.preparation)


def _compared(name: str, arrays: tuple[np.ndarray, np.ndarray], seed: int, folder: Path) -> tuple[bool, bool, bool]:
    """Whether the model before and the one now are worse than promised, and whether the search's own is published."""
    x, y = arrays
    is_class = np.issubdtype(y.dtype, np.integer)
    np.savez(folder / "rows.npz", x=x.astype(np.float32), y=y)
    metric = "accuracy" if is_class else "mae"
    spec = JobSpec.model_validate(
        {
            "seed": seed,
            "data": {"source": str(folder / "rows.npz"), "task": "classification" if is_class else "regression"},
            "space": {"units": [8, 32], "learning_rate": [0.03, 0.01, 0.003]},
            "search": {"algorithm": "random", "max_trials": 3, "max_epochs": 5, "objective": f"val_{metric}"},
            "resources": {"executor": "inline"},
        }
    )
    dataset = load_dataset(spec.data, seed=seed, scratch=folder)
    plan = trial_plan(spec, dataset, folder)
    with open_executor(spec, plan, log_fields={}) as executor:
        result = stages.search(spec, plan, executor, known={}, store_record=lambda _: None, console=None)
    now = stages.retrain(spec, dataset, plan, result)
    promised, rows = result.best.score, dataset.test.rows
    worse = []
    for model in (_retrained_as_before(plan, dataset, result, seed), now.model):
        score = evaluate(model, dataset).scores[metric]
        if is_class:
            error, missing = math.sqrt(max(promised * (1 - promised), 0.25 / rows) / rows), promised - score
        else:
            residuals = np.abs(model.predict(dataset.test.x, verbose=0).reshape(-1) - dataset.test.y)
            error, missing = float(residuals.std() / math.sqrt(rows)), score - promised
        worse.append(missing > 2 * error)
    print(f"{name:14} seed {seed} promised {promised:.4g} worse {worse} {now.description.origin}", flush=True)
    return worse[0], worse[1], now.description.origin == "search"


def main() -> None:
    """Print a table: by problem, of how many seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--problems", type=int, default=10)
    arguments = parser.parse_args()
    prepare_process(threads=1)
    lines = ["| problem | worse before | worse now | the search's own published |", "| --- | --- | --- | --- |"]
    for name, arrays in list(_problems().items())[: arguments.problems]:
        counts = np.zeros(3, int)
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                counts += _compared(name, arrays, seed, Path(folder))
        lines.append(f"| {name} | {counts[0]} | {counts[1]} | {counts[2]} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
