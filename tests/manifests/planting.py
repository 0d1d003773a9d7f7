"""How mistakes are planted into rendered manifests, each with the one check that must find it.

Those that Kubernetes' schema finds are marked so; it must be silent about all others, or their checks were not needed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from manifests.rendering import CONTAINER, Object, Rendered

SCHEMA = "kubernetes-validate"


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        name: what is wrong, for the test's name.
        overlay: where it is planted.
        found_by: the name of the check, or SCHEMA.
        plant: changes what is rendered, in place.
    """

    name: str
    overlay: str
    found_by: str
    plant: Callable[[Rendered], None]


def cron_field(field: str, value: object) -> Callable[[Rendered], None]:
    def plant(rendered: Rendered) -> None:
        rendered.one("CronJob", "tuning-job-nightly")["spec"][field] = value

    return plant


def job_field(field: str, value: object) -> Callable[[Rendered], None]:
    def plant(rendered: Rendered) -> None:
        for _, spec in rendered.jobs():
            spec[field] = value

    return plant


def in_pods(change: Callable[[Object], None]) -> Callable[[Rendered], None]:
    def plant(rendered: Rendered) -> None:
        for pod, _ in rendered.tuning_pods():
            change(pod.spec)

    return plant


def in_containers(change: Callable[[Object], None]) -> Callable[[Rendered], None]:
    return in_pods(lambda spec: change(next(one for one in spec["containers"] if one["name"] == CONTAINER)))


def resource(kind: str, name: str, value: object) -> Callable[[Rendered], None]:
    return in_containers(lambda container: container["resources"][kind].update({name: value}))


def in_rules(change: Callable[[list[Object]], None]) -> Callable[[Rendered], None]:
    def plant(rendered: Rendered) -> None:
        for _, spec in rendered.jobs():
            change(spec["podFailurePolicy"]["rules"])

    return plant


def in_object(kind: str, name: str, change: Callable[[Object], None]) -> Callable[[Rendered], None]:
    return lambda rendered: change(rendered.one(kind, name))


def variable(name: str, **content: object) -> Callable[[Rendered], None]:
    return in_containers(lambda container: container.setdefault("env", []).append({"name": name, **content}))


def spec_text(old: str, new: str) -> Callable[[Rendered], None]:
    def change(configmap: Object) -> None:
        text = configmap["data"]["spec.yaml"]
        if old not in text:
            raise LookupError(f"the spec does not say {old!r}")
        configmap["data"]["spec.yaml"] = text.replace(old, new)

    return in_object("ConfigMap", "tuning-job-spec", change)


def job_alone(change: Callable[[Object], None]) -> Callable[[Rendered], None]:
    return in_object("Job", "tuning-job", change)
