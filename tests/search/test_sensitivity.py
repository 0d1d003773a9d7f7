"""The best varied in one hyperparameter at a time, by simulated and by real training."""

import keras_tuner
import pytest

from job import stages
from job.errors import StateConflictError
from job.records import Sensitivity
from job.search.addressed import Address
from job.search.executors import open_executor
from job.search.sensitivity import VariationRunner, measure_sensitivity
from job.search.trial_plan import trial_plan
from job.spec import JobSpec

SPEC = {
    "space": {"units": [8, 16], "learning_rate": [0.1, 0.01, 0.001]},
    "data": {"folds": 2},
    "search": {
        "max_epochs": 3,
        "factor": 3,
        "executions_per_trial": 2,
        "sensitivity": True,
        "objective": [
            {"name": "val_loss", "direction": "min", "weight": 0.5},
            {"name": "val_accuracy", "direction": "max"},
        ],
    },
}


def two_hyperparameters():
    space = keras_tuner.HyperParameters()
    space.Int("units", 32, 512, step=32)
    space.Choice("learning_rate", [1e-2, 1e-3, 1e-4])
    return space


@pytest.fixture
def measure(simulate):
    """Measures the sensitivity of a simulated search; gives the result, what was asked for, stored and discarded."""

    def measured(*, slots=1, failures=None, known=None, left=None, retries=1):
        simulation = simulate(slots=slots, failures=failures)
        result = simulation.run()
        executor = simulation.executor
        executor.abandon = executor.under_way.clear
        executor.requests.clear()
        stored, discarded = [], []
        runner = VariationRunner(
            executor,
            max_retries=retries,
            known=known or {},
            store_record=stored.append,
            starting=lambda _: None,
            discard=discarded.append,
            is_time_up=lambda: left is not None and len(executor.requests) >= left,
        )
        return measure_sensitivity(result, two_hyperparameters(), 0, runner), result.best, executor.requests, stored

    return measured


def test_each_hyperparameter_is_varied_with_the_others_fixed(measure):
    """Every variation differs from the best in one value, and is trained straight to its epochs with its seed."""
    found, best, requests, stored = measure()
    address = Address(best.iteration, best.bracket, best.index, best.rung)
    for request in requests:
        changed = {name for name, value in request.hyperparameters.items() if best.hyperparameters[name] != value}
        assert len(changed) == 1
        assert (request.from_epoch, request.to_epoch, request.parent) == (0, best.to_epoch, None)
        assert request.seed == address.lineage_seed(0)
    assert [one.name for one in found.hyperparameters] == ["units", "learning_rate"]
    assert {record.trial_id for record in stored} == {v.trial_id for h in found.hyperparameters for v in h.variations}
    assert (found.trial_id, found.score, found.epochs) == (best.trial_id, best.score, best.to_epoch)
    scores = {record.trial_id: record.score for record in stored}
    for one in found.hyperparameters:
        assert one.best == best.hyperparameters[one.name]
        assert [v.difference for v in one.variations] == [scores[v.trial_id] - best.score for v in one.variations]
        assert one.effect == max(abs(v.difference) for v in one.variations)
    assert (found.skipped, found.note) == ((), None)
    assert Sensitivity.model_validate_json(found.to_json()) == found


@pytest.mark.parametrize("slots", [2, 4])
def test_slots_and_known_records_do_not_matter(measure, slots):
    """Any number at a time, or half of them known, gives the same; what is known is not trained."""
    first, _, requests, stored = measure()
    assert measure(slots=slots)[0] == first
    known = {record.trial_id: record for record in stored[::2]}
    again, _, asked, _ = measure(slots=slots, known=known)
    assert again == first
    assert {request.trial_id for request in asked} == {request.trial_id for request in requests} - known.keys()


def test_a_failed_variation_is_tried_again_and_then_told(measure):
    """Its error is told, and it has no difference; one that diverged is not tried again."""
    found, _, requests, _ = measure(failures={"s-units-0": ["error", "error"], "s-learning_rate-0": ["diverged"]})
    assert [request.trial_id for request in requests].count("s-units-0") == 2
    assert [request.trial_id for request in requests].count("s-learning_rate-0") == 1
    failed = found.hyperparameters[0].variations[0]
    assert (failed.score, failed.difference, failed.error) == (None, None, "error in attempt 2")


def test_what_there_is_no_time_for_is_skipped_with_a_note(measure):
    """What was begun before counts; a hyperparameter without any variation has no effect."""
    found, _, requests, _ = measure(left=1)
    assert len(requests) == 1
    assert found.note.startswith("limits.timeout left no time for ")
    assert len(found.skipped) + 1 == sum(len(one.variations) for one in measure()[0].hyperparameters)
    assert found.hyperparameters[1].effect is None


