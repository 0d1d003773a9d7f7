"""Search spaces: what an entry can take, how many points there are, and what a builder makes of a spec's entries."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from job.schedule import hyperband_schedule
from job.spaces import (
    BUILDERS,
    CNN,
    LINEAR,
    MLP,
    BooleanEntry,
    ChoiceEntry,
    FixedEntry,
    FloatEntry,
    IntEntry,
    SpaceEntry,
    can_take,
    same_value,
    space_size,
    values_of,
)
from job.spec import JobSpec

ENTRY = TypeAdapter(SpaceEntry)


@st.composite
def int_entries(draw):
    low = draw(st.integers(min_value=1, max_value=20))
    sampling = draw(st.sampled_from(["linear", "log", "reverse_log"]))
    steps = draw(st.integers(min_value=0, max_value=5))
    if draw(st.booleans()) or (sampling != "linear" and steps == 0):
        return IntEntry(type="int", min_value=low, max_value=low + steps, sampling=sampling)
    step = draw(st.integers(min_value=2, max_value=4))
    high = low + steps * step if sampling == "linear" else low * step**steps
    return IntEntry(type="int", min_value=low, max_value=high, step=step, sampling=sampling)


@st.composite
def float_entries(draw):
    low = draw(st.floats(min_value=1e-4, max_value=1e2))
    step = draw(st.floats(min_value=1e-3, max_value=1.0))
    high = low
    for _ in range(draw(st.integers(min_value=1, max_value=6))):
        high += step
    return FloatEntry(type="float", min_value=low, max_value=high, step=step)


CHOICES = st.lists(st.integers(), min_size=1, max_size=5, unique=True).map(
    lambda values: ChoiceEntry(type="choice", values=tuple(values))
)
BOOLEANS = st.just(BooleanEntry(type="boolean"))
FIXED = st.integers().map(lambda value: FixedEntry(type="fixed", value=value))
FINITE_ENTRIES = int_entries() | float_entries() | CHOICES | BOOLEANS | FIXED


@given(FINITE_ENTRIES)
def test_an_entrys_size_is_the_number_of_its_values(entry):
    """`size` counts exactly what `values_of` lists, and no value comes twice."""
    values = values_of(entry)
    assert entry.size() == len(values) == len(set(values))


@given(FINITE_ENTRIES)
def test_an_entry_can_take_its_values_and_no_others(entry):
    """`can_take` agrees with the list of values, without making it."""
    values = values_of(entry)
    assert all(can_take(entry, value) for value in values)
    numbers = [value for value in values if not isinstance(value, bool)]
    for other in [max(numbers, default=0) + 1, min(numbers, default=0) - 1, "text"]:
        assert not can_take(entry, other)


@given(int_entries(), st.integers(min_value=-5, max_value=200))
def test_a_range_contains_what_lies_on_its_steps(entry, value):
    """Of all whole numbers, a range has those that it lists."""
    assert can_take(entry, value) == (value in values_of(entry))


@given(FINITE_ENTRIES, FINITE_ENTRIES, FINITE_ENTRIES, st.data())
def test_a_spaces_size_is_the_number_of_its_points(first, second, third, data):
    """`space_size` equals the number of distinct points that enumeration finds, conditions included."""
    entries = {"first": first}
    for name, entry in (("second", second), ("third", third)):
        parent = data.draw(st.sampled_from([None, *entries]))
        if parent is not None:
            parent_values = data.draw(st.lists(st.sampled_from(values_of(entries[parent])), min_size=1, unique=True))
            condition = {"parent_name": parent, "parent_values": tuple(parent_values)}
            entries[name] = entry.model_copy(update=condition)
        else:
            entries[name] = entry
    assert space_size(entries) == len(set(_points(entries)))


def _points(entries):
    """Every point of a space by brute force: only its active entries count."""
    for values in itertools.product(*(values_of(entry) for entry in entries.values())):
        point = {}
        for (name, entry), value in zip(entries.items(), values, strict=True):
            parent = entry.parent_name
            if parent is None or (parent in point and point[parent] in entry.parent_values):
                point[name] = value
        yield tuple(point.items())


def test_a_huge_parent_is_counted_without_listing_it():
    """A parent with a milliard values costs nothing, nor do thirty independent conditions."""
    parent = IntEntry(type="int", min_value=1, max_value=10**9)
    child = ChoiceEntry(type="choice", values=(1, 2, 3), parent_name="parent", parent_values=(1, 2))
    assert space_size({"parent": parent, "child": child}) == 10**9 - 2 + 2 * 3
    switches = {f"switch{index}": BooleanEntry(type="boolean") for index in range(30)}
    children = {
        f"child{index}": child.model_copy(update={"parent_name": f"switch{index}", "parent_values": (True,)})
        for index in range(30)
    }
    assert space_size(switches | children) == 4**30


def test_a_continuous_entry_makes_the_space_infinite():
    """A range of numbers without a step has no number of points, be it under a condition."""
    rate = FloatEntry(type="float", min_value=1e-4, max_value=1e-1, sampling="log")
    switch = BooleanEntry(type="boolean")
    assert space_size({"rate": rate}) is None
    conditional = rate.model_copy(update={"parent_name": "switch", "parent_values": (True,)})
    assert space_size({"switch": switch, "rate": conditional}) is None


@pytest.mark.parametrize(
    ("one", "other", "same"), [(1, 1.0, True), (1, True, False), (0.0, False, False), ("a", "a", True)]
)
def test_numbers_are_no_booleans(one, other, same):
    """1 is 1.0, but it is not true."""
    assert same_value(one, other) is same


@pytest.mark.parametrize(
    ("written", "entry"),
    [
        (64, FixedEntry(type="fixed", value=64)),
        ("relu", FixedEntry(type="fixed", value="relu")),
        (True, FixedEntry(type="fixed", value=True)),
        ([32, 64], ChoiceEntry(type="choice", values=(32, 64))),
        ([0.1, 1], ChoiceEntry(type="choice", values=(0.1, 1.0))),
    ],
)
def test_shorthands(written, entry):
    """A bare value is fixed, a bare list is a choice; whole numbers among others are numbers of one kind."""
    assert ENTRY.validate_python(written) == entry


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "int", "min_value": 5, "max_value": 4}, "min_value 5 is greater than max_value 4"),
        ({"type": "int", "min_value": 0, "max_value": 10, "step": 3}, "step 3 does not fit"),
        ({"type": "int", "min_value": 0, "max_value": 10, "step": 20}, "step 20 does not fit"),
        ({"type": "int", "min_value": 0, "max_value": 10, "step": 0}, "step 0 must be above 0"),
        ({"type": "int", "min_value": 0, "max_value": 8, "sampling": "log"}, "needs min_value above 0"),
        ({"type": "int", "min_value": 1, "max_value": 8, "sampling": "log", "step": 1}, "step 1 must be above 1"),
        ({"type": "int", "min_value": 1, "max_value": 10, "sampling": "log", "step": 2}, "step 2 does not fit"),
        ({"type": "float", "min_value": 0.0, "max_value": 1.0, "step": 0.3}, "step 0.3 does not fit"),
        ({"type": "float", "min_value": 0.0, "max_value": 1.0, "default": 2.0}, "default 2.0 lies outside"),
        ({"type": "choice", "values": [1, "a"]}, "must all be of one type, found int and str"),
        ({"type": "choice", "values": [1, True]}, "must all be of one type, found bool and int"),
        ({"type": "choice", "values": [1, 1]}, "must differ"),
        ({"type": "choice", "values": ["a"], "ordered": True}, "ordered: true needs numbers"),
        ({"type": "choice", "values": [1], "default": 2}, "default 2 is not among the values"),
        ({"type": "boolean", "parent_name": "a"}, "parent_name and parent_values belong together"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(fields, message):
    """Bounds are ordered, steps fit, defaults lie inside, choices are of one type and differ."""
    with pytest.raises(ValidationError, match=message):
        ENTRY.validate_python(fields)


def test_a_step_of_a_tenth_fits():
    """Steps without an exact binary form are not refused for their rounding."""
    entry = FloatEntry(type="float", min_value=0.0, max_value=0.7, step=0.1)
    assert entry.size() == 8


def test_the_tutorials_space_is_the_default():
    """`mlp` searches 32 to 512 units by 32 and three learning rates: 48 points."""
    entries = MLP.resolve({})
    assert list(entries) == ["units", "learning_rate"]
    assert values_of(entries["units"]) == tuple(range(32, 513, 32))
    assert values_of(entries["learning_rate"]) == (1e-2, 1e-3, 1e-4)
    assert space_size(entries) == 48


def test_a_spec_replaces_and_adds_entries_and_parents_come_first():
    """Constants appear once a spec names them, and a condition's parent precedes it."""
    dropout = FixedEntry(type="fixed", value=0.3, parent_name="hidden_layers", parent_values=(2,))
    layers = ChoiceEntry(type="choice", values=(1, 2))
    units = layers.model_copy(update={"parent_name": "hidden_layers", "parent_values": (2,)})
    entries = MLP.resolve({"dropout": dropout, "hidden_layers": layers, "units": units})
    assert entries["units"] == units
    assert list(entries).index("hidden_layers") < min(list(entries).index("units"), list(entries).index("dropout"))
    assert "batch_size" not in entries


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
def test_a_builder_accepts_its_own_defaults(builder):
    """Every default entry has values of the declared kind within the declared bounds."""
    for hyperparameter in builder.hyperparameters:
        if hyperparameter.entry is None:
            continue
        for value in values_of(hyperparameter.entry):
            assert type(value) is hyperparameter.kind
            assert hyperparameter.choices is None or value in hyperparameter.choices
            assert hyperparameter.minimum is None or value >= hyperparameter.minimum
            assert hyperparameter.maximum is None or value <= hyperparameter.maximum


