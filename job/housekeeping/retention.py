"""Which runs of a name may go: a pure decision."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from job.housekeeping.overview import RunOverview
from job.layout import MANIFEST

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a run, and why."""

    run: RunOverview
    goes: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Rules:
    """The runs that are kept by number, and the moment before which an unfinished run is old."""

    kept: frozenset[str]
    horizon: datetime | None
    horizon_in_words: str


def decide(
    runs: Iterable[RunOverview], *, keep: int, now: datetime, older_than: timedelta | None = None
) -> tuple[Decision, ...]:
    """Decide about all runs of one name.

    Published runs go, but for the newest `keep`. Unfinished and failed ones go once their last sign of life is older
    than the end of the oldest run that is kept by number or, with `older_than`, older than that. Whatever their age,
    the run that `latest.json` points to, the champion, runs that a live process holds, and runs with objects that
    cannot be read stay.

    Args:
        runs: of one name.
        keep: how many published runs to keep, at least 1; the champion's and the newest may come on top.
        now: what `older_than` counts from.
        older_than: the age at which unfinished and failed runs go.

    Returns:
        One decision per run, in the order of `runs`.
    """
    runs = tuple(runs)
    published = sorted((run for run in runs if run.condition == "published"), key=_by_end, reverse=True)
    kept = published[:keep]
    if older_than is None:
        oldest = _end(kept[-1]) if kept else None
        rules = _Rules(_ids(kept), oldest, "the published runs that are kept")
    else:
        rules = _Rules(_ids(kept), now - older_than, "the age given")
    return tuple(_decide_one(run, rules) for run in runs)


def _decide_one(run: RunOverview, rules: _Rules) -> Decision:
    reason = _reason_to_stay(run, rules)
    if reason is not None:
        return Decision(run, goes=False, reason=reason)
    if run.condition == "published":
        return Decision(run, goes=True, reason="published; newer ones are kept")
    return Decision(run, goes=True, reason=f"older than {rules.horizon_in_words}")


def _reason_to_stay(run: RunOverview, rules: _Rules) -> str | None:
    reasons = (
        (run.is_champion, "the champion"),
        (run.is_newest, "latest.json points to it"),
        (run.is_live, "a live process holds it"),
        # What cannot be read may be somebody else's, or the lease of a live process.
        (run.condition == "unreadable" or bool(run.problems), "has objects that cannot be read; delete it by hand"),
        (run.run_id in rules.kept, "among the newest published"),
    )
    reason = next((text for holds, text in reasons if holds), None)
    return _reason_of_age(run, rules) if reason is None and run.condition != "published" else reason


def _reason_of_age(run: RunOverview, rules: _Rules) -> str | None:
    """Why an unfinished or failed run is not old enough."""
    if run.seen_at is None:
        return "its age is not known; delete it by hand"
    if rules.horizon is None:
        return "nothing is published"
    return f"not older than {rules.horizon_in_words}" if run.seen_at >= rules.horizon else None


def _ids(runs: Iterable[RunOverview]) -> frozenset[str]:
    return frozenset(run.run_id for run in runs)


def _by_end(run: RunOverview) -> tuple[datetime, datetime, str]:
    # By the store's clock first: those of the machines that publish may differ.
    return (run.folder.modified.get(MANIFEST, _BEGINNING), _end(run), run.run_id)


def _end(run: RunOverview) -> datetime:
    """When a published run ended; its manifest says so."""
    return run.ended_at or _BEGINNING
