"""Bad specs, through the command line: exit 10, every problem by its path, no traceback."""

import json

import pytest

from job.cli import main

# (document or --set arguments, path in the message, part of what it says)
BAD_SPECS = [
    # Names and types.
    ("max_epochs: 3", "max_epochs", "did you mean search.max_epochs?"),
    ("serch: {max_epochs: 3}", "serch", "did you mean search?"),
    ("search: {max_epoch: 3}", "search.max_epoch", "did you mean max_epochs?"),
    ("dataset: mnist", "dataset", "did you mean data?"),
    ("aws_secret_access_key: hunter2", "aws_secret_access_key", "credentials are never in a spec"),
    ("search: {max_epochs: ten}", "search.max_epochs", 'expected a whole number of at least 1 (found "ten")'),
    ('search: {max_epochs: "10"}', "search.max_epochs", '(found "10")'),
    ("search: {max_epochs: 10.0}", "search.max_epochs", "expected a whole number"),
    ("search: {max_epochs: true}", "search.max_epochs", "expected a whole number"),
    ("search: {max_epochs: 0}", "search.max_epochs", "of at least 1 (found 0)"),
    ("search: {factor: 1}", "search.factor", "of at least 2"),
    ("search: 27", "search", "expected a mapping of algorithm"),
    ("search: {algorithm: evolution}", "search.algorithm", "expected hyperband, random, grid or bayesian"),
    ("search: {max_trials: 0}", "search.max_trials", "of at least 1"),
    ("search: {algorithm: bayesian, lag: -1}", "search.lag", "of at least 0"),
    ("stop: {target: high}", "stop.target", "expected a number"),
    ("stop: {no_improvement: 0}", "stop.no_improvement", "of at least 1"),
    ("limits: {max_total_trials: 0}", "limits.max_total_trials", "of at least 1"),
    ("search: {schedule: stock}", "search.schedule", "expected keras_tuner or paper"),
    ("spec_version: 2", "spec_version", "the only version of the format so far"),
    ("name: mnist/nightly", "name", "1 to 63 letters, digits"),
    ("name: ''", "name", "1 to 63 letters, digits"),
    ("seed: -1", "seed", "of at least 0"),
    ("seed: 1e-2", "seed", "(found 0.01)"),
    ("output: ''", "output", "text that is not empty"),
    ("data: {rescale: [255]}", "data.rescale", "expected auto, standardize, none or a number above 0"),
    ("data: {validation_fraction: 1.5}", "data.validation_fraction", "above 0 and below 1"),
    ("data: {split: even}", "data.split", "expected auto, stratified, random, group or time"),
    ("model: {builder: forest}", "model.builder", "expected linear, mlp or cnn"),
    ("limits: {timeout: 1 week}", "limits.timeout", "expected a duration such as"),
    ("limits: {max_concurrent_trials: 0}", "limits.max_concurrent_trials", "expected auto or a whole number"),
    ("limits: {max_retries_per_trial: -1}", "limits.max_retries_per_trial", "of at least 0"),
    ("logs: {level: trace}", "logs.level", "expected debug, info, warning or error"),
    ("logs: {tensorboard: on}", "logs.tensorboard", 'expected true or false (found "on")'),
    ("storage: {tags: {team: 7}}", "storage.tags.team", "expected text (found <redacted>)"),
    ("storage: {part_size: 5MX}", "storage.part_size", "expected a size such as"),
    ("search: {objective: {name: val_loss}}", "search.objective.direction", "missing; expected min or max"),
    ("search: {objective: 5}", "search.objective", "text, a mapping of name and direction or a list of at least 2"),
    (
        "search: {objective: [{name: val_loss, direction: min}]}",
        "search.objective",
        "or a list of at least 2 entries",
    ),
    (
        "search: {objective: [{name: val_loss, direction: min, weight: 0}, {name: loss, direction: min}]}",
        "search.objective[0].weight",
        "expected a number above 0",
    ),
    ("search: {executions_per_trial: 0}", "search.executions_per_trial", "of at least 1"),
    ("search: {sensitivity: yes}", "search.sensitivity", "expected true or false"),
    ("data: {folds: 1}", "data.folds", "of at least 2"),
    # Fields against each other.
    ("search: {objective: val_acuracy}", "search.objective", "did you mean val_accuracy?"),
    ("search: {objective: val_mse}", "search.objective", "expected a metric of a classification by builder mlp: loss,"),
    (
        "search: {objective: {name: val_accuracy, direction: min}}",
        "search.objective.direction",
        "expected max for val_accuracy",
    ),
    (
        "search: {objective: [{name: val_los, direction: min}, {name: val_accuracy, direction: min}]}",
        "search.objective[0].name",
        "did you mean val_loss?",
    ),
    (
        "search: {objective: [{name: val_loss, direction: min}, {name: val_accuracy, direction: min}]}",
        "search.objective[1].direction",
        "expected max for val_accuracy",
    ),
    (
        "search: {objective: [{name: val_loss, direction: min}, {name: val_loss, direction: min}]}",
        "search.objective[1].name",
        "each metric once",
    ),
    ("data: {folds: 5, validation_fraction: 0.1}", "data.validation_fraction", "contradicts data.folds"),
    ("data: {folds: 5, validation_source: 's3://b/v.npz'}", "data.validation_source", "contradicts data.folds"),
    ("{data: {folds: 5}, retrain: {on: train}}", "retrain.on", "keeps no validation rows apart"),
    ("data: {folds: 180}", "data.folds", "expected at most 179"),
    ("search: {max_epochs: 2}", "search.max_epochs", "at least search.factor, which is 3"),
    (
        "search: {max_trials: 5}",
        "search.max_trials",
        "needs search.algorithm: random, grid or bayesian; it is hyperband",
    ),
    ("search: {algorithm: grid, factor: 4}", "search.factor", "needs search.algorithm: hyperband; it is grid"),
    ("search: {algorithm: random, lag: 1}", "search.lag", "needs search.algorithm: bayesian; it is random"),
    (
        "{search: {algorithm: grid}, space: {learning_rate: {type: float, min_value: 0.1, max_value: 1}}}",
        "space.learning_rate",
        "expected a step, or a choice of values",
    ),
    ("search: {min_epochs: 20}", "search.min_epochs", "at most search.max_epochs, which is 10"),
    ("retrain: {seeds: 3}", "retrain.seeds", "train_and_validation keeps no rows"),
    ("data: {source: digit}", "data.source", "did you mean digits?"),
    ("data: {source: data.csv}", "data.source", "there is no such file in "),
    ("data: {source: folder}", "data.source", "or a folder or prefix with data.format"),
    ("data: {source: s3://bucket/t.csv}", "data.target", "the name of the column to predict"),
    ("data: {source: digits, target: y}", "data.target", "needs data.source to be a table"),
    ("data: {source: s3://bucket/t.parquet, target: y, delimiter: ;}", "data.delimiter", "to be a .csv file"),
    ("data: {split: group}", "data.split", "only a table has columns to go by"),
    ("data: {source: s3://bucket/t.csv, target: y, split: time}", "data.time", "expected the name of a column"),
    ("data: {source: s3://bucket/t.csv, target: y, split: random, group: g}", "data.group", "has no effect on"),
    ("data: {source: s3://bucket/t.csv, target: y, group: g, time: t}", "data.split", "both columns are named"),
    ("data: {source: s3://bucket/t.csv, target: y, features: [a, y]}", "data.features[1]", "is data.target already"),
    ("data: {source: s3://bucket/t.csv, target: y, exclude: [a, a]}", "data.exclude[1]", "is named twice"),
    ("data: {source: s3://bucket/t.csv, target: y, weight: y}", "data.weight", "is data.target already"),
    ("data: {source: s3://bucket/t.csv, target: y, rescale: none}", "data.rescale", "has no effect on a table"),
    (
        "data: {source: s3://bucket/t.csv, target: y, columns: {a: {hash_bins: 8}}}",
        "data.columns.a.hash_bins",
        "needs encoding: hashing; it is vocabulary",
    ),
    (
        "data: {source: s3://bucket/t.csv, target: y, columns: {a: {type: number, encoding: hashing}}}",
        "data.columns.a.encoding",
        "is for strings; the column's type is number",
    ),
    ("data: {source: imdb}", "data.source", "texts are not supported"),
    ("data: {source: reuters}", "data.source", "texts are not supported"),
    ("data: {source: missing.npz}", "data.source", "there is no such file in "),
    ("data: {source: /missing/x.npz}", "data.source", "there is no such file (found"),
    ("data: {source: 's3://bucket'}", "data.source", "prefix with data.format"),
    ("data: {source: 'https://host/x.npz'}", "data.source", "https:// is not supported"),
    ("data: {source: 's3://key:hunter2@bucket/x.npz'}", "data.source", "credentials are never in a URL"),
    ("data: {validation_source: x.csv}", "data.validation_source", "expected an .npz file"),
    (
        "data: {validation_source: 's3://bucket/v.npz', validation_fraction: 0.1}",
        "data.validation_fraction",
        "contradicts data.validation_source",
    ),
    (
        "data: {test_source: 's3://bucket/t.npz', test_fraction: 0.1}",
        "data.test_fraction",
        "contradicts data.test_source",
    ),
    (
        "data: {validation_fraction: 0.6, test_fraction: 0.5}",
        "data.validation_fraction",
        "less than 1 together with data.test_fraction, which is 0.5",
    ),
    ("data: {test_fraction: 0.0001}", "data.test_fraction", "of the 1797 rows of digits"),
    ("data: {validation_fraction: 0.999}", "data.validation_fraction", "it draws 1615"),
    ("data: {source: mnist, validation_fraction: 1e-6}", "data.validation_fraction", "of the 60000 rows of mnist"),
    ("output: gs://bucket/runs", "output", "gs:// is not supported"),
    ("output: 's3://'", "output", "names no bucket"),
    ("output: 's3:/bucket/runs'", "output", "is not the URL of a store"),
    ("output: 's3://key:hunter2@bucket/x'", "output", "credentials are never in a URL"),
    ("storage: {encryption: sse-s3}", "storage.encryption", "output is a directory"),
    ("storage: {tags: {team: a}}", "storage.tags", "output is a directory"),
    ("storage: {storage_class: STANDARD_IA}", "storage.storage_class", "output is a directory"),
    (
        "{output: 's3://bucket/x', storage: {kms_key: k, encryption: sse-s3}}",
        "storage.kms_key",
        "needs storage.encryption: sse-kms",
    ),
    ("{output: 's3://bucket/x', storage: {part_size: 1MiB}}", "storage.part_size", "expected 5MiB to 5GiB"),
    ("{output: 's3://bucket/x', storage: {tags: {'aws:x': y}}}", 'storage.tags."aws:x"', "not beginning with aws:"),
    # The search space.
    ("space: [64]", "space", "expected a mapping"),
    ("space: {units: null}", "space.units", "expected a value, a list of one value or more, or a mapping"),
    ("space: {units: []}", "space.units", "a list of one value or more"),
    ("space: {units: [32, null]}", "space.units[1]", "expected a number, text, true or false (found null)"),
    ("space: {units: [32, many]}", "space.units", "must all be of one type"),
    ("space: {units: {min_value: 32}}", "space.units.type", "missing; expected int, float, choice, boolean or fixed"),
    ("space: {units: {type: range}}", "space.units.type", "expected int, float, choice, boolean or fixed"),
    ("space: {units: {type: int, min_value: 32}}", "space.units.max_value", "missing; expected a whole number"),
    (
        "space: {units: {type: int, min_value: 9, max_value: 1}}",
        "space.units",
        "min_value 9 is greater than max_value 1",
    ),
    ("space: {units: {type: int, min_value: 1, max_value: 8, step: 5}}", "space.units", "step 5 does not fit"),
    ("space: {units: {type: int, min_value: 1, max_value: 8, stp: 5}}", "space.units.stp", "did you mean step?"),
    ("space: {unit: 64}", "space.unit", "did you mean units?"),
    ("space: {gamma: 0.9}", "space.gamma", "builder mlp has no such hyperparameter; it has units"),
    ("space: {momentum: 0.9}", "space.momentum", "has no effect in this space: it needs optimizer sgd"),
    ("space: {units_3: 8, hidden_layers: [1, 2]}", "space.units_3", "it needs hidden_layers of at least 3"),
    ("space: {units_1: 8, units: [8, 9]}", "space.units", "instead of it, every layer has one of its own: units_1"),
    ("space: {warm_up: 1}", "space.warm_up", "expected a number of at least 0 and of at most 0.9"),
    ("space: {learning_rate_end: 0.1}", "space.learning_rate_end", "it needs learning_rate_schedule cosine or exp"),
    ("space: {clipnorm: 1.0, clipvalue: [0.5, 1.0]}", "space.clipvalue", "cannot be used together with clipnorm"),
    ("space: {optimizer: ftrl}", "space.optimizer", "expected one of adagrad, adam, adamax, adamw, lion"),
    ("training: {metrics: [f1_scor]}", "training.metrics[0]", "did you mean f1_score?"),
    ("training: {metrics: [mape]}", "training.metrics[0]", "expected a metric of a classification by builder mlp"),
    ("{data: {task: regression}, training: {metrics: [auc]}}", "training.metrics[0]", "metric of a regression"),
    ("{data: {task: regression}, search: {objective: val_accuracy}}", "search.objective", "metric of a regression"),
    ("{data: {task: regression}, training: {class_weight: balanced}}", "training.class_weight", "has no classes"),
    ("{data: {task: regression, split: stratified}}", "data.split", "a regression has no classes"),
    ("training: {class_weight: {a: -1}}", "training.class_weight.a", "of at least 0"),
    ("space: {units: [0.5, 1.5]}", "space.units", "expected a whole number of at least 1"),
    ("space: {units: {type: boolean}}", "space.units", "expected a whole number of at least 1"),
    ("space: {learning_rate: 0}", "space.learning_rate", "expected a number above 0"),
    ("space: {learning_rate: [fast, slow]}", "space.learning_rate", "expected a number above 0"),
    (
        "space: {dropout: {type: float, min_value: 0, max_value: 0.99}}",
        "space.dropout",
        "of at least 0 and of at most 0.95",
    ),
    ("space: {activation: rellu}", "space.activation", "expected one of elu, gelu"),
    (
        "space: {dropout: {type: fixed, value: 0.1, parent_name: unit, parent_values: [32]}}",
        "space.dropout.parent_name",
        "did you mean units?",
    ),
    (
        "space: {dropout: {type: fixed, value: 0.1, parent_name: hidden_layers, parent_values: [1]}}",
        "space.dropout.parent_name",
        "hidden_layers is not searched",
    ),
    (
        "space: {dropout: {type: fixed, value: 0.1, parent_name: units, parent_values: [32, 33]}}",
        "space.dropout.parent_values[1]",
        "units never has this value (found 33)",
    ),
    (
        "space: {units: {type: choice, values: [1], parent_name: units, parent_values: [1]}}",
        "space.units.parent_name",
        "depends on itself",
    ),
    (
        (
            "space: {units: {type: choice, values: [1], parent_name: batch_size, parent_values: [1]}, "
            "batch_size: {type: choice, values: [1], parent_name: units, parent_values: [1]}}"
        ),
        "space.units.parent_name",
        "units -> batch_size -> units",
    ),
]


