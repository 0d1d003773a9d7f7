"""Which runs may go: properties of a pure decision."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.housekeeping.folders import RunFolder
from job.housekeeping.overview import RunOverview
from job.housekeeping.retention import decide

START = datetime(2026, 1, 31, tzinfo=UTC)
NOW = START + timedelta(hours=100)


def run_of(number, condition="published", hours=0.0, **fields):
    moment = START + timedelta(hours=hours)
    values = {
        "name": "nightly",
        "folder": RunFolder("", f"run-{number}", {"spec.json": 1}),
        "condition": condition,
        "is_live": condition == "running",
        "started_at": None,
        "ended_at": moment if condition in {"published", "failed"} else None,
        "seen_at": moment,
        "trials": 0,
    }
    return RunOverview(**values | fields)


@st.composite
def any_runs(draw):
    """Runs of one name in any condition; at most one is the newest, and at most one the champion."""
    number = draw(st.integers(0, 12))
    found = [
        run_of(
            index,
            draw(st.sampled_from(["published", "published", "resumable", "failed", "running", "unreadable"])),
            draw(st.integers(0, 20)),
        )
        for index in range(number)
    ]
    found = [
        replace(
            run,
            is_live=run.is_live or draw(st.integers(0, 9)) == 0,
            problems=("torn",) if draw(st.integers(0, 9)) == 0 else (),
            seen_at=None if run.condition != "published" and draw(st.integers(0, 9)) == 0 else run.seen_at,
        )
        for run in found
    ]
    newest, champion = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    return tuple(
        replace(run, is_newest=index == newest, is_champion=index == champion) for index, run in enumerate(found)
    )


keeps = st.integers(1, 6)
ages = st.none() | st.integers(0, 200).map(lambda hours: timedelta(hours=hours))


@given(any_runs(), keeps, ages)
def test_protected_runs_never_go(runs, keep, older_than):
    """Champion, newest, live and unreadable runs stay, whatever their age and number."""
    for decision in decide(runs, keep=keep, now=NOW, older_than=older_than):
        run = decision.run
        if (
            run.is_champion
            or run.is_newest
            or run.is_live
            or run.problems
            or run.condition in {"running", "unreadable"}
        ):
            assert not decision.goes
        assert decision.reason


@given(any_runs(), keeps, ages)
def test_the_newest_published_stay(runs, keep, older_than):
    """No published run goes unless at least `keep` newer published ones stay."""
    decisions = decide(runs, keep=keep, now=NOW, older_than=older_than)
    published = [decision for decision in decisions if decision.run.condition == "published"]
    staying = [decision.run for decision in published if not decision.goes]
    assert len(staying) >= min(keep, len(published))
    for gone in (decision.run for decision in published if decision.goes):
        assert sum(run.ended_at >= gone.ended_at for run in staying) >= keep


@given(any_runs(), keeps)
def test_unfinished_runs_go_only_behind_what_is_kept(runs, keep):
    """An unfinished or failed run goes only if at least one kept published run ended after its last sign of life."""
    decisions = decide(runs, keep=keep, now=NOW)
    ends = [one.run.ended_at for one in decisions if one.run.condition == "published" and not one.goes]
    newest = sorted((run.ended_at for run in runs if run.condition == "published"), reverse=True)[:keep]
    for decision in decisions:
        if decision.goes and decision.run.condition != "published":
            assert decision.run.seen_at < newest[-1]
            assert newest[-1] in ends


@given(any_runs(), keeps, ages)
def test_deciding_again_after_it_was_done_deletes_nothing(runs, keep, older_than):
    """What stays once stays: a prune that is repeated at once has nothing to do."""
    left = [one.run for one in decide(runs, keep=keep, now=NOW, older_than=older_than) if not one.goes]
    assert not [one for one in decide(left, keep=keep, now=NOW, older_than=older_than) if one.goes]


@given(any_runs(), keeps, ages)
def test_every_run_is_decided_about_in_order(runs, keep, older_than):
    """There is one decision per run, in the runs' order."""
    assert tuple(one.run for one in decide(runs, keep=keep, now=NOW, older_than=older_than)) == runs


def gone(runs, **options):
    return [one.run.run_id for one in decide(runs, now=NOW, **options) if one.goes]


def test_old_runs_do_go():
    """Of four published runs and keep 2 the two oldest go, with the failed and unfinished ones before the kept."""
    runs = [
        run_of(0, "failed", 0),
        run_of(1, hours=1),
        run_of(2, "resumable", 2),
        run_of(3, hours=3),
        run_of(4, hours=4),
        run_of(5, "failed", 5),
        run_of(6, hours=6),
    ]
    assert gone(runs, keep=2) == ["run-0", "run-1", "run-2", "run-3"]
    assert gone(runs, keep=9) == ["run-0"]


def test_an_age_takes_the_place_of_the_kept_runs():
    """With `older_than` unfinished and failed runs go by age alone; published ones still by number."""
    runs = [run_of(0, hours=10), run_of(1, "failed", 20), run_of(2, "resumable", 90), run_of(3, hours=95)]
    assert gone(runs, keep=5, older_than=timedelta(hours=5)) == ["run-1", "run-2"]
    assert gone(runs, keep=5, older_than=timedelta(hours=50)) == ["run-1"]
    assert gone(runs, keep=1, older_than=timedelta(hours=99)) == ["run-0"]


def test_without_a_published_run_nothing_is_old():
    """Where nothing is published, unfinished and failed runs go by an age only."""
    runs = [run_of(0, "failed", 0), run_of(1, "resumable", 1)]
    assert gone(runs, keep=1) == []
    assert gone(runs, keep=1, older_than=timedelta(hours=99, minutes=30)) == ["run-0"]


@pytest.mark.parametrize("condition", ["resumable", "failed"])
def test_a_run_of_unknown_age_stays(condition):
    """What tells no time is not deleted by age."""
    runs = [run_of(0, condition, seen_at=None), run_of(1, hours=50)]
    assert gone(runs, keep=1) == []
    assert gone(runs, keep=1, older_than=timedelta(milliseconds=1)) == []