def resolved(builder=MLP, **space):
    return builder.resolve(JobSpec.model_validate({"space": space}).space)


def test_what_needs_another_value_depends_on_it():
    """Momentum is searched with sgd alone, without being told; where sgd is the only optimizer, always."""
    entries = resolved(optimizer=["adam", "sgd"], momentum=[0.0, 0.9], nesterov={"type": "boolean"})
    for name in ("momentum", "nesterov"):
        assert (entries[name].parent_name, entries[name].parent_values) == ("optimizer", ("sgd",))
    # 16 units, 3 learning rates; adam, or sgd with 2 momenta and 2 ways to use them.
    assert space_size(entries) == 16 * 3 * (1 + 2 * 2)
    assert resolved(optimizer="sgd", momentum=[0.0, 0.9])["momentum"].parent_name is None


def test_what_a_spec_makes_depend_on_something_else_does():
    """A parent that the spec names stays."""
    momentum = {"type": "choice", "values": [0.0, 0.9], "parent_name": "units", "parent_values": [32]}
    entries = resolved(optimizer=["adam", "sgd"], momentum=momentum)
    assert entries["momentum"].parent_name == "units"


def test_a_condition_of_the_builders_own_closes_no_circle():
    """`units` needs a hidden layer; where the spec makes the number of layers depend on `units`, that stands alone."""
    layers = {"type": "choice", "values": [0, 1], "parent_name": "units", "parent_values": [32]}
    entries = resolved(hidden_layers=layers)
    assert entries["units"].parent_name is None
    assert entries["hidden_layers"].parent_name == "units"


def test_layers_may_have_units_of_their_own():
    """`units_2` is searched where there are two layers; `units` only where some layer has none of its own."""
    entries = resolved(hidden_layers=[1, 2, 3], units_2=[8, 16])
    assert (entries["units_2"].parent_name, entries["units_2"].parent_values) == ("hidden_layers", (2, 3))
    assert "units" in entries
    assert "units" not in resolved(hidden_layers=[1, 2], units_1=[8, 16], units_2=[8, 16])


def test_without_hidden_layers_nothing_is_searched_of_them():
    """The builder's own `units` would make equal points."""
    assert list(resolved(hidden_layers=0)) == ["learning_rate", "hidden_layers"]


@pytest.mark.parametrize("builder", [LINEAR, MLP, CNN])
def test_a_default_space_fills_a_search_of_ten_epochs(builder):
    """Hyperband's 22 configurations are all different ones."""
    assert space_size(builder.resolve({})) >= hyperband_schedule(10, 3).configurations
