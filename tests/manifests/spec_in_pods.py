"""The job spec that a pod would read: its ConfigMap and its variables, resolved as the job does."""

from pathlib import PurePosixPath

from job.errors import SpecError
from job.resolve import resolve_spec
from job.settings import SPEC_VARIABLE, read_settings
from job.spec import JobSpec
from manifests.rendering import Object, Pod, Rendered


def variables(container: Object) -> dict[str, str]:
    """The variables that the manifest itself gives a container."""
    return {one["name"]: one["value"] for one in container.get("env", ()) if "value" in one}


def mounted_document(rendered: Rendered, pod: Pod, container: Object) -> str | None:
    """The content of the file that JOB_SPEC names, from the ConfigMap mounted there; None where there is none."""
    path = PurePosixPath(variables(container).get(SPEC_VARIABLE, ""))
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", ())}
    for mount in container.get("volumeMounts", ()):
        volume = volumes.get(mount["name"], {})
        if "configMap" in volume and PurePosixPath(mount["mountPath"]) == path.parent:
            return rendered.configmaps.get(volume["configMap"]["name"], {}).get(path.name)
    return None


def resolve(rendered: Rendered, pod: Pod, container: Object) -> JobSpec:
    """The spec as the job would resolve it.

    Raises:
        LookupError: no ConfigMap is mounted where JOB_SPEC points to, or it lacks the file.
        SpecError: the spec is wrong.
    """
    document = mounted_document(rendered, pod, container)
    if document is None:
        raise LookupError(f"{pod.where}: {SPEC_VARIABLE} names no file of a mounted ConfigMap")
    # JOB_SPEC may be the document itself.
    return resolve_spec(read_settings(variables(container) | {SPEC_VARIABLE: document}))


def resolved_specs(rendered: Rendered) -> dict[str, JobSpec]:
    """The specs of the tuning pods, by where they are; those that are wrong are left to `spec_is_valid`."""
    found = {}
    for pod, container in rendered.tuning_pods():
        try:
            found[pod.where] = resolve(rendered, pod, container)
        except (LookupError, SpecError):
            continue
    return found


def spec_is_valid(rendered: Rendered) -> list[str]:
    """The mounted spec with the manifest's overrides is one that the job accepts."""
    found = []
    for pod, container in rendered.tuning_pods():
        try:
            resolve(rendered, pod, container)
        except LookupError as error:
            found.append(str(error))
        except SpecError as error:
            found.append(f"{pod.where}: {error}")
    return found


def variables_are_known(rendered: Rendered) -> list[str]:
    """Every variable that begins with JOB_ is the job's, and none is given twice."""
    found = []
    for pod, container in rendered.tuning_pods():
        names = [one["name"] for one in container.get("env", ())]
        found += [f"{pod.where}: {name} is given twice" for name in sorted(names) if names.count(name) > 1]
        # Values from elsewhere are not known here; any text will do for a name.
        given = {one["name"]: one.get("value", "from elsewhere") for one in container.get("env", ())}
        found += [f"{pod.where}: {warning}" for warning in read_settings(given).warnings]
    return found
