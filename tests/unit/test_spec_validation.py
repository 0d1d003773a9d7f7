"""Good specs stay good; resolved specs read back; the published schema says what validation does."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import SpecError
from job.redaction import REDACTED, redact, show
from job.spec import JobSpec, Objective
from job.spec.document import parse_document
from job.spec.objectives import asked_metrics, deciding_metrics, known_objective, objective_of
from job.spec.schema import spec_schema
from job.spec.validation import validate_document
from job.spec.yaml12 import dump_yaml, load_yaml
from job.target import Target

DESIGN_EXAMPLE = """
spec_version: 1                          # specs live for years in buckets; older ones stay readable
name: mnist-nightly
seed: 0
data:
  source: s3://datasets/mnist.npz
  validation_fraction: 0.2
  test_fraction: 0.1
model:
  builder: mlp
space:
  units:         {type: int, min_value: 32, max_value: 512, step: 32}
  learning_rate: {type: choice, values: [0.01, 0.001, 0.0001]}
search: {algorithm: hyperband, objective: val_accuracy, max_epochs: 10, factor: 3}
limits: {max_concurrent_trials: auto, timeout: 2h, trial_timeout: 20m, max_retries_per_trial: 1}
retrain: {epochs: auto}
output: s3://models/tuning
"""

GOOD_SPECS = [
    "{}",
    DESIGN_EXAMPLE,
    "space:\nlimits:\n",
    "space: {units: 64, learning_rate: [1e-2, 1], activation: [relu, tanh]}",
    "space: {learning_rate: {type: float, min_value: 1e-5, max_value: 1e-1, sampling: log}}",
    "space: {units: [8, 16], dropout: {type: fixed, value: 0.1, parent_name: units, parent_values: [16]}}",
    "search: {objective: {name: val_loss, direction: min}, max_epochs: 81, schedule: paper}",
    "search: {objective: val_loss, hyperband_iterations: 3, max_epochs: 1000000000}",
    "retrain: {on: train, seeds: 3, epochs: 5}",
    "data: {source: mnist, test_fraction: 0.1, rescale: none}",
    "data: {source: cifar100, rescale: 255}",
    "{output: 's3://bucket/x', storage: {encryption: sse-kms, kms_key: 'alias/k', tags: {a: b}, part_size: 5GiB}}",
    "{output: 'file:///srv/runs', limits: {timeout: 90, trial_timeout: 1.5h}, logs: {upload_interval: 250ms}}",
]


def problems_of(document):
    """What is wrong with a document; nothing if it is a spec."""
    try:
        validate_document(document)
    except SpecError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("text", GOOD_SPECS)
def test_a_good_spec_is_valid_and_its_resolved_form_equals_it(text):
    """Valid specs resolve; the resolved document, in YAML and JSON, reads back to the same spec and hash."""
    spec = validate_document(parse_document(text, source="spec"))
    document = spec.document()
    for again in (load_yaml(dump_yaml(document)), json.loads(json.dumps(document))):
        read = validate_document(again)
        assert read == spec
        assert read.hash() == spec.hash()


def test_an_empty_spec_is_the_quickstart():
    """With nothing given: digits, mlp, Hyperband to ten epochs, ./runs."""
    spec = validate_document({})
    assert spec == JobSpec()
    assert (spec.data.source, spec.model.builder, spec.search.max_epochs, spec.output) == (
        "digits",
        "mlp",
        10,
        "./runs",
    )


def test_the_hash_covers_the_answer_and_not_where_it_goes():
    """Output, storage and logs leave the hash alone; anything else changes it."""
    plain = JobSpec()
    elsewhere = validate_document(
        {"output": "s3://bucket/x", "storage": {"tags": {"a": "b"}}, "logs": {"level": "debug"}}
    )
    assert elsewhere.hash() == plain.hash()
    assert validate_document({"seed": 1}).hash() != plain.hash()


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())))
def test_any_document_is_a_spec_or_a_spec_error(document):
    """Whatever mapping is given, validation ends with a spec or with problems that have a path each."""
    assert all(problem.path and problem.message for problem in problems_of(document))


SECTIONS = sorted(
    name for name, field in JobSpec.model_fields.items() if name not in {"spec_version", "name", "seed", "output"}
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "int", "name", "values", "min_value", "parent_name", "x"]), inner)
    ),
    max_leaves=6,
)


@given(st.sampled_from(SECTIONS), st.sampled_from(["units", "objective", "tags", "timeout", "source", "x"]), JUNK)
def test_junk_anywhere_in_a_section_is_a_spec_or_a_spec_error(section, field, junk):
    """Values of any shape at any field end in problems beneath that section, never in another exception."""
    for value in (junk, {field: junk}):
        assert all(problem.path.startswith(section) for problem in problems_of({section: value}))


@pytest.mark.parametrize(
    ("objective", "direction"), [("val_accuracy", "max"), ("accuracy", "max"), ("val_loss", "min"), ("loss", "min")]
)
def test_an_objective_by_name_has_its_metrics_direction(objective, direction):
    """Losses are to fall, accuracies to rise."""
    search = validate_document({"search": {"objective": objective}}).search
    assert objective_of(search, Target("classification")) == Objective(name=objective, direction=direction)


@pytest.mark.parametrize(
    ("task", "built_in", "name", "direction"),
    [
        ("classification", True, "val_accuracy", "max"),
        ("regression", True, "val_rmse", "min"),
        ("regression", False, "val_loss", "min"),
        ("custom", False, "val_loss", "min"),
    ],
)
def test_the_objective_follows_the_task(task, built_in, name, direction):
    """With `auto`; the loss of a built-in regression holds penalties, by which no trial should win."""
    search = validate_document({}).search
    assert objective_of(search, Target(task), built_in=built_in) == Objective(name=name, direction=direction)


def test_naming_an_optional_metric_as_objective_asks_for_it():
    """It is logged then, with what `training.metrics` asks for, each once."""
    spec = validate_document({"search": {"objective": "val_f1_score"}, "training": {"metrics": ["auc", "f1_score"]}})
    objective = objective_of(spec.search, Target("classification"))
    assert objective.direction == "max"
    deciding = deciding_metrics(spec.search, objective)
    assert asked_metrics(spec.training, deciding, "classification") == ("auc", "f1_score")


def test_a_weighted_sum_is_minimised_and_asks_for_its_metrics():
    """Whatever its metrics' directions; each of them is logged, and whichever task there is, it is the objective."""
    terms = [{"name": "val_f1_score", "direction": "max"}, {"name": "loss", "direction": "min", "weight": 2}]
    spec = validate_document({"search": {"objective": terms}, "data": {"source": "s3://bucket/x.npz"}})
    objective = known_objective(spec.data, spec.search)
    assert (objective.name, objective.direction) == ("objective", "min")
    assert objective_of(spec.search, Target("regression")) == objective
    deciding = deciding_metrics(spec.search, objective)
    assert deciding == ("val_f1_score", "loss")
    assert asked_metrics(spec.training, deciding, "classification") == ("f1_score",)
    assert [term.weight for term in spec.search.objective_terms] == [1.0, 2.0]
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert validate_document(spec.document()) == spec


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, "val_accuracy"),
        ({"data": {"source": "boston_housing"}}, "val_rmse"),
        ({"data": {"source": "s3://bucket/x.npz"}}, None),
        ({"data": {"source": "s3://bucket/x.npz", "task": "regression"}}, "val_rmse"),
        ({"data": {"source": "s3://bucket/x.npz"}, "search": {"objective": "val_r2"}}, "val_r2"),
    ],
)
def test_the_objective_is_known_before_the_data_where_the_task_is(document, expected):
    """A stated task, a built-in data set or a metric of one task alone tells it; `auto` on unread data does not."""
    spec = validate_document(document)
    objective = known_objective(spec.data, spec.search)
    assert (None if objective is None else objective.name) == expected


