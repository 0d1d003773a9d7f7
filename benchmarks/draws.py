"""What the job tries in the first rung of each bracket, worked out without training. Run by `tutorial.py`.

    python benchmarks/draws.py --set seed=1 --set search.max_epochs=10 --result draws.json

It follows from the seed, the addresses and the space alone: the job's own oracle is asked, and told that every trial
scored the same.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import keras_tuner
from first_rungs import FirstRungs, first_rungs
from keras_tuner.engine.trial import TrialStatus

from job.models import BUILDER_CLASSES
from job.resolve import resolve_spec
from job.search.algorithms import make_oracle
from job.settings import read_settings
from job.spec import JobSpec
from job.spec.objectives import objective_of
from job.spec.overrides import parse_assignment
from job.stages import frozen_space
from job.target import Target

# Of no consequence: a space does not depend on the data.
_ANY_SHAPE, _ANY_TARGET = (28, 28), Target("classification", ("no", "yes"))


def job_draws(spec: JobSpec) -> FirstRungs:
    """By bracket number, the hyperparameters of its first rung in the order of their indexes.

    Args:
        spec: a Hyperband search; of several iterations the first counts.
    """
    hypermodel = BUILDER_CLASSES[spec.model.builder](spec.space, input_shape=_ANY_SHAPE, target=_ANY_TARGET)
    wanted = objective_of(spec.search, _ANY_TARGET)
    oracle = make_oracle(spec, keras_tuner.Objective(wanted.name, wanted.direction), frozen_space(hypermodel), {})
    found: dict[int, dict[int, dict[str, Any]]] = {}
    while (trial := oracle.create_trial("draws")).status == TrialStatus.RUNNING:
        request = oracle.request_of(trial)
        if (request.iteration, request.rung) == (0, 0):
            found.setdefault(request.bracket, {})[request.index] = dict(request.hyperparameters)
        oracle.update_trial(trial.trial_id, {wanted.name: 0.0})
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    return first_rungs(
        {bracket: [rung[index] for index in sorted(rung)] for bracket, rung in found.items()},
    )


def main() -> None:
    """Write the first rungs as JSON, by bracket number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of the job's spec")
    parser.add_argument("--result", type=Path, required=True, help="the JSON file to write")
    arguments = parser.parse_args()
    overrides = [parse_assignment(assignment) for assignment in arguments.set]
    spec = resolve_spec(read_settings({}), overrides=overrides, with_local_files=False)
    arguments.result.write_text(json.dumps(job_draws(spec)), encoding="utf-8")


if __name__ == "__main__":
    main()
