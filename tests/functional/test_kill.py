"""Killed again and again, at any moment, on machines without a memory: the run ends as if nothing had happened.

`make test-kill N=50` is the long version, `SEED=…` repeats one.
"""

import secrets
import sys
from collections import Counter

import pytest
from faults.kill_harness import STAGES, Killer, draw_aims, timeline_of
from faults.stored_run import assert_complete, assert_same_answer, stored_run
from faults.synthetic_job import SyntheticJob

# With so many kills the first rung's trials take over 10 s each; with fewer, about 1 s.
LONG_FROM = 20
SHORT_ROWS, LONG_ROWS = 15_000, 400_000


def test_a_killed_run_gives_the_answer_of_an_uninterrupted_one(
    s3_admin, bucket, s3_environment, clean_environment, pytestconfig, capsys
):
    """After SIGKILLs in every stage: the same records, hyperparameters and weights, one manifest, all of it true."""
    kills = pytestconfig.getoption("--kills")
    given = pytestconfig.getoption("--kill-seed")
    seed = secrets.randbelow(2**31) if given is None else given
    limit = pytestconfig.getoption("--repeated-seconds")
    with capsys.disabled():
        sys.stdout.write(f"\n{kills} kills from seed {seed}\n")
        sys.stdout.flush()
    job = SyntheticJob(rows=LONG_ROWS if kills >= LONG_FROM else SHORT_ROWS)
    killer = Killer(clean_environment | s3_environment | job.environment(s3_admin, bucket), "killed", seed, kills)

    killer.run_uninterrupted()
    killer.run_killed()

    with capsys.disabled():
        sys.stdout.write(f"{killer.report}\n")
    reference = stored_run(s3_admin, bucket, job.prefix("killed-reference"))
    assert_complete(reference)
    for run_id in killer.run_ids:
        killed = stored_run(s3_admin, bucket, job.prefix(run_id))
        assert_complete(killed)
        assert_same_answer(killed, reference)
    assert killer.report.kills.total() == kills
    assert limit is None or killer.report.repeated_per_kill <= limit, str(killer.report)


def test_a_seed_aims_at_the_same_moments_again():
    """Aims depend on the seed alone; start-ups are among the others, which follow the stages' order."""
    aims = draw_aims(5, 50)

    assert aims == draw_aims(5, 50)
    assert aims != draw_aims(6, 50)
    assert Counter(aim.stage for aim in aims) == {"start-up": 10, "search": 20, "retrain": 10, "publication": 10}
    others = [STAGES.index(aim.stage) for aim in aims if aim.stage != "start-up"]
    assert others == sorted(others)


@pytest.mark.parametrize("number", range(1, 21))
def test_any_number_of_kills_is_drawn(number):
    """As many aims as were asked for, each within its stage."""
    aims = draw_aims(number, number)

    assert len(aims) == number
    assert all(0 <= aim.fraction <= 1 for aim in aims)


def event(name, at, trial_id=None):
    who = {"stage": "retrain"} if trial_id is None else {"stage": "search", "trial_id": trial_id}
    return {"event": name, "at": at, **who}


def test_training_under_way_at_a_kill_counts_as_trained():
    """Two trials at once count for themselves, from the choice of the engine to their end or to the kill."""
    events = [
        event("engine chosen", 10.0, "a"),
        event("engine chosen", 11.0, "b"),
        event("epoch finished", 13.0, "a"),
        event("trial completed", 13.5, "a"),
        event("epoch finished", 14.0, "b"),
    ]

    killed = timeline_of(events, 0.0, 16.0)

    assert killed.trained == (13 - 10) + (16 - 11)
    assert killed.reached == {"start-up": 0.0, "search": 10.0}


def test_what_follows_the_retraining_is_no_training():
    """Publication begins with the retraining's last epoch."""
    events = [event("engine chosen", 5.0), event("epoch finished", 6.0), event("epoch finished", 7.0)]

    timeline = timeline_of(events, 0.0, 9.0)

    assert timeline.trained == 2.0
    assert timeline.reached == {"start-up": 0.0, "retrain": 5.0, "publication": 7.0}