def test_the_schema_knows_every_field_and_the_shorthands():
    """The JSON Schema names its dialect and itself, forbids unknown fields and allows bare values and lists."""
    schema = spec_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"]
    assert schema["additionalProperties"] is False
    assert set(JobSpec.model_fields) <= set(schema["properties"])
    union, bare_value, bare_list = schema["properties"]["space"]["additionalProperties"]["anyOf"]
    assert len(union["oneOf"]) == 5
    assert bare_value["type"] == ["boolean", "number", "string"]
    assert bare_list["type"] == "array"


def test_the_published_schema_is_the_one_of_the_code():
    """docs/job-spec.schema.json is what `tuning-job schema` prints."""
    published = Path(__file__).parents[2] / "docs" / "job-spec.schema.json"
    assert json.loads(published.read_text(encoding="utf-8")) == spec_schema()


@given(st.text(min_size=1), st.sampled_from(["password", "aws_secret_access_key", "api-token", "accessKeyId"]))
def test_what_stands_under_a_secret_name_is_never_shown(secret, name):
    """The value of a secret-sounding key is replaced, at any depth and in any list."""
    assert redact({"a": [{name: secret}]}) == {"a": [{name: REDACTED}]}
    assert show(secret, ("storage", "tags", name)) == REDACTED


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:hunter2@bucket/x", "s3://<redacted>@bucket/x"),
        ("https://h/x?X-Amz-Signature=hunter2&a=b", "https://h/x?<redacted>"),
        ("key AKIAABCDEFGHIJKLMNOP", "key <redacted>"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
    ],
)
def test_secrets_inside_text_are_replaced(text, shown):
    """Users of URLs, signatures and AWS key ids are replaced; the rest of the text stays."""
    assert redact(text) == shown
