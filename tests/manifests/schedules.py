"""Checks of when jobs start, how long they may take, and what their ends mean."""

import re
import zoneinfo
from itertools import islice, pairwise

from recipes.cron import parse_cron

from job.errors import ERRORS_WITH_EXIT_CODES, EXIT_USAGE, Preempted
from manifests.rendering import CONTAINER, REPOSITORY, Object, Rendered
from manifests.spec_in_pods import resolved_specs

# Kubernetes looks at its CronJobs every ten seconds, and may miss a start with less.
_LEAST_STARTING_DEADLINE = 10
# The end of a process after the job's own grace period.
_SECONDS_TO_END = 2
# What Kubernetes adds to the name of a CronJob for its Jobs, whose names end at 63.
_LONGEST_CRON_JOB_NAME = 52


def schedule_is_a_cron_line(rendered: Rendered) -> list[str]:
    """A schedule is a line of cron's that some day matches."""
    found = []
    for one in rendered.of_kind("CronJob"):
        line = one["spec"]["schedule"]
        try:
            if next(parse_cron(line).starts(), None) is None:
                found.append(f"schedule {line!r} never comes")
        except ValueError as error:
            found.append(f"schedule: {error}")
    return found


def time_zone_is_known(rendered: Rendered) -> list[str]:
    """A time zone is one of the IANA's, by its full name; Kubernetes refuses `Local` and abbreviations are a guess."""
    zones = {one["metadata"]["name"]: one["spec"].get("timeZone") for one in rendered.of_kind("CronJob")}
    return [
        f"{name}: unknown time zone {zone!r}"
        for name, zone in zones.items()
        if zone not in zoneinfo.available_timezones() or "/" not in zone
    ]


def nights_do_not_overlap(rendered: Rendered) -> list[str]:
    """No start beside the last one; what is late is made up for; and no job outlives the gap between two starts."""
    found = []
    for one in rendered.of_kind("CronJob"):
        spec = one["spec"]
        if spec.get("concurrencyPolicy") != "Forbid":
            found.append("concurrencyPolicy is not Forbid")
        if spec.get("suspend"):
            found.append("it is suspended")
        if len(one["metadata"]["name"]) > _LONGEST_CRON_JOB_NAME:
            found.append(f"a CronJob's name has at most {_LONGEST_CRON_JOB_NAME} characters")
        gap = _shortest_gap(spec["schedule"])
        if gap is None:
            continue
        deadline = spec.get("startingDeadlineSeconds", 0)
        if not _LEAST_STARTING_DEADLINE <= deadline < gap:
            found.append(f"startingDeadlineSeconds {deadline} is not within 10 and the {gap:.0f} s between starts")
        if spec["jobTemplate"]["spec"].get("activeDeadlineSeconds", 0) >= gap:
            found.append(f"activeDeadlineSeconds is not below the {gap:.0f} s between two starts")
    return found


def _shortest_gap(line: str) -> float | None:
    """Seconds between two starts, at least, of the next thousand; None where there are none."""
    try:
        starts = list(islice(parse_cron(line).starts(), 1000))
    except ValueError:
        return None
    return min(((later - earlier).total_seconds() for earlier, later in pairwise(starts)), default=None)


def jobs_are_bounded(rendered: Rendered) -> list[str]:
    """A Job has a number of retries, an end that leaves the spec's own time room, and goes away after its end."""
    found = []
    timeouts = {where: spec.limits.timeout for where, spec in resolved_specs(rendered).items()}
    for where, spec in rendered.jobs():
        found += [
            f"{where}: {field} is {spec.get(field)!r}"
            for field in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
            if not isinstance(spec.get(field), int) or spec[field] < 1
        ]
        timeout = timeouts.get(where)
        if timeout is not None and spec.get("activeDeadlineSeconds", 0) <= timeout.total_seconds():
            found.append(f"{where}: activeDeadlineSeconds leaves no room for limits.timeout, {timeout}")
    return found


def one_pod_at_a_time(rendered: Rendered) -> list[str]:
    """A run has one holder: no second pod, no index, no replacement before the last pod has ended."""
    found = []
    for where, spec in rendered.jobs():
        if spec.get("parallelism", 1) != 1 or spec.get("completions", 1) != 1:
            found.append(f"{where}: parallelism and completions are not 1")
        if spec.get("completionMode", "NonIndexed") != "NonIndexed":
            found.append(f"{where}: pods of an Indexed Job would all have one run id")
        if "backoffLimitPerIndex" in spec or "maxFailedIndexes" in spec:
            found.append(f"{where}: limits per index belong to Indexed Jobs")
        if spec.get("podReplacementPolicy") != "Failed":
            found.append(f"{where}: podReplacementPolicy is not Failed, the only one beside a podFailurePolicy")
    return found


def failure_policy_agrees_with_errors(rendered: Rendered) -> list[str]:
    """Disruptions first, then the exit codes of job/errors.py, of a container that is there and is not restarted."""
    found = []
    permanent = {error.exit_code for error in ERRORS_WITH_EXIT_CODES if error.permanent}
    expected = [
        ("Ignore", {"DisruptionTarget"}),
        ("Ignore", {Preempted.exit_code}),
        ("FailJob", permanent),
    ]
    for where, spec in rendered.jobs():
        rules = spec.get("podFailurePolicy", {}).get("rules", [])
        if [_meaning(rule) for rule in rules] != expected:
            found.append(f"{where}: rules {[_meaning(rule) for rule in rules]} are not {expected}")
        if spec["template"]["spec"].get("restartPolicy") != "Never":
            found.append(f"{where}: a podFailurePolicy takes restartPolicy Never")
    if permanent != documented_permanent_codes():
        found.append(f"docs/exit-codes.md calls {documented_permanent_codes()} permanent, job/errors.py {permanent}")
    return found


def _meaning(rule: Object) -> tuple[str, set[object]] | None:
    """Action and what it is for; None for a rule that does not say what it seems to."""
    if "onExitCodes" in rule:
        codes = rule["onExitCodes"]
        if codes["operator"] != "In" or codes.get("containerName") != CONTAINER:
            return None
        return rule["action"], set(codes["values"])
    if any(str(condition.get("status", "True")) != "True" for condition in rule["onPodConditions"]):
        return None
    return rule["action"], {condition["type"] for condition in rule["onPodConditions"]}


def documented_permanent_codes() -> set[int]:
    """The codes that docs/exit-codes.md says trying again does not help, the command line's misuse left out."""
    page = (REPOSITORY / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| (\w+|-) \|$", page, re.MULTILINE)
    return {int(code) for code, helps in rows if helps == "no"} - {EXIT_USAGE}


def grace_periods_agree(rendered: Rendered) -> list[str]:
    """Kubernetes waits longer than the job takes to store what is under way."""
    specs = resolved_specs(rendered)
    found = []
    for pod, _ in rendered.tuning_pods():
        if pod.where not in specs:
            continue
        given = pod.spec.get("terminationGracePeriodSeconds", 30)
        taken = specs[pod.where].limits.grace_period.total_seconds()
        if given < taken + _SECONDS_TO_END:
            found.append(f"{pod.where}: {given} s until SIGKILL, of which limits.grace_period takes {taken:.0f}")
    return found


def both_jobs_are_the_same(rendered: Rendered) -> list[str]:
    """Job and CronJob start the same thing."""
    specs = [spec for _, spec in rendered.jobs()]
    return [] if all(spec == specs[0] for spec in specs) else ["the Job's spec differs from the CronJob's"]
