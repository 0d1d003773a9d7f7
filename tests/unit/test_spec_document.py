"""Spec documents: what YAML 1.2, JSON and TOML say, and how what is not readable is reported."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import SpecError
from job.spec.document import parse_document
from job.spec.yaml12 import MAX_VALUES, YamlError, dump_yaml, load_yaml

PLAIN_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
PLAIN_DATA = st.recursive(
    PLAIN_SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01),
        ("1E3", 1000.0),
        ("-1.5e+3", -1500.0),
        (".5", 0.5),
        ("0o14", 12),
        ("0x1F", 31),
        ("014", 14),
        ("+7", 7),
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("2001-01-01", "2001-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2h", "2h"),
        ("<<", "<<"),
        ("=", "="),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("-.inf", -math.inf),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text, value):
    """Scalars follow YAML 1.2's core schema: no 1.1 booleans, no dates, no underscores in numbers."""
    found = load_yaml(f"value: {text}")["value"]
    assert (type(found), found) == (type(value), value)


@given(PLAIN_DATA)
def test_dumped_yaml_reads_back_to_equal_data(data):
    """What `validate` prints is the same data to whoever reads it."""
    assert load_yaml(dump_yaml({"data": data})) == {"data": data}


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("search:\n  max_epochs: 27\n  objective: val_loss\n", "yaml"),
        ('{"search": {"max_epochs": 27, "objective": "val_loss"}}', "json"),
        ('{\n\t"search": {\n\t\t"max_epochs": 27, "objective": "val_loss"}}', "json"),
        ("{search: {max_epochs: 27, objective: val_loss}}", "yaml"),
        ("[search]\nmax_epochs = 27\nobjective = 'val_loss'\n", "toml"),
        ("# nightly\n\nsearch.max_epochs = 27\nsearch.objective = 'val_loss'\n", "toml"),
    ],
)
def test_the_content_tells_the_format(text, form):
    """A document without a name is recognised; with a name, its suffix decides, and both read the same."""
    expected = {"search": {"max_epochs": 27, "objective": "val_loss"}}
    assert parse_document(text, source="JOB_SPEC") == expected
    assert parse_document(text, source="file", name=f"nightly.{form}") == expected


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "---\n", "\ufeff"])
def test_an_emptied_document_is_refused(text):
    """Nothing but space and comments was cut off or emptied, in any format; no document at all is the quickstart."""
    for name in (None, "spec.yaml", "spec.json", "spec.toml"):
        if (name == "spec.json" and text.strip("\ufeff \n")) or (name == "spec.toml" and text.startswith("---")):
            continue
        with pytest.raises(SpecError, match=r"^\S+: expected a mapping of fields.*the document is empty"):
            parse_document(text, source=name or "JOB_SPEC", name=name)


def test_a_document_of_no_fields_leaves_all_defaults():
    """Braces are written on purpose."""
    for name in (None, "spec.yaml", "spec.json"):
        assert parse_document("{}", source="JOB_SPEC", name=name) == {}


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("a: b: c", "s.yaml", "at line 1, column 5"),
        ("a: 1\nb: [1,\n", "s.yaml", "at line 3, column 1"),
        ('{"a": 1,\n "b" 2}', "s.json", "at line 2, column 6"),
        ("a = 1\nb = = 2", "s.toml", "at line 2, column 5"),
        ("a: 1\nb: 2\na: 3", "s.yaml", "the key 'a' is given twice at line 3, column 1"),
        ('{"a": 1, "a": 2}', "s.json", "the key 'a' is given twice"),
        ("a = 1\na = 2", "s.toml", "Cannot overwrite a value"),
        ("search:\n  1: 2", "s.yaml", "a key must be text, found 1: put it in quotes at line 2, column 3"),
        ("--- 1\n--- 2", "s.yaml", "at line 2"),
        ("a: !!python/object:os.system x", "s.yaml", "the tag !!python/object:os.system is not supported"),
        ("a: !!set {b}", "s.yaml", "the tag !!set is not supported"),
        ("a: \x01", "s.yaml", "a character is not allowed"),
        ('{"a": NaN}', "s.json", "NaN is not a number of JSON"),
        ("[" * 5000, "s.yaml", "nested too deeply"),
        ("[" * 100_000, "s.json", "nested too deeply"),
        ("a: " + "9" * 5000, "s.yaml", "a number is too long"),
    ],
)
def test_a_syntax_error_names_the_document_and_the_place(text, name, message):
    """What cannot be read is a SpecError with the document's name, and with line and column where there are."""
    with pytest.raises(SpecError) as raised:
        parse_document(text, source=name, name=name)
    assert str(raised.value).startswith(f"{name}: not readable as {name[2:].upper()}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["- 1\n- 2", "42", "just text", "[1, 2]"])
def test_a_document_that_is_no_mapping_is_refused(text):
    """A list or a single value has no fields."""
    with pytest.raises(SpecError, match="JOB_SPEC: expected a mapping of fields"):
        parse_document(text, source="JOB_SPEC")


@pytest.mark.parametrize(
    ("text", "name"),
    [("{a: {b: [1, .inf]}}", "s.yaml"), ("a.b = [1, inf]", "s.toml"), ('{"a": {"b": [1, 1e400]}}', "s.json")],
)
def test_a_number_that_is_not_finite_is_named_by_its_path(text, name):
    """Infinities have no place in a spec, whichever format lets them in."""
    with pytest.raises(SpecError, match=r"^a\.b\[1\]: expected a finite number \(found inf\)$"):
        parse_document(text, source=name, name=name)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ('{"a": ' + "[" * 600 + "]" * 600 + "}", "s.json", r"^a\[0\]\[0\]: expected at most 32 levels of nesting"),
        ("a: " + "[" * 100 + "]" * 100, "s.yaml", r"^a\[0\]\[0\]: expected at most 32 levels of nesting"),
        ("seed: 0x" + "f" * 4000, "s.yaml", r"^seed: expected a finite number \(found a whole number of 16000 bits\)$"),
    ],
)
def test_what_would_exhaust_a_reader_is_named_by_its_path(text, name, message):
    """Nesting without an end, and numbers that no float holds."""
    with pytest.raises(SpecError, match=message):
        parse_document(text, source=name, name=name)


def test_dates_of_toml_are_text():
    """TOML's dates read as they do in YAML and JSON."""
    assert parse_document("day = 2001-01-31", source="s.toml", name="s.toml") == {"day": "2001-01-31"}


def test_aliases_repeat_values():
    """An alias is the value that its anchor names."""
    assert load_yaml("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    assert load_yaml("a: &x 1\nb: &x 2\nc: *x") == {"a": 1, "b": 2, "c": 2}


def test_aliases_cannot_make_a_document_huge():
    """A document of aliases of aliases is refused before it fills the memory."""
    levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    with pytest.raises(YamlError, match=f"more than {MAX_VALUES} values"):
        load_yaml("\n".join(["a0: &a0 [1]", *levels]))


def test_a_value_cannot_contain_itself():
    """A recursive alias is refused."""
    with pytest.raises(YamlError, match="a value refers to itself"):
        load_yaml("a: &x [*x]")


def test_what_is_no_field_may_stand_in_a_document():
    """An editor's `$schema`, and the hash in a run's spec.json, are left aside."""
    text = '{"$schema": "job-spec.schema.json", "spec_hash": "0a1b", "name": "nightly"}'
    assert parse_document(text, source="spec.json") == {"name": "nightly"}
