"""Addressed sampling: what is drawn, and what it depends on."""

import itertools
import math

import keras_tuner
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.search import sampling
from job.search.sampling import AddressedSampler

PARENT = "model"


def space(*declarations):
    """A space of (kind, arguments) in order; the n-th is called `e<n>`, but a Choice with `name`."""
    hp = keras_tuner.HyperParameters()
    for number, (kind, arguments) in enumerate(declarations):
        getattr(hp, kind)(**{"name": f"e{number}", **arguments})
    return hp


def continuous():
    return space(
        ("Float", {"min_value": -1.0, "max_value": 1.0}),
        ("Float", {"min_value": 1e-4, "max_value": 1e-1, "sampling": "log"}),
    )


def key(values):
    return tuple(sorted(values.items()))


ENTRIES = st.sampled_from(
    [
        ("Int", {"min_value": 1, "max_value": 3}),
        ("Int", {"min_value": -4, "max_value": 4, "step": 4}),
        ("Int", {"min_value": 2, "max_value": 32, "step": 4, "sampling": "log"}),
        ("Int", {"min_value": 1, "max_value": 3, "sampling": "log"}),
        ("Int", {"min_value": 1, "max_value": 9, "step": 3, "sampling": "reverse_log"}),
        ("Float", {"min_value": 0.0, "max_value": 0.5, "step": 0.25}),
        ("Choice", {"values": [1e-2, 1e-3]}),
        ("Choice", {"values": ["relu", "tanh", "elu"]}),
        ("Boolean", {}),
        ("Fixed", {"value": 7}),
    ]
)


@st.composite
def finite_spaces(draw):
    """Up to three entries behind a choice between two models; some belong to one of the models only."""
    declarations = [("Choice", {"name": PARENT, "values": ["small", "large"]})]
    for kind, arguments in draw(st.lists(ENTRIES, max_size=3)):
        models = draw(st.sampled_from([None, ["small"], ["large"], ["small", "large"]]))
        condition = {} if models is None else {"parent_name": PARENT, "parent_values": models}
        declarations.append((kind, arguments | condition))
    return space(*declarations)


def legal_values(entry):
    """Every value of an entry of ENTRIES, spelled out from its declaration."""
    config = entry.get_config()
    match type(entry).__name__:
        case "Choice":
            return config["values"]
        case "Boolean":
            return [False, True]
        case "Fixed":
            return [config["value"]]
    return range_values(config)


def range_values(config):
    low, high, step = config["min_value"], config["max_value"], config["step"] or 1
    match config["sampling"]:
        case "linear":
            return [low + step * number for number in range(int((high - low) / step) + 1)]
        case "log" if config["step"] is None:
            return list(range(low, high + 1))
        case "log":
            return [low * step**number for number in range(round(math.log(high / low, step)) + 1)]
    return [high + low - low * step**number for number in range(round(math.log(high / low, step)) + 1)]


def all_points(hp):
    """Every point of a finite space, by brute force over the product of all values."""
    points = set()
    names = [entry.name for entry in hp.space]
    for combination in itertools.product(*(legal_values(entry) for entry in hp.space)):
        values = dict(zip(names, combination, strict=True))
        active = {
            entry.name: values[entry.name]
            for entry in hp.space
            if all(values[condition.name] in condition.values for condition in entry.conditions)
        }
        points.add(key(active))
    return points


@given(finite_spaces(), st.integers(0, 2**63 - 1))
@settings(max_examples=25, deadline=None)
def test_draws_every_point_once_and_then_nothing(hp, seed):
    """Each point of a finite space comes exactly once, all of its values legal, and after the last comes None."""
    points = all_points(hp)
    sampler = AddressedSampler(hp, seed)
    drawn = [sampler.draw(0, 0, index) for index in range(len(points))]
    assert None not in drawn
    assert sorted(map(key, drawn)) == sorted(points)
    assert all(
        type(values[entry.name]) in {type(value) for value in legal_values(entry)}
        for values in drawn
        for entry in hp.space
        if entry.name in values
    )
    assert sampler.draw(0, 1, 0) is None
    assert sampler.draw(1, 0, 0) is None


@given(finite_spaces(), st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_same_seed_and_addresses_give_the_same_draws(hp, seed):
    """Two samplers that visit the same addresses draw the same values, whatever values the space holds meanwhile."""
    one, other = AddressedSampler(hp, seed), AddressedSampler(hp.copy(), seed)
    for index in range(6):
        first = one.draw(0, 2, index)
        hp.values = {} if first is None else dict(first)
        assert other.draw(0, 2, index) == first


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=6))
@settings(deadline=None)
def test_a_draw_depends_on_its_address_alone(addresses):
    """Where no point is met twice, what other addresses were visited before makes no difference."""
    visited = AddressedSampler(continuous(), 5)
    together = {address: visited.draw(*address) for address in sorted(addresses)}
    for address, values in together.items():
        assert AddressedSampler(continuous(), 5).draw(*address) == values


