"""All checks by name; each takes what an overlay renders and returns what is wrong with it, one sentence each."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from manifests import pods, references, schedules, spec_in_pods
from manifests.rendering import Rendered

Check: TypeAlias = Callable[[Rendered], list[str]]

CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        schedules.schedule_is_a_cron_line,
        schedules.time_zone_is_known,
        schedules.nights_do_not_overlap,
        schedules.jobs_are_bounded,
        schedules.one_pod_at_a_time,
        schedules.failure_policy_agrees_with_errors,
        schedules.grace_periods_agree,
        schedules.both_jobs_are_the_same,
        spec_in_pods.spec_is_valid,
        spec_in_pods.variables_are_known,
        pods.quantities_make_sense,
        pods.gpus_are_whole,
        pods.volumes_are_mounted,
        pods.scratch_is_bounded,
        pods.pods_are_restricted,
        pods.images_are_pinned,
        pods.ends_are_told,
        references.references_exist,
        references.accounts_exist,
        references.run_id_is_the_jobs_name,
        references.selectors_find_pods,
        references.network_is_closed,
        references.namespaces_agree,
        references.names_are_valid,
        references.keys_are_nowhere,
    )
}


def problems(rendered: Rendered) -> dict[str, list[str]]:
    """What each check finds, those left out that find nothing."""
    return {name: found for name, check in CHECKS.items() if (found := check(rendered))}
