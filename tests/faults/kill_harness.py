"""Kills a run again and again, at moments drawn from a seed, until it is published all the same.

Every start is the real command with the same run id, in a process group of its own, with an empty scratch directory:
what survives is what is in the bucket. The seed draws where each kill is aimed: a stage, and how far into it. How long
stages take is measured on an uninterrupted run first, and on the killed run's own starts. A run that is published with
aims left gets one more kill, as a published run, and another run of the same spec takes the other aims: most kills
would fall on published runs otherwise, which have nothing to lose.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from faults.run_process import RunProcess

Stage = Literal["start-up", "search", "retrain", "publication"]
STAGES: tuple[Stage, ...] = ("start-up", "search", "retrain", "publication")
# How many kills in ten are aimed at each.
SHARES: dict[Stage, int] = {"start-up": 2, "search": 4, "retrain": 2, "publication": 2}
AFTER_PUBLICATION = "after publication"
# A start of a published run ends within a second or two.
PUBLISHED_START_SECONDS = 1.5


@dataclass(frozen=True)
class Aim:
    """Where one kill is to fall: so far (0 to 1) into the stage."""

    stage: Stage
    fraction: float


@dataclass
class Timeline:
    """When a start reached its stages, and how long it trained, all in seconds by one clock."""

    reached: dict[Stage, float]
    trained: float
    ended: float


@dataclass
class KillReport:
    """What was done to a run, and what that cost.

    Attributes:
        kills: how often it was killed, by the stage that it was in.
        starts: how often it was started.
        runs: how many runs took the kills.
        trained: seconds of training over all starts, training under way at a kill included.
        reference_trained: the same of the uninterrupted run, once.
        repeated_epochs: epochs that were finished more than once.
    """

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    runs: int = 0
    trained: float = 0.0
    reference_trained: float = 0.0
    repeated_epochs: int = 0

    @property
    def repeated_per_kill(self) -> float:
        """Seconds of training that a kill cost on average."""
        return max(0.0, self.trained - self.runs * self.reference_trained) / max(1, self.kills.total())

    def __str__(self) -> str:
        kills = ", ".join(f"{number} {stage}" for stage, number in sorted(self.kills.items()))
        trained = f"{self.trained:.1f} s, {self.reference_trained:.1f} s each uninterrupted"
        repeated = f"{self.repeated_per_kill:.2f} s per kill, {self.repeated_epochs} finished epochs among them"
        return (
            f"seed {self.seed}: {self.kills.total()} kills ({kills}) in {self.starts} starts of {self.runs} runs; "
            f"trained {trained}; repeated {repeated}"
        )


def draw_aims(seed: int, number: int) -> list[Aim]:
    """`number` aims: spread over the stages in their order, with start-ups, that is kills during restarts, between."""
    drawing = random.Random(seed)  # noqa: S311 - kills, not secrets
    total = sum(SHARES.values())
    each = {stage: number * share // total for stage, share in SHARES.items()}
    for stage in ("search", "publication", "retrain", "start-up", "search")[: number - sum(each.values())]:
        each[stage] += 1
    aims = [Aim(stage, drawing.random()) for stage in STAGES if stage != "start-up" for _ in range(each[stage])]
    for _ in range(each["start-up"]):
        aims.insert(drawing.randrange(len(aims) + 1), Aim("start-up", drawing.random()))
    return aims


def timeline_of(events: Sequence[dict], started: float, ended: float) -> Timeline:
    """What the events of a start say of its stages and its training; each event has `at`, by the same clock."""
    reached: dict[Stage, float] = {"start-up": started}
    trained = 0.0
    # What trains at the moment, with the moment up to which its training is counted.
    training: dict[str, float] = {}
    for event in events:
        who = str(event.get("trial_id", "retrain"))
        name, at = event["event"], event["at"]
        if name in {"engine chosen", "epoch finished"}:
            reached.setdefault("retrain" if event.get("stage") == "retrain" else "search", at)
            trained += at - training.get(who, at)
            training[who] = at
        elif name in {"trial completed", "trial failed", "search stopped"}:
            training.pop(who, None)
        if name == "epoch finished" and event.get("stage") == "retrain":
            reached["publication"] = at
    if "publication" in reached:
        training.pop("retrain", None)
    trained += sum(max(0.0, ended - at) for at in training.values())
    return Timeline(reached, trained, ended)


class Killer:
    """Kills one run by a list of aims.

    Args:
        environment: all that the command needs to find its spec and its bucket.
        run_id: the runs to kill are `<run_id>-1` and so on; `<run_id>-reference` is left in peace.
        seed: draws the aims.
        number: how many kills.

    Attributes:
        run_ids: of the runs that were killed; all are published in the end.
    """

    def __init__(self, environment: Mapping[str, str], run_id: str, seed: int, number: int) -> None:
        self._environment = environment
        self._run_id = run_id
        self.run_ids: list[str] = []
        self._aims = draw_aims(seed, number)
        self._lengths: dict[Stage, float] = {}
        self._retrain_epochs = 0
        self._finished: Counter[tuple[str, str, int]] = Counter()
        self.report = KillReport(seed)

    def run_uninterrupted(self) -> None:
        """Make the reference, and learn how long the stages take.

        Raises:
            AssertionError: it failed.
        """
        with RunProcess(self._environment, "--run-id", f"{self._run_id}-reference") as start:
            code = start.finish()
            assert code == 0, f"the uninterrupted run ended with {code}:\n{start.story()}"
            published = next(event["at"] for event in start.events if event["event"] == "run published")
            reached = timeline_of(start.events, start.started, published).reached
            moments = [reached[stage] for stage in STAGES] + [published]
            lengths = (later - earlier for earlier, later in pairwise(moments))
            self._lengths = dict(zip(STAGES, lengths, strict=True))
            self._retrain_epochs = max(
                event["epoch"]
                for event in start.events
                if event["event"] == "epoch finished" and event["stage"] == "retrain"
            )
            self.report.reference_trained = timeline_of(start.events, start.started, published).trained

    def run_killed(self) -> None:
        """Kill and start again until all kills are made and every run is published.

        Raises:
            AssertionError: a start failed by itself, or a process outlived its group.
        """
        waiting = list(self._aims)
        while waiting:
            self.run_ids.append(f"{self._run_id}-{len(self.run_ids) + 1}")
            self.report.runs += 1
            while not self._start_once(waiting, published=False):
                pass
            if waiting:
                # The published run has its kill as well, unless it ends before.
                self._start_once(waiting, published=True)

    def _start_once(self, waiting: list[Aim], *, published: bool) -> bool:
        """Start the newest run and kill it at the first aim, which is then taken; whether it came to its end."""
        with RunProcess(self._environment, "--run-id", self.run_ids[-1]) as start:
            self.report.starts += 1
            stage = self._kill(start, waiting[0], published=published) if waiting else None
            if stage is None:
                code = start.finish()
                assert code == 0, f"a start ended with {code}:\n{start.story()}"
            else:
                self.report.kills[stage] += 1
                waiting.pop(0)
            assert start.survivors() == []
            self._account(start)
            return stage is None

    def _kill(self, start: RunProcess, aim: Aim, *, published: bool) -> str | None:
        """Kill a start at its aim; the stage it was in, or None if it ended before."""
        if published:
            if not start.wait_until(start.started + aim.fraction * PUBLISHED_START_SECONDS):
                return None
            start.kill_group()
            return AFTER_PUBLICATION
        base, length = start.started, self._lengths["start-up"]
        if aim.stage != "start-up":
            mark = start.wait_for(lambda event: self._is_reached(event, aim.stage))
            if mark is None:
                return None
            reached = self._stage_of(mark)
            base, length = mark["at"], self._reach(reached)
        if not start.wait_until(base + aim.fraction * length):
            return None
        start.kill_group()
        return self._stage_at_end(start)

    def _reach(self, stage: Stage) -> float:
        """How far behind a stage's beginning its kills are spread.

        A killed run goes on from where it was, so that later kills reach the rest of the stage; together they are to
        stay within it.
        """
        aimed = sum(aim.stage == stage for aim in self._aims)
        if stage == "publication" or aimed <= 1:
            return self._lengths[stage]
        # Each goes half of its reach on average.
        return self._lengths[stage] * min(1.0, 1.8 / aimed)

    def _stage_of(self, event: dict) -> Stage:
        if event.get("stage") != "retrain":
            return "search"
        done = event["event"] == "epoch finished" and event["epoch"] == self._retrain_epochs
        return "publication" if done else "retrain"

    def _is_reached(self, event: dict, stage: Stage) -> bool:
        trains = event["event"] in {"engine chosen", "epoch finished"}
        return trains and STAGES.index(self._stage_of(event)) >= STAGES.index(stage)

    def _stage_at_end(self, start: RunProcess) -> Stage:
        reached = [self._stage_of(e) for e in start.events if e["event"] in {"engine chosen", "epoch finished"}]
        return reached[-1] if reached else "start-up"

    def _account(self, start: RunProcess) -> None:
        ended = max((event["at"] for event in start.events), default=start.started)
        ended = start.killed_at or ended
        timeline = timeline_of(start.events, start.started, ended)
        self.report.trained += timeline.trained
        if "search" in timeline.reached:
            # A restart may have to wait for its predecessor's lease.
            length = timeline.reached["search"] - start.started
            self._lengths["start-up"] = max(self._lengths["start-up"], length)
        for event in start.events:
            if event["event"] == "epoch finished":
                epoch = (self.run_ids[-1], str(event.get("trial_id", "retrain")), int(event["epoch"]))
                self.report.repeated_epochs += self._finished[epoch] > 0
                self._finished[epoch] += 1
