"""Hyperparameters in plain loops and ifs: found before the search, and in force only where the code asks for them."""

import keras_tuner
from hypothesis import given, settings
from hypothesis import strategies as st

from job.models.own_space import discover
from job.search.neighbours import neighbours_of
from job.search.sampling import AddressedSampler, count_points, points_of
from job.spaces import ChoiceEntry

DRAWS = 30


def space_of(declare, narrowing=None):
    found = discover(declare, narrowing or {})
    assert not found.problems
    return found.space


def asked_for(declare, values):
    """What the code asks for with these values of the space, those of other entries being defaults."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    declare(hp)
    return {entry.name for entry in hp.space}


def guide(hp):
    """As in KerasTuner's getting started."""
    for i in range(hp.Int("layers", 1, 3)):
        hp.Int(f"units_{i}", 32, 64, step=32)
    if hp.Boolean("dropout"):
        hp.Float("rate", 0.0, 0.5, step=0.25)


def test_the_points_of_the_guides_space_are_those_that_its_code_tells_apart():
    """A grid lists 2 + 4 + 8 ways of layers times 1 + 3 of dropout, each of what its build asks for, none twice."""
    space = space_of(guide)
    points = list(points_of(space))
    assert len(points) == count_points(space) == (2 + 4 + 8) * (1 + 3)
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    assert all(asked_for(guide, point) == set(point) for point in points)


def test_neighbours_vary_only_what_is_asked_for():
    """No neighbour has a value that its build does not ask for, nor lacks one."""
    space = space_of(guide)
    centre = {"layers": 2, "units_0": 32, "units_1": 64, "dropout": False}
    found = list(neighbours_of(space, centre))
    assert {one.name for one in found} == {"layers", "units_0", "units_1", "dropout"}
    assert all(asked_for(guide, one.hyperparameters) == set(one.hyperparameters) for one in found)


def test_what_appears_late_is_narrowed_like_the_rest():
    """The spec's `space` knows the names that only other values show."""
    space = space_of(guide, {"units_2": ChoiceEntry(type="choice", values=(64,)), "rate": spec_rate()})
    points = list(points_of(space))
    assert {point["units_2"] for point in points if "units_2" in point} == {64}
    assert {point["rate"] for point in points if "rate" in point} == {0.25, 0.5}


def spec_rate():
    return ChoiceEntry(type="choice", values=(0.25, 0.5))


def many_layers(hp):
    if hp.Int("layers", 1, 50) > 20:
        hp.Boolean("norm")


def fine_rate(hp):
    if hp.Float("rate", 0.0, 1.0, step=0.01) >= 0.42:
        hp.Boolean("norm")


def test_a_threshold_among_many_values_is_found():
    """Whole numbers and steps of which there are many are halved until the two sides meet."""
    for declare, total in ((many_layers, 20 + 2 * 30), (fine_rate, 42 + 2 * 59)):
        points = list(points_of(space_of(declare)))
        assert len(points) == total
        assert all(asked_for(declare, point) == set(point) for point in points)


def nested_loops(hp):
    for i in range(hp.Int("blocks", 1, 2)):
        for j in range(hp.Int(f"layers_{i}", 1, 2)):
            if hp.Choice(f"kind_{i}_{j}", ["dense", "wide"]) == "wide":
                hp.Int(f"units_{i}_{j}", 1, 2)


def test_loops_in_loops_are_found_with_their_conditions():
    """What depends on several values is in force where all of them say so."""
    points = list(points_of(space_of(nested_loops)))
    block = 3 + 3 * 3
    assert len(points) == block + block * block
    assert all(asked_for(nested_loops, point) == set(point) for point in points)


def scope_in_a_loop(hp):
    for i in range(hp.Int("layers", 1, 2)):
        hp.Boolean(f"norm_{i}")
    kind = hp.Choice("kind", ["sgd", "adam"])
    with hp.conditional_scope("kind", ["adam"]):
        if kind == "adam":
            hp.Boolean("amsgrad")


def test_scopes_and_loops_go_together():
    """A conditional scope keeps its conditions beside those that are found."""
    points = list(points_of(space_of(scope_in_a_loop)))
    assert len(points) == (2 + 4) * (1 + 2)


def refuses(hp):
    if hp.Int("layers", 1, 3) == 2:
        raise ValueError("never two")
    if hp.Boolean("deep"):
        hp.Boolean("norm")


def test_code_that_refuses_values_is_searched_all_the_same():
    """What it raises with other values than the default ones is a trial's affair; the rest is found."""
    assert {entry.name for entry in space_of(refuses).space} == {"layers", "deep", "norm"}


# A program is a list of statements: an entry, and what stands under an `if` or in a loop of it.
PROGRAMS = st.recursive(
    st.just(()),
    lambda inner: st.lists(st.tuples(st.sampled_from(["if", "else", "loop"]), inner), max_size=2).map(tuple),
    max_leaves=5,
)


def run_program(hp, program, path="p"):
    for number, (kind, inner) in enumerate(program):
        name = f"{path}_{number}"
        if kind == "loop":
            for turn in range(hp.Int(name, 1, 2)):
                run_program(hp, inner, f"{name}_{turn}")
        elif hp.Boolean(name) == (kind == "if"):
            run_program(hp, inner, name)


@settings(max_examples=40, deadline=None)
@given(PROGRAMS)
def test_each_configuration_is_what_its_build_asks_for(program):
    """However loops and ifs are nested: a drawn configuration has the entries that are asked for, no other."""

    def declare(hp):
        run_program(hp, program)

    sampler = AddressedSampler(space_of(declare), seed=0)
    for index in range(DRAWS):
        values = sampler.draw(0, 0, index)
        if values is None:
            break
        assert asked_for(declare, values) == set(values)