def problems_of(capsys, *args, environ=None):
    """The lines of problems that a command ends with, after the checks that hold for every bad spec."""
    code = main(args, environ or {})
    captured = capsys.readouterr()
    assert code == 10
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert "hunter2" not in captured.err
    lines = captured.err.splitlines()
    assert lines[0] == "tuning-job: the job spec is wrong:"
    assert lines[-1] == "Exit code 10: the job spec is wrong; trying again will not help."
    return [line.strip() for line in lines[1:-1]]


@pytest.mark.parametrize(("document", "path", "message"), BAD_SPECS, ids=[spec[0] for spec in BAD_SPECS])
def test_a_bad_spec_is_refused_by_field_path(capsys, document, path, message):
    """The message names the path as the user wrote it, and what was expected there."""
    problems = problems_of(capsys, "validate", "--spec", document)
    assert any(line.startswith(f"{path}: ") and message in line for line in problems), problems


@pytest.mark.parametrize(
    "spec",
    [
        "a: b: c",
        '{"name": "x", "name": "y"}',
        "[search]\nmax_epochs = ten",
        "- just\n- a list",
        "no-such-file.yaml",
        "gs://bucket/spec.yaml",
        "s3://",
        "seed: .nan",
    ],
)
def test_a_spec_that_is_no_document_is_refused(capsys, spec):
    """Syntax errors, lists, missing files and unknown schemes are errors of the spec, too."""
    assert len(problems_of(capsys, "validate", "--spec", spec)) == 1


