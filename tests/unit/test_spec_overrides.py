"""Overrides of single fields by `--set` and by environment variables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.spec import JobSpec
from job.spec.fields import Place, field_place
from job.spec.overrides import Override, apply_overrides, parse_assignment, variable_name, variable_segments
from job.spec.paths import format_path, parse_path

# Anything but what the written form of a path cannot say: quotes, and nothing at all.
KEYS = st.text(st.characters(exclude_characters='"', exclude_categories=["Cs"]), min_size=1)


def set_(*assignments):
    return [parse_assignment(text) for text in assignments]


def variables(**values):
    return [Override(name, variable_segments(name), value) for name, value in values.items()]


def applied(document, overrides):
    result = apply_overrides(document, overrides)
    assert result.problems == ()
    return result.document


def leaf_paths():
    for name, field in JobSpec.model_fields.items():
        place = field_place(field)
        inner = place.names if place.is_mapping and not place.has_free_keys else ()
        yield from ([name, field_name] for field_name in inner)
        if not inner:
            yield [name]


@given(st.lists(KEYS, min_size=1))
def test_a_written_path_reads_back(segments):
    """Keys with dots, spaces or brackets survive being written as a path."""
    assert parse_path(format_path(segments)) == tuple(segments)


@pytest.mark.parametrize("path", [*leaf_paths()], ids=".".join)
def test_every_field_has_a_variable_that_sets_it(path):
    """The variable of a field, in capitals, sets exactly that field."""
    name = variable_name(path)
    result = apply_overrides({}, [Override(name, variable_segments(name), "{}")])
    value = result.document
    for segment in path:
        value = value[segment]
    assert result.problems == ()
    assert result.origins == {tuple(path): name}


def test_later_overrides_win_and_the_document_stays():
    """The last of several overrides of one field counts; the document passed in is not changed."""
    document = {"search": {"max_epochs": 10, "factor": 3}}
    overrides = variables(JOB_SEARCH__MAX_EPOCHS="27") + set_("search.max_epochs=81")
    assert applied(document, overrides) == {"search": {"max_epochs": 81, "factor": 3}}
    assert document == {"search": {"max_epochs": 10, "factor": 3}}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("search.max_epochs=27", "search.max_epochs", 27),
        ("data.rescale=255", "data.rescale", 255),
        ("data.rescale=none", "data.rescale", "none"),
        ("data.validation_fraction=1e-1", "data.validation_fraction", 0.1),
        ("limits.timeout=2h", "limits.timeout", "2h"),
        ("limits.timeout=null", "limits.timeout", None),
        ("logs.tensorboard=true", "logs.tensorboard", True),
        # Text stays as it is written, whatever it looks like.
        ("name=1e5", "name", "1e5"),
        ("output=s3://bucket/a=b", "output", "s3://bucket/a=b"),
        ("storage.tags.team=007", "storage.tags.team", "007"),
        ('storage.tags."cost.centre"=true', 'storage.tags."cost.centre"', "true"),
        ("storage.kms_key=null", "storage.kms_key", None),
        ("search.objective=val_loss", "search.objective", "val_loss"),
        ("search.objective={name: val_loss, direction: min}", "search.objective.direction", "min"),
        ("space.units=64", "space.units", 64),
        ("space.learning_rate=[1e-2, 1e-3]", "space.learning_rate", [0.01, 0.001]),
        ("space.activation=tanh", "space.activation", "tanh"),
    ],
)
def test_a_value_is_yaml_unless_the_field_is_text(assignment, path, value):
    """Values are read as YAML 1.2, and fields of text take them as written."""
    found = applied({}, set_(assignment))
    for segment in parse_path(path):
        found = found[segment]
    assert (type(found), found) == (type(value), value)


def test_a_mapping_adds_and_an_empty_one_empties():
    """A whole section given as YAML keeps the document's other fields; `{}` drops them."""
    document = {"storage": {"encryption": "sse-s3", "tags": {"team": "a", "kind": "b"}}}
    added = applied(document, variables(JOB_STORAGE="{tags: {team: c}, storage_class: STANDARD_IA}"))
    assert added["storage"] == {
        "encryption": "sse-s3",
        "tags": {"team": "c", "kind": "b"},
        "storage_class": "STANDARD_IA",
    }
    assert applied(document, set_("storage.tags={}"))["storage"] == {"encryption": "sse-s3", "tags": {}}


def test_an_entrys_field_starts_from_the_builders_own_entry():
    """Narrowing the default needs one field: the rest of the entry is the builder's."""
    assert applied({}, set_("space.units.max_value=128"))["space"] == {
        "units": {"type": "int", "min_value": 32, "max_value": 128, "step": 32}
    }


def test_an_entrys_field_starts_from_the_documents_entry():
    """What the document says of an entry stays; its shorthands are spelled out."""
    document = {"space": {"units": {"type": "int", "min_value": 1, "max_value": 9}, "dropout": 0.1}}
    overrides = set_("space.units.max_value=5", "space.dropout.value=0.2")
    assert applied(document, overrides)["space"] == {
        "units": {"type": "int", "min_value": 1, "max_value": 5},
        "dropout": {"type": "fixed", "value": 0.2},
    }


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_changing_an_entrys_type_drops_what_the_new_type_has_not(order):
    """A choice turned into a range loses its values, whichever override comes first."""
    texts = (
        "space.learning_rate.type=float",
        "space.learning_rate.min_value=1e-5",
        "space.learning_rate.max_value=0.1",
    )
    assert applied({}, set_(*(texts[index] for index in order)))["space"]["learning_rate"] == {
        "type": "float",
        "min_value": 1e-5,
        "max_value": 0.1,
    }


