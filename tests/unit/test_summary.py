"""`summary.md`: the key facts of a run, as Markdown that a person can read."""

from datetime import UTC, datetime

import pytest

from job.records import (
    DataSummary,
    Execution,
    HyperparameterEffect,
    Lineage,
    Manifest,
    PublishedModel,
    RungShortfall,
    Scores,
    SearchTotals,
    Sensitivity,
    Signature,
    SplitSummary,
    TrialRecord,
    Variation,
)
from job.report.summary import show_value, summary_of, trial_row

MODEL_URL = "s3://models/tuning/nightly/runs/20260131/model/model.keras"


def record(index, score, **fields):
    values = {
        "trial_id": f"h0-b2-i{index:03d}-r1",
        "hyperparameters": {"units": 32 * (index + 1), "learning_rate": 0.0001},
        "iteration": 0,
        "bracket": 2,
        "index": index,
        "rung": 1,
        "parent": f"h0-b2-i{index:03d}-r0",
        "from_epoch": 2,
        "to_epoch": 4,
        "status": "failed" if score is None else "completed",
        "score": score,
        "best_epoch": None if score is None else 3,
        "executions": (Execution(epochs=()),),
        "seconds": 1.0,
        "worker": "w",
    }
    return TrialRecord(**values | fields)


def manifest(*, model=None, totals=None):
    return Manifest(
        name="nightly",
        run_id="20260131",
        spec={},
        spec_hash="0" * 64,
        data=DataSummary(
            source="s3://datasets/mnist.npz",
            fingerprint="abcdef0123456789" + "f" * 48,
            rows=70000,
            splits={"train": SplitSummary(rows=50400), "test": SplitSummary(rows=7000)},
        ),
        model=PublishedModel(
            **{
                "origin": "retrain",
                "trained_on": "train_and_validation",
                "seed": 1,
                "epochs": 7,
                "validation_score": None,
            }
            | (model or {})
        ),
        best_hyperparameters={"units": 416, "learning_rate": 0.0001, "activation": "a|b"},
        scores=Scores(
            validation={"val_accuracy": 0.97512, "val_loss": 0.08}, test={"loss": 0.0712, "accuracy": 0.9768}
        ),
        search=SearchTotals(
            **{
                "algorithm": "hyperband",
                "objective": "val_accuracy",
                "direction": "max",
                "planned_trials": 30,
                "planned_epochs": 120,
                "trials": 28,
                "failed_trials": 3,
                "epochs": 111,
            }
            | (totals or {})
        ),
        signature=Signature(inputs=(), outputs=(), class_names=None, output_kind="logits"),
        lineage=Lineage(versions={}, git_commit=None, image_digest=None, host="h", cpu=None, device="cpu", seed=0),
        started_at=datetime(2026, 1, 31, tzinfo=UTC),
        ended_at=datetime(2026, 1, 31, tzinfo=UTC),
        seconds={"data": 1.25, "search": 100.04},
        artifacts={},
    )


def summary(*trials, **fields):
    return summary_of(manifest(**fields), trials, MODEL_URL)


def tables(text):
    """Every table's rows, header first, cells stripped; a table whose rows differ in length fails the test."""
    found, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")])
        elif rows:
            assert len({len(row) for row in rows}) == 1
            assert set(rows[1]) == {"---"}
            found.append([rows[0], *rows[2:]])
            rows = []
    return found


def test_the_key_facts_are_there():
    """Name, run, test scores with their rows, validation scores, model and data stand in the summary."""
    text = summary(record(0, 0.9))
    assert text.startswith("# nightly: run 20260131\n")
    assert text.endswith("\n")
    for fact in (
        "Test split (7000 rows, used once): loss 0.0712, accuracy 0.9768",
        "Best trial: val_accuracy 0.9751, val_loss 0.0800",
        f"`{MODEL_URL}`",
        "`s3://datasets/mnist.npz`, 70000 rows",
        "abcdef0123456789",
        "Trials: 28 of 30 planned, 3 failed",
        "Epochs: 111 of 120 planned",
    ):
        assert fact in text


def test_best_hyperparameters_are_a_table():
    """One row per hyperparameter, and a bar in a value does not break the table."""
    table = tables(summary(record(0, 0.9)))[0]
    assert table[0] == ["hyperparameter", "value"]
    assert table[1:] == [["units", "416"], ["learning_rate", "0.0001"], ["activation", "a\0b"]]


@pytest.mark.parametrize(("direction", "best"), [("max", [11, 10, 9]), ("min", [0, 1, 2])])
def test_the_best_trials_come_first(direction, best):
    """The ten best completed trials are listed in the objective's direction; failed ones are not."""
    trials = [record(index, index / 100) for index in range(12)] + [record(12, None)]
    table = tables(summary(*trials, totals={"direction": direction}))[1]
    listed = [row[0] for row in table[1:]]
    assert len(listed) == 10
    assert listed[:3] == [f"h0-b2-i{index:03d}-r1" for index in best]
    assert "h0-b2-i012-r1" not in listed


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({}, "the retrained model, trained on train and validation for 7 epochs"),
        ({"origin": "search", "trained_on": "train"}, "the search's own model, trained on train for 7 epochs"),
    ],
)
def test_it_says_which_model_was_published(model, words):
    """Whether the retrained model or the search's was published, and what it was trained on, is in words."""
    assert words in summary(record(0, 0.9), model=model)