def test_a_record_of_another_search_is_refused(measure):
    """A known variation with other values is a conflict of the run id."""
    stored = measure()[3]
    foreign = stored[0].model_copy(update={"hyperparameters": {"units": 1, "learning_rate": 1.0}})
    with pytest.raises(StateConflictError, match="belongs to another search"):
        measure(known={foreign.trial_id: foreign})


@pytest.fixture(scope="module")
def folded(images, tmp_path_factory):
    from job.data import load_dataset  # noqa: PLC0415 - a data set of its own, divided into folds
    from job.spec import DataSpec  # noqa: PLC0415

    return load_dataset(DataSpec(source=str(images), folds=2), seed=0, scratch=tmp_path_factory.mktemp("folded"))


@pytest.fixture(scope="module")
def search(folded, tmp_path_factory):
    """Runs a real search with seeds, folds, a weighted sum and sensitivity; gives both results, records and files."""

    def run(*, known=None, **spec):
        job_spec = JobSpec.model_validate_json(
            JobSpec.model_validate(SPEC | {"resources": {"executor": "inline"}} | spec).model_dump_json()
        )
        plan = trial_plan(job_spec, folded, tmp_path_factory.mktemp("scratch"))
        stored = []
        shared = {"known": known or {}, "store_record": stored.append}
        with open_executor(job_spec, plan, log_fields={}) as executor:
            result = stages.search(job_spec, plan, executor, console=None, **shared)
            sensitivity = stages.sensitivity(job_spec, plan, executor, result, **shared)
        return result, sensitivity, stored, sorted(path.name for path in plan.checkpoints.iterdir())

    return run


@pytest.fixture(scope="module")
def first(search):
    return search()


def numbers(records):
    return sorted(
        (record.model_copy(update={"seconds": 0.0, "worker": ""}) for record in records), key=lambda one: one.trial_id
    )


def test_a_search_over_seeds_and_folds(first):
    """Each record has four trainings, planned and actual epochs count all of them, and the best's files alone stay."""
    result, sensitivity, stored, files = first
    assert all(
        [(one.index, one.fold) for one in record.executions] == [(0, 0), (0, 1), (1, 0), (1, 1)] for record in stored
    )
    assert result.totals.epochs == result.totals.planned_epochs == 4 * 11
    assert (result.totals.objective, result.totals.direction) == ("objective", "min")
    assert result.best.score == min(trial.score for trial in result.trials)
    assert result.best.deviation > 0
    assert files == [f"{result.best.trial_id}.e{index}f{fold}.last.npz" for index in (0, 1) for fold in (0, 1)]
    assert {one.name for one in sensitivity.hyperparameters} == {"units", "learning_rate"}
    assert len(stored) == len(result.trials) + 3


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_number_of_workers_does_not_matter(first, search, workers):
    """With worker processes every record and the sensitivity are those of the inline executor, to the last bit."""
    result, sensitivity, stored, _ = search(
        resources={"executor": "processes"}, limits={"max_concurrent_trials": workers}
    )
    assert numbers(stored) == numbers(first[2])
    assert (result.totals, sensitivity) == (first[0].totals, first[1])


def test_half_of_the_records_known_gives_the_same(first, search):
    """Known trials and variations are not trained again, and those whose parent is gone come out the same."""
    known = {record.trial_id: record for record in first[2][::2]}
    result, sensitivity, stored, _ = search(known=known)
    assert numbers([*stored, *known.values()]) == numbers(first[2])
    assert numbers(result.trials) == numbers(first[0].trials)
    assert sensitivity == first[1]


def test_trials_that_a_decided_search_leaves_under_way_are_given_up(search):
    """A search that its target ends early still measures around its best, with any number of workers."""
    early = {"stop": {"target": 1000.0}}
    inline = search(**early)
    assert len(inline[0].trials) < 6
    spread = search(**early, resources={"executor": "processes"}, limits={"max_concurrent_trials": 3})
    assert spread[1] == inline[1]
    assert numbers(spread[0].trials) == numbers(inline[0].trials)


def test_without_being_asked_for_nothing_is_varied(folded, tmp_path):
    """By default there is no sensitivity."""
    spec = JobSpec.model_validate({"data": {"folds": 2}})
    plan = trial_plan(spec, folded, tmp_path)
    assert stages.sensitivity(spec, plan, None, None, known={}, store_record=None) is None