def test_an_entry_that_states_its_type_replaces_the_old_one():
    """A mapping with a type is a whole entry, not an addition."""
    document = {"space": {"units": {"type": "int", "min_value": 1, "max_value": 9, "step": 2}}}
    found = applied(document, set_("space.units={type: int, min_value: 1, max_value: 4}"))
    assert found["space"]["units"] == {"type": "int", "min_value": 1, "max_value": 4}


def test_variables_match_fields_in_any_case_and_free_keys_in_capitals():
    """Field names match regardless of case; capitals mean a key that is there; other keys keep their case."""
    document = {"space": {"myUnits": 3}, "storage": {"tags": {"Team": "a"}}}
    overrides = variables(
        JOB_search__Max_Epochs="27",
        JOB_SPACE__MYUNITS="4",
        JOB_SPACE__LEARNING_RATE="0.1",
        JOB_SPACE__myOther="5",
        JOB_SPACE__NEW="6",
        JOB_STORAGE__TAGS__TEAM="b",
        JOB_STORAGE__TAGS__Kind="c",
    )
    assert applied(document, overrides) == {
        "search": {"max_epochs": 27},
        "space": {"myUnits": 4, "learning_rate": 0.1, "myOther": 5, "NEW": 6},
        "storage": {"tags": {"Team": "b", "Kind": "c"}},
    }


def test_set_does_not_change_case():
    """`--set` names fields as the document does."""
    problems = apply_overrides({}, set_("SEARCH.max_epochs=3")).problems
    assert [problem.path for problem in problems] == ["SEARCH.max_epochs"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("JOB_SERCH__MAX_EPOCHS", "did you mean JOB_SEARCH__MAX_EPOCHS?"),
        ("JOB_SEARCH__MAX_EPOCH", "did you mean JOB_SEARCH__MAX_EPOCHS?"),
        ("JOB_SPACE__UNITS__MAX_VALU", "did you mean JOB_SPACE__UNITS__MAX_VALUE?"),
        ("JOB_SERCH__NOTHING", "did you mean JOB_SEARCH?"),
        ("JOB_SEARCH__MAX_EPOCHS__X", "no such field"),
        ("JOB_X__Y", "no such field"),
        ("JOB__X", "no such field"),
        ("JOB_SEARCH__", "no such field"),
    ],
)
def test_a_variable_that_names_no_field_is_a_problem(name, hint):
    """An unknown variable with `__` is reported under its own name, with the nearest one that exists."""
    result = apply_overrides({}, variables(**{name: "3"}))
    assert result.document == {}
    assert [problem.path for problem in result.problems] == [name]
    assert hint in result.problems[0].message


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("search.max_epoch", "unknown field; did you mean search.max_epochs?"),
        ("max_epochs", "unknown field; did you mean search.max_epochs?"),
        ("units", "unknown field; did you mean space.units?"),
        ("search.max_epochs.x", "search.max_epochs has no fields"),
        ("zzz", "unknown field"),
    ],
)
def test_a_set_path_that_names_no_field_is_a_problem(path, message):
    """An unknown path is reported as it was written, with the origin and the nearest one that exists."""
    problem = apply_overrides({}, set_(f"{path}=3")).problems[0]
    assert (problem.path, problem.message, problem.origin) == (path, message, "--set")


@pytest.mark.parametrize("value", ["{", "[1, .inf]", "!!python/name:os x", "'"])
def test_a_value_that_is_no_yaml_is_a_problem(value):
    """A value that cannot be read names the field, what it expects, and what was found."""
    problem = apply_overrides({}, set_(f"seed={value}")).problems[0]
    assert problem.path == "seed"
    assert problem.message.startswith("expected a whole number")
    assert problem.origin == "--set"


@pytest.mark.parametrize("text", ["search.max_epochs", "=3", ".a=3", "a..b=3", 'a."b=3', ""])
def test_an_assignment_without_a_path_or_a_value_is_refused(text):
    """`--set` takes FIELD=VALUE and nothing else."""
    with pytest.raises(ValueError, match=r"FIELD=VALUE|is not a field path"):
        parse_assignment(text)


def test_a_section_that_is_no_mapping_is_left_to_validation():
    """An override beneath something wrong does not hide it."""
    assert applied({"search": 5}, set_("search.factor=3")) == {"search": 5}


def test_the_origin_of_a_value_is_what_set_it_last():
    """A replaced section forgets where its parts came from."""
    result = apply_overrides({}, variables(JOB_SPACE__UNITS__MAX_VALUE="64") + set_("space.units=[1, 2]"))
    assert result.origins == {("space", "units"): "--set"}


def test_a_place_knows_what_may_stand_there():
    """Fields, unions and free keys are read off the models."""
    place = field_place(JobSpec.model_fields["limits"]).step("max_concurrent_trials")
    assert isinstance(place, Place)
    assert place.expected == "auto or a whole number of at least 1"
    assert place.step("deeper") is None