def test_it_says_which_retrainings_were_worse():
    """Each retraining that was not published is a line, with the reason."""
    attempts = ({"seed": 1, "steps": 6, "shortfall": "0.5 on the train rows"}, {"seed": 2, "steps": 6})
    text = summary(record(0, 0.9), model={"attempts": attempts})
    assert "- Retraining 1 of 2 was worse: 0.5 on the train rows" in text
    assert "Retraining 2" not in text


def test_what_fell_short_is_told():
    """An early stop and every shortfall of a rung are lines of the search's section."""
    shortfall = RungShortfall(iteration=0, bracket=2, rung=1, planned=4, actual=3, reason="too few completed")
    text = summary(record(0, 0.9), totals={"stopped_by": "limits.timeout (60 s)", "shortfalls": (shortfall,)})
    assert "- Stopped early by limits.timeout (60 s)" in text
    assert "- Iteration 0, bracket 2, rung 1: 3 of 4 trials: too few completed" in text
    assert "Stopped early" not in summary(record(0, 0.9))


def test_stages_are_timed():
    """Seconds of each stage are a table, in the order of the stages."""
    assert tables(summary(record(0, 0.9)))[2] == [["stage", "seconds"], ["data", "1.2"], ["search", "100.0"]]


def test_a_trial_is_a_row():
    """Id, score, best epoch, epochs and hyperparameters, as people write them."""
    row = trial_row(record(1, 0.987654321))
    assert row == ("h0-b2-i001-r1", "0.987654", "3", "4", "units=64, learning_rate=0.0001")


def test_a_failed_trial_without_hyperparameters_is_a_row():
    """What is not there is a dash."""
    assert trial_row(record(1, None, hyperparameters={}))[1:] == ("-", "-", "4", "-")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.1 + 0.2, "0.3"), (1e-4, "0.0001"), (1e-7, "1e-07"), (32, "32"), (True, "True"), ("relu", "relu")],
)
def test_values_are_shown_briefly(value, shown):
    """Floats are shortened to six digits, everything else is as it is."""
    assert show_value(value) == shown


def test_the_mean_of_several_trainings_stands_with_its_deviation():
    """In the table of trials, in the result, and in words below the table."""
    executions = tuple(Execution(index=index, epochs=()) for index in range(3))
    text = summary(record(0, 0.9, deviation=0.0123, executions=executions))
    assert tables(text)[1][1][1] == "0.9 ± 0.012"
    assert "the mean over its 3 trainings, ± their standard deviation." in text
    assert "±" not in summary(record(0, 0.9))


SENSITIVITY = Sensitivity(
    objective="val_accuracy",
    direction="max",
    trial_id="h0-b2-i000-r1",
    values={"units": 32, "learning_rate": 0.01},
    score=0.9,
    deviation=None,
    epochs=4,
    hyperparameters=(
        HyperparameterEffect(
            name="units",
            best=32,
            effect=0.05,
            variations=(
                Variation(trial_id="s-units-0", value=16, score=0.85, difference=-0.05),
                Variation(trial_id="s-units-1", value=48, score=None, difference=None, error="it broke"),
            ),
        ),
        HyperparameterEffect(name="activation", best="relu", effect=None, variations=()),
        HyperparameterEffect(
            name="learning_rate",
            best=0.01,
            effect=0.2,
            variations=(Variation(trial_id="s-learning_rate-0", value=0.1, score=0.7, difference=-0.2),),
        ),
    ),
)


def test_sensitivity_is_a_table_with_the_largest_effect_first():
    """One row per hyperparameter, with every difference; what failed or was not tried says so."""
    text = summary_of(manifest(), [record(0, 0.9)], MODEL_URL, SENSITIVITY)
    assert tables(text)[2][1:] == [
        ["learning_rate", "0.01", "0.2", "0.1: -0.2"],
        ["units", "32", "0.05", "16: -0.05; 48: failed"],
        ["activation", "relu", "-", ""],
    ]
    assert "above zero the variation is better." in text
    assert "## Sensitivity" not in summary(record(0, 0.9))


def test_sensitivity_that_there_was_no_time_for_says_so():
    """The note stands below the table."""
    cut = SENSITIVITY.model_copy(update={"note": "limits.timeout left no time for 2 of 5 variations"})
    text = summary_of(manifest(), [record(0, 0.9)], MODEL_URL, cut)
    assert "\nNot complete: limits.timeout left no time for 2 of 5 variations.\n" in text


def test_what_the_data_was_taken_for_is_told():
    """Every note of the data stage is in the page, and none of it is markup."""
    text = summary_of(manifest(), [record(0, 0.9)], MODEL_URL, notes=("folders a|b are splits", "divided by 255"))
    assert "## Data" in text
    assert "folders a\\|b are splits" in text
    assert "divided by 255" in text
