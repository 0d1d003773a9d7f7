"""Successive halving, compared with a full barrier that is computed here on its own."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.schedule import Bracket, Rung, hyperband_schedule
from job.search.halving import BracketRun, Place

Outcome = Callable[[Place], float | None]

# KerasTuner's first bracket for 10 epochs and factor 3.
TWELVE = Bracket(2, (Rung(12, 0, 2), Rung(4, 2, 4), Rung(2, 4, 10)))


def dice(seed):
    """Repeatable chance."""
    return random.Random(seed)  # noqa: S311 - a test's draws, no secret


@dataclass
class Played:
    """What a bracket ran, in the order of its starts; what it let go; its rungs' members when it first knew them."""

    started: list[Place]
    told: list[Place]
    decided: dict[int, list[int]]

    def members(self, rung: int) -> list[int]:
        return sorted(place.index for place in self.started if place.rung == rung)


def play(run: BracketRun, outcome: Outcome, slots: int, chance: random.Random) -> Played:
    """Run a bracket with up to `slots` trials under way that end in random order.

    On the way it is checked that nothing is let go of that is still needed: a trial under way, its parent, or a trial
    that is promoted later.
    """
    played = Played([], [], {})
    under_way: list[Place] = []
    finished: set[Place] = set()
    while True:
        while len(under_way) < slots and (place := run.next_place()) is not None:
            assert place not in played.started
            if place.rung:
                parent = Place(place.rung - 1, place.index)
                assert parent in finished
                assert parent not in played.told
            played.started.append(place)
            under_way.append(place)
        for number in range(len(run.bracket.rungs)):
            members = run.members(number)
            if members is not None:
                assert played.decided.setdefault(number, members) == members
        if not under_way:
            return played
        ended = under_way.pop(chance.randrange(len(under_way)))
        finished.add(ended)
        run.finish(ended, outcome(ended))
        for gone in run.take_discardable():
            assert gone in finished
            assert gone not in played.told
            assert Place(gone.rung + 1, gone.index) not in under_way
            played.told.append(gone)


def full_barrier(sizes: list[int], outcome: Outcome, direction: str) -> list[list[int]]:
    """Each rung waits for all of the one below: the plainest successive halving there is."""
    sign = -1 if direction == "max" else 1
    rungs = [list(range(sizes[0]))]
    for below, size in enumerate(sizes[1:]):
        scores = {index: outcome(Place(below, index)) for index in rungs[-1]}
        completed = [index for index, score in scores.items() if score is not None]
        rungs.append(sorted(completed, key=lambda index: (sign * scores[index], index))[:size])
    return [sorted(rung) for rung in rungs]


@dataclass
class Case:
    bracket: Bracket
    configurations: int
    direction: str
    slots: int
    chance: random.Random
    outcome: Outcome

    @property
    def sizes(self) -> list[int]:
        """What each rung runs if enough trials complete: all that is planned, or a share of it."""
        planned = [rung.size for rung in self.bracket.rungs]
        return [math.ceil(Fraction(size * self.configurations, planned[0])) for size in planned]

    def run(self) -> BracketRun:
        return BracketRun(0, self.bracket, self.configurations, self.direction)


@st.composite
def cases(draw, *, all_configurations=False):
    max_epochs = draw(st.integers(1, 60))
    schedule = hyperband_schedule(
        max_epochs, draw(st.integers(2, 4)), kind=draw(st.sampled_from(["keras_tuner", "paper"]))
    )
    bracket = draw(st.sampled_from(schedule.brackets))
    planned = bracket.rungs[0].size
    configurations = planned if all_configurations else draw(st.one_of(st.just(planned), st.integers(0, planned)))
    chance = draw(st.randoms(use_true_random=False))
    failure_rate = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    # Few distinct scores make many ties.
    distinct = draw(st.sampled_from([1, 2, 5, 10_000]))
    outcomes: dict[Place, float | None] = {}

    def outcome(place: Place) -> float | None:
        if place not in outcomes:
            failed = chance.random() < failure_rate
            outcomes[place] = None if failed else chance.randrange(distinct) / 7
        return outcomes[place]

    return Case(
        bracket, configurations, draw(st.sampled_from(["min", "max"])), draw(st.integers(1, 12)), chance, outcome
    )


@given(cases())
@settings(deadline=None)
def test_promotes_what_a_full_barrier_promotes(case):
    """Whatever order trials end in, every rung holds the configurations of a full barrier, and each trial is let go."""
    run = case.run()
    played = play(run, case.outcome, case.slots, case.chance)
    ran = [played.members(number) for number in range(len(case.bracket.rungs))]
    assert ran == full_barrier(case.sizes, case.outcome, case.direction)
    assert [played.decided[number] for number in range(len(ran))] == ran
    assert run.done
    # Told in `play` at most once; here: each of them was told in the end.
    assert set(played.told) == set(played.started)


@given(cases())
@settings(deadline=None)
def test_rungs_are_filled_while_completed_trials_remain(case):
    """A rung runs its size, or every completed trial of the rung below, and a shortfall is reported with its reason."""
    run = case.run()
    played = play(run, case.outcome, case.slots, case.chance)
    reported = {short.rung: short for short in run.shortfalls()}
    available = case.configurations
    for number, (rung, size) in enumerate(zip(case.bracket.rungs, case.sizes, strict=True)):
        members = played.members(number)
        assert len(members) == min(size, available)
        if len(members) == rung.size:
            assert number not in reported
        else:
            short = reported.pop(number)
            assert (short.iteration, short.bracket) == (0, case.bracket.number)
            assert (short.planned, short.actual) == (rung.size, len(members))
            lack_of_trials = f"only {available} trials of the rung below completed"
            lack_of_points = "the space has no more unused points"
            assert short.reason == (lack_of_trials if len(members) < size else lack_of_points)
        available = sum(case.outcome(Place(number, index)) is not None for index in members)
    assert not reported