def test_everything_that_is_wrong_is_reported_together(capsys):
    """Field errors, cross-field errors and bad overrides come in one message, each with its origin."""
    document = {
        "name": "a b",
        "search": {"max_epochs": 2, "factor": "three", "objective": "val_acuracy"},
        "space": {"units": {"type": "int", "min_value": 9, "max_value": 1}, "momentum": 0.9},
        "data": {"source": "digit", "validation_fraction": 2},
        "retrain": {"seeds": 3},
    }
    environ = {"JOB_SERCH__FACTOR": "3", "JOB_LOGS__LEVEL": "loud"}
    arguments = ("plan", "--spec", json.dumps(document), "--set", "limits.timeout=soon")
    problems = problems_of(capsys, *arguments, environ=environ)
    assert [line.split(": ")[0] for line in problems] == [
        "JOB_SERCH__FACTOR",
        "name",
        "data.validation_fraction",
        "space.units",
        "search.factor",
        "limits.timeout",
        "logs.level",
        "search.objective",
        "space.momentum",
        "data.source",
        "retrain.seeds",
    ]
    assert problems[5].endswith('(found "soon") [from --set]')
    assert problems[6].endswith('(found "loud") [from JOB_LOGS__LEVEL]')


def test_checks_run_on_what_is_valid_though_other_sections_are_not(capsys):
    """An error in one section does not hide a contradiction in another."""
    problems = problems_of(capsys, "validate", "--spec", "{logs: {level: 3}, search: {max_epochs: 2}}")
    assert [line.split(":")[0] for line in problems] == ["logs.level", "search.max_epochs"]


