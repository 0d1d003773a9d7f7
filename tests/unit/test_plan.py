"""What a plan says a run would do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.layout import RUN_ENTRIES
from job.plan import make_plan, plan_document, plan_tables, tables_as_text, values_in_words
from job.resources import Resources
from job.spaces import MLP, BooleanEntry, ChoiceEntry, FixedEntry, FloatEntry, IntEntry
from job.spec.validation import validate_document

FOUR_CORES = Resources(cores=4, memory=64 * 2**30, gpus=())


def plan_of(run_id=None, **document):
    return make_plan(validate_document(document), run_id, FOUR_CORES)


def test_the_quickstarts_plan():
    """Thirty trials of 120 epochs in three brackets, over a space of 48 points, one for each core at a time."""
    document = plan_document(plan_of())
    assert document["search"] == {
        "algorithm": "hyperband",
        "objective": {"name": "val_accuracy", "direction": "max"},
        "iterations": 1,
        "brackets": [
            {
                "bracket": 2,
                "rungs": [
                    {"trials": 12, "from_epoch": 0, "to_epoch": 2},
                    {"trials": 4, "from_epoch": 2, "to_epoch": 4},
                    {"trials": 2, "from_epoch": 4, "to_epoch": 10},
                ],
            },
            {
                "bracket": 1,
                "rungs": [
                    {"trials": 6, "from_epoch": 0, "to_epoch": 4},
                    {"trials": 2, "from_epoch": 4, "to_epoch": 10},
                ],
            },
            {"bracket": 0, "rungs": [{"trials": 4, "from_epoch": 0, "to_epoch": 10}]},
        ],
        "configurations": 22,
        "trials": 30,
        "epochs": 120,
        "trials_at_a_time": 4,
    }
    assert document["space"]["points"] == 48
    assert document["space"]["constants"] == MLP.constants()
    assert document["warnings"] == []


def test_every_object_of_a_run_is_listed_where_it_will_be():
    """URLs join the output, the name and the run id; what is written only where it is asked for is left out."""
    written = dict(plan_of("night-1", name="mnist", output="s3://models/tuning/").written)
    prefix = "s3://models/tuning/mnist/runs/night-1/"
    assert f"{prefix}manifest.json" in written
    assert f"{prefix}model/model.keras" in written
    assert "s3://models/tuning/mnist/latest.json" in written
    assert f"{prefix}failure.json" not in written
    assert f"{prefix}logs/tensorboard/" not in written
    assert not any("sensitivity" in url for url in written)
    assert len(written) == len(RUN_ENTRIES) - 4 + 1


def test_what_sensitivity_writes_is_listed_where_it_is_asked_for():
    """With search.sensitivity there are a record per variation and a document."""
    written = dict(plan_of("r", search={"sensitivity": True}).written)
    assert sorted(url.rpartition("/runs/r/")[2] for url in written if "sensitivity" in url) == [
        "sensitivity.json",
        "sensitivity/s-<name>-<n>.json",
    ]


def test_seeds_and_folds_multiply_epochs():
    """Each trial trains its epochs once per seed and fold; the plan says so."""
    plan = plan_of(search={"executions_per_trial": 2}, data={"folds": 3})
    assert plan_document(plan)["search"]["epochs"] == 6 * 120
    overview = dict(plan_tables(plan)[0].rows)
    assert overview["trainings"] == "each trial trains 2 seeds on 3 folds"
    assert sum(int(row[-1]) for row in plan_tables(plan)[1].rows) == 6 * 120


def test_a_weighted_sum_is_written_out():
    """What is better when it is more is subtracted."""
    terms = [
        {"name": "val_loss", "direction": "min", "weight": 0.5},
        {"name": "val_accuracy", "direction": "max"},
    ]
    plan = plan_of(search={"objective": terms})
    assert dict(plan_tables(plan)[0].rows)["objective"] == "0.5 val_loss - val_accuracy (min)"
    assert plan_document(plan)["search"]["objective"] == {"name": "objective", "direction": "min"}


def test_tensorboard_logs_are_listed_where_they_are_asked_for():
    """With logs.tensorboard the folder of its logs is written, too."""
    assert any("tensorboard" in url for url, _ in plan_of(logs={"tensorboard": True}).written)


def test_a_run_without_an_id_gets_one_at_its_start():
    """The plan does not invent a run id."""
    plan = plan_of()
    assert plan_document(plan)["run_id"] is None
    assert all("/runs/<made at start>/" in url or url.endswith("latest.json") for url, _ in plan.written)


def test_the_scratch_disk_of_a_built_in_set_is_known():
    """Digits: 1797 rows of 64 doubles, twice; and the checkpoints of 12 + 4 + 2 lineages of the largest model."""
    needed = plan_document(plan_of())["scratch_bytes"]
    weights = 65 * 512 + 513 * 10
    assert needed["data"] == 2 * 1797 * (64 * 8 + 8)
    assert needed["checkpoints"] == 2 * (12 + 4 + 2) * 3 * 4 * weights
    assert needed["total"] == 1797 * (64 * 8 + 8 + 64 * 4) + needed["checkpoints"]
    assert "scratch disk" in tables_as_text(plan_tables(plan_of()))


def test_the_scratch_disk_follows_the_space():
    """More layers, more units and longer rungs need more; a search without rungs keeps few checkpoints."""

    def needed(**document):
        return plan_document(plan_of(**document))["scratch_bytes"]["checkpoints"]

    assert needed(space={"units": [8, 16]}) < needed() < needed(space={"hidden_layers": [1, 3]})
    assert needed() < needed(search={"max_epochs": 81})
    assert needed(search={"algorithm": "random", "max_trials": 50}) < needed()


def test_the_scratch_disk_of_a_local_file_is_known_from_its_headers(tmp_path):
    """An `.npz` file's arrays are measured without reading them; how many classes it has is not known."""
    np.savez_compressed(tmp_path / "rows.npz", x=np.zeros((100, 5), np.uint8), y=np.zeros(100), x_test=np.ones((20, 5)))
    needed = plan_document(plan_of(data={"source": str(tmp_path / "rows.npz")}))["scratch_bytes"]
    assert needed == {"data": 2 * 120 * (5 * 8 + 8), "checkpoints": None, "total": None}


