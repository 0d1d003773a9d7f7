"""The search as a run does it: real trials, on real data, from a job spec."""

import pytest
from keras_tuner.engine.metrics_tracking import infer_metric_direction

from job import stages
from job.search.addressed import Address
from job.search.executors import open_executor
from job.search.trial_plan import trial_plan
from job.seeds import derive_seed
from job.spec import JobSpec
from job.spec.metrics import METRICS
from job.training.trial import best_checkpoint, last_checkpoint

# Two brackets: 3 trials to epoch 1 of which one goes on to epoch 3, and 2 trials to epoch 3.
SPEC = {
    "space": {"units": [8, 16, 32], "learning_rate": [0.1, 0.01, 0.001], "dropout": [0.0, 0.3]},
    "search": {"max_epochs": 3, "factor": 3},
}


@pytest.fixture(scope="module")
def search(dataset, tmp_path_factory):
    """Runs a search; gives its result, the records it stored, and its scratch folder."""

    def run(*, known=None, **spec):
        job_spec = JobSpec.model_validate(SPEC | {"resources": {"executor": "inline"}} | spec)
        plan = trial_plan(job_spec, dataset, tmp_path_factory.mktemp("scratch"))
        stored = []
        with open_executor(job_spec, plan, log_fields={}) as executor:
            result = stages.search(
                job_spec, plan, executor, known=known or {}, store_record=stored.append, console=None
            )
        return result, stored, plan.checkpoints

    return run


@pytest.fixture(scope="module")
def first(search):
    return search()


def numbers(result):
    """A search's result without what a clock or a machine says."""
    trials = [trial.model_copy(update={"seconds": 0.0, "worker": ""}) for trial in result.trials]
    return trials, result.best.trial_id, result.totals


def test_runs_the_planned_trials(first):
    """Six trials and eleven epochs, each with a record of every epoch's metrics."""
    result, stored, _ = first
    assert [trial.trial_id for trial in result.trials] == [
        "h0-b1-i000-r0",
        "h0-b1-i001-r0",
        "h0-b1-i002-r0",
        f"h0-b1-i{result.trials[3].index:03d}-r1",
        "h0-b0-i000-r0",
        "h0-b0-i001-r0",
    ]
    assert (result.totals.trials, result.totals.epochs, result.totals.planned_epochs) == (6, 11, 11)
    assert all(trial.status == "completed" for trial in result.trials)
    assert all(len(trial.executions[0].epochs) == trial.to_epoch - trial.from_epoch for trial in result.trials)
    assert sorted(record.trial_id for record in stored) == sorted(trial.trial_id for trial in result.trials)
    assert 0 < result.best.score <= 1


def test_only_the_best_trials_checkpoints_are_left(first):
    """The scratch disk holds the best trial's checkpoint, for retraining, and no loser's."""
    result, _, folder = first
    best = result.best.trial_id
    assert {path.name for path in folder.iterdir()} == {
        best_checkpoint(folder, best).name,
        last_checkpoint(folder, best).name,
    }


def test_the_same_seed_gives_the_same_records(first, search):
    """A second search differs in seconds and worker only: every metric of every epoch is equal to the last bit."""
    again, _, _ = search()
    assert numbers(again) == numbers(first[0])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_number_of_workers_does_not_matter(first, search, workers):
    """With 1, 2 or 4 worker processes the records are those of the inline executor, to the last bit."""
    result, _, _ = search(resources={"executor": "processes"}, limits={"max_concurrent_trials": workers})
    assert numbers(result) == numbers(first[0])


def test_another_seed_searches_elsewhere(first, search, dataset):
    """Another seed tries other hyperparameters, and retrains from other weights."""
    other, _, checkpoints = search(seed=1)
    assert [t.hyperparameters for t in other.trials] != [t.hyperparameters for t in first[0].trials]
    assert numbers(other) != numbers(first[0])
    spec = JobSpec.model_validate(SPEC | {"seed": 1, "retrain": {"epochs": 1}})
    trained = stages.retrain(spec, dataset, trial_plan(spec, dataset, checkpoints.parent), other)
    seeds = [
        {Address(t.iteration, t.bracket, t.index, t.rung).lineage_seed(seed) for t in other.trials} for seed in (0, 1)
    ]
    seeds[1] |= {derive_seed(1, "retrain", number) for number in (1, 2)}
    assert trained.description.seed in seeds[1] - seeds[0]


@pytest.mark.parametrize("parity", [0, 1])
def test_half_of_the_records_known_gives_the_same(first, search, parity):
    """Known records are not run again, their checkpoints are gone, and the rest comes out the same to the last bit."""
    result, _, _ = first
    known = {trial.trial_id: trial for trial in result.trials[parity::2]}
    resumed, stored, _ = search(known=known)
    assert numbers(resumed) == numbers(result)
    assert {record.trial_id for record in stored} == {trial.trial_id for trial in result.trials} - known.keys()


def test_tensorboard_logs_do_not_change_the_answer(first, search):
    """With `logs.tensorboard` every trial writes an event file, and the numbers stay the same."""
    logged, _, checkpoints = search(logs={"tensorboard": True})
    assert numbers(logged) == numbers(first[0])
    folders = {path.name for path in (checkpoints.parent / "tensorboard").iterdir()}
    assert folders == {trial.trial_id for trial in logged.trials}


def test_the_objective_may_be_minimised(search):
    """`val_loss` is minimised without being told, and the least is best."""
    result, _, _ = search(search=SPEC["search"] | {"objective": "val_loss"})
    assert (result.totals.objective, result.totals.direction) == ("val_loss", "min")
    assert result.best.score == min(trial.score for trial in result.trials)
    promoted = next(trial for trial in result.trials if trial.rung == 1)
    first_rung = {trial.index: trial.score for trial in result.trials if (trial.bracket, trial.rung) == (1, 0)}
    assert min(first_rung, key=first_rung.get) == promoted.index


def test_the_objectives_that_a_spec_may_name_are_those_that_are_logged(first):
    """What the spec's check knows to be logged always is logged each epoch, with the direction KerasTuner infers."""
    logged = {name for trial in first[0].trials for logs in trial.executions[0].epochs for name in logs}
    always = [metric for metric in METRICS["classification"] if not metric.asked_for]
    directions = {prefix + metric.name: metric.direction for metric in always for prefix in ("", "val_")}
    assert set(directions) == logged
    assert {name: infer_metric_direction(name) for name in logged} == directions