def test_a_check_does_not_run_on_what_is_invalid_by_itself(capsys):
    """A wrong field is reported once, not compared with its default as well."""
    problems = problems_of(capsys, "validate", "--spec", "search: {max_epochs: 2, factor: three}")
    assert [line.split(":")[0] for line in problems] == ["search.factor"]


def test_a_broken_parent_is_not_called_unknown(capsys):
    """An entry that depends on a broken entry is not blamed for it."""
    document = (
        "space: {hidden_layers: {type: int, min_value: 2, max_value: 1}, "
        "dropout: {type: fixed, value: 0.1, parent_name: hidden_layers, parent_values: [2]}}"
    )
    problems = problems_of(capsys, "validate", "--spec", document)
    assert [line.split(":")[0] for line in problems] == ["space.hidden_layers"]


def test_secrets_are_not_shown(capsys):
    """Values under secret-sounding names, users in URLs and signatures are redacted wherever a value is shown."""
    document = (
        "storage: {tags: {password: hunter2, team: 'https://me:hunter2@host', "
        "url: 'https://host/x?X-Amz-Signature=hunter2'}}"
    )
    problems = problems_of(capsys, "validate", "--spec", document)
    assert any("<redacted>" in line for line in problems)


def test_a_long_value_is_shortened(capsys):
    """A value that would fill the screen is cut."""
    problems = problems_of(capsys, "validate", "--set", f"data.source={'x' * 500}")
    assert len(problems[0]) < 400
    assert "…" in problems[0]