@pytest.mark.parametrize("source", ["s3://bucket/rows.npz", "no-such.npz", "broken.npz"])
def test_the_scratch_disk_of_other_data_is_known_at_the_start(source, tmp_path, monkeypatch):
    """Data that is not at hand, or no data at all, is not guessed at."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.npz").write_bytes(b"PK no zip")
    plan = plan_of(data={"source": source})
    assert plan_document(plan)["scratch_bytes"] == {"data": None, "checkpoints": None, "total": None}
    assert "data and checkpoints: known at the start" in tables_as_text(plan_tables(plan))


def test_a_space_smaller_than_the_schedule_is_warned_of():
    """Six points for 22 configurations leave rungs short."""
    plan = plan_of(space={"units": [32, 64]})
    assert plan.points == 6
    assert ["6 points" in warning and "22 configurations" in warning for warning in plan.warnings] == [True]


def test_as_many_trials_at_a_time_as_the_spec_says():
    """limits.max_concurrent_trials is taken at its word; inline trials run one after the other."""
    assert plan_of(limits={"max_concurrent_trials": 8}).trials_at_a_time == 8
    assert plan_of(resources={"executor": "inline"}).trials_at_a_time == 1


def test_a_bayesian_search_has_a_use_for_few_workers():
    """More workers than search.lag + 1 are warned of."""
    wanted = {"max_concurrent_trials": 6}
    assert plan_of(search={"algorithm": "bayesian", "lag": 5}, limits=wanted).warnings == ()
    [warning] = plan_of(search={"algorithm": "bayesian"}, limits=wanted).warnings
    assert "no more than 5 trials run at a time" in warning


@pytest.mark.parametrize(
    ("search", "trials"),
    [
        ({"algorithm": "random"}, 20),
        ({"algorithm": "random", "max_trials": 7}, 7),
        ({"algorithm": "bayesian"}, 20),
        ({"algorithm": "grid"}, 48),
        ({"algorithm": "grid", "max_trials": 50}, 48),
        ({"algorithm": "grid", "max_trials": 5}, 5),
    ],
)
def test_straight_searches_are_one_rung(search, trials):
    """Random, grid and Bayesian search plan one rung of trials from 0 to max_epochs."""
    plan = plan_of(search=search | {"max_epochs": 6})
    found = plan_document(plan)["search"]
    assert found["brackets"] == [{"bracket": 0, "rungs": [{"trials": trials, "from_epoch": 0, "to_epoch": 6}]}]
    assert (found["trials"], found["configurations"], found["epochs"]) == (trials, trials, 6 * trials)
    assert f"{search['algorithm']}, 6 epochs each" in tables_as_text(plan_tables(plan))


def test_max_total_trials_cuts_the_plan():
    """Of 30 trials the first 14 in address order are left: a whole first rung, and two trials of the second."""
    plan = plan_of(limits={"max_total_trials": 14}, stop={"target": 0.9, "no_improvement": 5})
    found = plan_document(plan)["search"]
    assert [rung["trials"] for bracket in found["brackets"] for rung in bracket["rungs"]] == [12, 2]
    assert (found["trials"], found["epochs"]) == (14, 28)
    text = tables_as_text(plan_tables(plan))
    assert "14 (limits.max_total_trials of 30)" in text
    assert "at a score of 0.9 or after 5 trials without a better score" in text


def test_an_absurdly_long_search_is_planned_at_once():
    """Neither a milliard epochs nor a space with a huge range are enumerated."""
    plan = plan_of(
        search={"max_epochs": 10**9},
        space={
            "units": {"type": "int", "min_value": 1, "max_value": 10**9},
            "dropout": {"type": "fixed", "value": 0.1, "parent_name": "units", "parent_values": [7]},
        },
    )
    assert plan.points == 3 * 10**9
    assert plan.schedule.brackets[0].rungs[-1].to_epoch == 10**9


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (IntEntry(type="int", min_value=32, max_value=512, step=32), "32 to 512, step 32"),
        (FloatEntry(type="float", min_value=1e-4, max_value=0.1, sampling="log"), "0.0001 to 0.1, log"),
        (ChoiceEntry(type="choice", values=(1, 2)), "1, 2"),
        (ChoiceEntry(type="choice", values=tuple(range(20))), "0, 1, 2, 3, 4, 5, 6, 7, …"),
        (BooleanEntry(type="boolean"), "false, true"),
        (FixedEntry(type="fixed", value="relu"), "relu"),
        (FixedEntry(type="fixed", value=1, parent_name="a", parent_values=(2, 3)), "1; with a 2, 3"),
    ],
)
def test_entries_in_words(entry, text):
    """Each kind of entry reads as what it can take, and under which condition."""
    assert values_in_words(entry) == text


@given(
    st.integers(min_value=2, max_value=200),
    st.integers(min_value=2, max_value=5),
    st.integers(min_value=1, max_value=3),
    st.sampled_from(["keras_tuner", "paper"]),
)
def test_the_plans_totals_are_the_sums_of_its_rungs(max_epochs, factor, iterations, schedule):
    """Trials and epochs of the JSON plan add up."""
    plan = plan_of(
        search={
            "max_epochs": max(max_epochs, factor),
            "factor": factor,
            "hyperband_iterations": iterations,
            "schedule": schedule,
        }
    )
    search = plan_document(plan)["search"]
    rungs = [rung for bracket in search["brackets"] for rung in bracket["rungs"]]
    assert search["trials"] == iterations * sum(rung["trials"] for rung in rungs)
    assert search["epochs"] == iterations * sum(
        rung["trials"] * (rung["to_epoch"] - rung["from_epoch"]) for rung in rungs
    )


def test_the_text_has_every_table_with_aligned_columns():
    """Each table's lines begin its columns at the same place; numbers are aligned to the right."""
    text = tables_as_text(plan_tables(plan_of(limits={"timeout": "2h", "trial_timeout": "20m"})))
    titles = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert titles == ["Plan", "Search", "Space", "Written"]
    assert "whole search 2h, one trial 20m" in text
    rungs = text.split("Search\n")[1].split("\n\n")[0].splitlines()
    assert rungs[1] == "        2     0      12  0 to 2                  24"
    assert len({line.index(" to ") for line in rungs[1:]}) == 1
