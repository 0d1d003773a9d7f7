"""Mistakes about when a job starts, how long it may take, what its end means, and what it is told."""

from manifests.planting import (
    Mistake,
    cron_field,
    in_containers,
    in_pods,
    in_rules,
    job_alone,
    job_field,
    spec_text,
    variable,
)
from manifests.rendering import Object

_BASE = "base"
_SPOT = "overlays/spot"
_AWS = "overlays/aws"
_NEXT = "schedule_is_a_cron_line"
_NIGHTS = "nights_do_not_overlap"
_POLICY = "failure_policy_agrees_with_errors"


def _without_run_id(container: Object) -> None:
    container["env"] = [one for one in container["env"] if one["name"] != "JOB_RUN_ID"]


IN_JOBS = (
    # When
    Mistake("a cron line of six fields", _BASE, _NEXT, cron_field("schedule", "0 17 2 * * *")),
    Mistake("minute 60", _BASE, _NEXT, cron_field("schedule", "60 2 * * *")),
    Mistake("the 31st of February", _BASE, _NEXT, cron_field("schedule", "17 2 31 2 *")),
    Mistake("a time zone that is none", _BASE, "time_zone_is_known", cron_field("timeZone", "Europe/Berlln")),
    Mistake("an abbreviated time zone", _BASE, "time_zone_is_known", cron_field("timeZone", "CET")),
    Mistake("nights side by side", _BASE, _NIGHTS, cron_field("concurrencyPolicy", "Allow")),
    Mistake("a start every hour under a deadline of six", _BASE, _NIGHTS, cron_field("schedule", "17 * * * *")),
    Mistake("a deadline that misses starts", _BASE, _NIGHTS, cron_field("startingDeadlineSeconds", 5)),
    # How often and how long
    Mistake("no time for retraining", _BASE, "jobs_are_bounded", job_field("activeDeadlineSeconds", 7200)),
    Mistake("no retries", _BASE, "jobs_are_bounded", job_field("backoffLimit", 0)),
    Mistake("an Indexed Job", _BASE, "one_pod_at_a_time", job_field("completionMode", "Indexed")),
    Mistake("a limit per index without indices", _BASE, "one_pod_at_a_time", job_field("backoffLimitPerIndex", 1)),
    Mistake("two pods of one run", _BASE, "one_pod_at_a_time", job_field("parallelism", 2)),
    Mistake(
        "a replacement too early", _BASE, "one_pod_at_a_time", job_field("podReplacementPolicy", "TerminatingOrFailed")
    ),
    Mistake("exit codes before disruptions", _BASE, _POLICY, in_rules(lambda rules: rules.reverse())),
    Mistake(
        "a permanent code that is retried",
        _BASE,
        _POLICY,
        in_rules(lambda rules: rules[2]["onExitCodes"]["values"].remove(13)),
    ),
    Mistake(
        "the store's code as permanent",
        _BASE,
        _POLICY,
        in_rules(lambda rules: rules[2]["onExitCodes"]["values"].append(20)),
    ),
    Mistake("preemption that counts", _SPOT, _POLICY, in_rules(lambda rules: rules.pop(1))),
    Mistake(
        "codes of a container of another name",
        _BASE,
        _POLICY,
        in_rules(lambda rules: rules[1]["onExitCodes"].update(containerName="job")),
    ),
    Mistake("a restart in place", _BASE, _POLICY, in_pods(lambda spec: spec.update(restartPolicy="OnFailure"))),
    Mistake(
        "SIGKILL before the grace period is over",
        _SPOT,
        "grace_periods_agree",
        in_pods(lambda spec: spec.update(terminationGracePeriodSeconds=10)),
    ),
    Mistake(
        "a spec that takes longer to end",
        _BASE,
        "grace_periods_agree",
        spec_text("grace_period: 50s", "grace_period: 5m"),
    ),
    Mistake(
        "a Job that is not the CronJob's",
        _BASE,
        "both_jobs_are_the_same",
        job_alone(lambda job: job["spec"].update(backoffLimit=3)),
    ),
    # What it is told
    Mistake("a misspelt field of the spec", _AWS, "spec_is_valid", spec_text("max_epochs", "max_epoch")),
    Mistake("an override of no field", _BASE, "spec_is_valid", variable("JOB_SEARCH__EPOCHS", value="27")),
    Mistake(
        "a spec that is not where JOB_SPEC says",
        _BASE,
        "spec_is_valid",
        in_containers(lambda one: one["env"][0].update(value="/etc/tuning/spec.yaml")),
    ),
    Mistake("a variable that nobody reads", _BASE, "variables_are_known", variable("JOB_MAX_EPOCHS", value="27")),
    Mistake(
        "a run id for all nights",
        _BASE,
        "run_id_is_the_jobs_name",
        in_containers(lambda one: one["env"][1].update(value="nightly", valueFrom={})),
    ),
    Mistake("no run id", _BASE, "run_id_is_the_jobs_name", in_containers(_without_run_id)),
)