@given(cases(all_configurations=True))
@settings(deadline=None)
def test_order_of_ends_and_slots_do_not_matter(case):
    """One trial after the other runs the same trials as many at once."""
    at_once = play(case.run(), case.outcome, case.slots, case.chance)
    in_turn = play(case.run(), case.outcome, 1, case.chance)
    assert set(at_once.started) == set(in_turn.started)


@pytest.mark.parametrize(
    ("configurations", "sizes"),
    [(12, [12, 4, 2]), (11, [11, 4, 2]), (6, [6, 2, 1]), (5, [5, 2, 1]), (1, [1, 1, 1]), (0, [0, 0, 0])],
)
def test_fewer_configurations_shrink_every_rung(configurations, sizes):
    """With too few configurations every rung shrinks in proportion, so that the bracket still halves."""
    run = BracketRun(0, TWELVE, configurations, "max")
    played = play(run, lambda place: float(place.index), 1, dice(0))
    assert [len(played.members(number)) for number in range(3)] == sizes
    assert [short.rung for short in run.shortfalls()] == [n for n in range(3) if sizes[n] < TWELVE.rungs[n].size]


def finish_first(run: BracketRun, count: int, scores: Callable[[int], float | None]) -> None:
    """Start the whole first rung, and let the first `count` trials of it end."""
    assert [run.next_place() for _ in range(12)] == [Place(0, index) for index in range(12)]
    for index in range(count):
        run.finish(Place(0, index), scores(index))


def test_promotes_early_only_what_no_unfinished_trial_can_displace():
    """Of 12 for 4 places, eight ends promote nobody, and the ninth promotes the best while three are under way."""
    run = BracketRun(0, TWELVE, 12, "max")
    finish_first(run, 8, float)
    assert run.next_place() is None
    run.finish(Place(0, 8), 3.5)
    assert run.next_place() == Place(1, 7)
    assert run.next_place() is None


def test_failed_trials_count_as_worst_for_early_promotion():
    """A failed trial is one more that lost: eight failures of 12 promote the first trial that completes."""
    run = BracketRun(0, TWELVE, 12, "max")
    finish_first(run, 8, lambda _: None)
    assert run.next_place() is None
    run.finish(Place(0, 8), 0.0)
    assert run.next_place() == Place(1, 8)


def test_ties_go_to_the_lower_index():
    """Equal scores are promoted in the order of their indexes."""
    run = BracketRun(0, TWELVE, 12, "min")
    finish_first(run, 12, lambda _: 0.5)
    assert [run.next_place() for _ in range(5)] == [Place(1, 0), Place(1, 1), Place(1, 2), Place(1, 3), None]


@pytest.mark.parametrize(("failed", "sizes"), [(2, [12, 4, 2]), (8, [12, 4, 2]), (9, [12, 3, 2]), (11, [12, 1, 1])])
def test_failures_cost_places_only_when_too_few_complete(failed, sizes):
    """Failed trials do not shrink the rungs above while enough others complete."""
    run = BracketRun(0, TWELVE, 12, "max")
    played = play(run, lambda place: None if place.rung == 0 and place.index < failed else 1.0, 3, dice(failed))
    assert [len(played.members(number)) for number in range(3)] == sizes


def test_losers_are_let_go_as_soon_as_all_places_are_taken():
    """Once the fourth is promoted, the eight others are told; the promoted ones when their successors have ended."""
    run = BracketRun(0, TWELVE, 12, "max")
    finish_first(run, 12, float)
    assert run.take_discardable() == []
    promoted = [run.next_place() for _ in range(4)]
    assert {place.index for place in run.take_discardable()} == set(range(8))
    run.finish(promoted[0], 1.0)
    assert run.take_discardable() == [Place(0, 11)]


def test_a_bracket_that_was_stopped_says_so():
    """Rungs that never ran because the search ended are shortfalls for that reason."""
    run = BracketRun(1, TWELVE, 12, "max")
    finish_first(run, 3, float)
    assert not run.done
    assert [(short.rung, short.actual, short.reason) for short in run.shortfalls()] == [
        (0, 3, "the search was stopped before"),
        (1, 0, "the search was stopped before"),
        (2, 0, "the search was stopped before"),
    ]


def test_the_longest_trial_starts_first():
    """A promoted trial that trains longer starts before the rest of the first rung; an equally long one does not."""
    longer = Bracket(1, (Rung(4, 0, 2), Rung(1, 2, 6)))
    for bracket, expected in ((longer, Place(1, 0)), (Bracket(1, (Rung(4, 0, 2), Rung(3, 2, 4))), Place(0, 2))):
        run = BracketRun(0, bracket, 4, "max")
        first = [run.next_place() for _ in range(4 if bracket is longer else 2)]
        for place in first:
            run.finish(place, float(-place.index))
        assert run.next_length() == bracket.rungs[expected.rung].to_epoch - bracket.rungs[expected.rung].from_epoch
        assert run.next_place() == expected


def test_nothing_starts_after_the_last_wanted_place():
    """In a first rung the indexes up to the last wanted one still start; rungs above it do not."""
    run = BracketRun(0, TWELVE, 12, "max")
    run.stop_after(Place(0, 4))
    assert [run.next_place() for _ in range(6)] == [*(Place(0, index) for index in range(5)), None]
    run = BracketRun(0, TWELVE, 12, "max")
    finish_first(run, 12, float)
    run.stop_after(Place(1, 2))
    promoted = [run.next_place() for _ in range(4)]
    for place in promoted:
        run.finish(place, 1.0)
    assert run.next_place() is None