def test_different_seeds_draw_differently():
    """0 is a seed like any other: it repeats itself, and differs from 1 and 2."""
    draws = {seed: AddressedSampler(continuous(), seed).draw(0, 2, 0) for seed in (0, 1, 2)}
    assert AddressedSampler(continuous(), 0).draw(0, 2, 0) == draws[0]
    assert len(set(map(key, draws.values()))) == 3


def test_different_addresses_draw_differently():
    """Iteration, bracket and index each lead to another point."""
    addresses = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]
    assert len({key(AddressedSampler(continuous(), 0).draw(*address)) for address in addresses}) == len(addresses)


def test_entries_of_one_space_are_drawn_independently():
    """Two entries with the same range do not take the same values."""
    twins = space(*[("Float", {"min_value": 0.0, "max_value": 1.0})] * 2)
    sampler = AddressedSampler(twins, 0)
    assert all(values["e0"] != values["e1"] for values in (sampler.draw(0, 0, index) for index in range(20)))


def test_an_empty_space_has_one_point():
    """Nothing to search is one configuration, once."""
    sampler = AddressedSampler(keras_tuner.HyperParameters(), 0)
    assert sampler.draw(0, 1, 0) == {}
    assert sampler.draw(0, 1, 1) is None
    assert sampler.draw(0, 0, 0) is None


def test_logarithmic_sampling_covers_every_decade_alike():
    """Of 300 draws from 1e-4 to 1e-1 each of the three decades gets about a third."""
    sampler = AddressedSampler(continuous(), 0)
    drawn = [sampler.draw(0, 0, index)["e1"] for index in range(300)]
    assert all(1e-4 <= value <= 1e-1 for value in drawn)
    decades = [sum(low <= value < 10 * low for value in drawn) for low in (1e-4, 1e-3, 1e-2)]
    assert all(70 <= count <= 130 for count in decades), decades


def test_conditions_of_conditions_hold():
    """A grandchild is drawn only where its parent is active and has the right value."""
    hp = space(("Choice", {"name": PARENT, "values": ["linear", "mlp"]}))
    with hp.conditional_scope(PARENT, ["mlp"]):
        hp.Choice("layers", [1, 2])
        with hp.conditional_scope("layers", [2]):
            hp.Choice("width", [8, 16])
    sampler = AddressedSampler(hp, 0)
    drawn = {key(sampler.draw(0, 0, index)) for index in range(4)}
    assert drawn == {
        ((PARENT, "linear"),),
        (("layers", 1), (PARENT, "mlp")),
        (("layers", 2), (PARENT, "mlp"), ("width", 8)),
        (("layers", 2), (PARENT, "mlp"), ("width", 16)),
    }
    assert sampler.draw(0, 0, 4) is None


def test_a_big_space_is_never_listed(monkeypatch):
    """Two hundred of a billion points are drawn without listing them, and no two are equal."""
    monkeypatch.setattr(AddressedSampler, "_all_points", lambda _: pytest.fail("listed"))
    big = space(*[("Int", {"min_value": 1, "max_value": 1000})] * 3)
    sampler = AddressedSampler(big, 0)
    assert len({key(sampler.draw(0, 0, index)) for index in range(200)}) == 200


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(("Int", {"min_value": 8, "max_value": 64, "step": 2, "sampling": "log"}), id="logarithmic steps"),
        pytest.param(("Int", {"min_value": 1, "max_value": 40, "sampling": "log"}), id="logarithmic, no steps"),
        pytest.param(("Int", {"min_value": 1, "max_value": 9, "step": 2}), id="linear"),
    ],
)
def test_whole_numbers_stay_whole_when_the_rest_is_listed(entry, monkeypatch):
    """What is left of a nearly used space is listed; its whole numbers are ints there, too."""
    monkeypatch.setattr(sampling, "_MAX_DRAWS", 0)
    hp = space(entry)
    sampler = AddressedSampler(hp, 0)
    drawn = [sampler.draw(0, 0, index)["e0"] for index in range(len(legal_values(hp.space[0])))]
    assert {type(value) for value in drawn} == {int}
    assert sorted(drawn) == legal_values(hp.space[0])
    assert sampler.draw(0, 0, 99) is None
