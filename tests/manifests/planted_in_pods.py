"""Mistakes about what a pod may use, what it mounts and what it may do."""

from manifests.planting import Mistake, in_containers, in_pods, resource

_BASE = "base"
_GPU = "overlays/gpu"
_AWS = "overlays/aws"
_MINIO = "overlays/minio"
_SIZES = "quantities_make_sense"
_RESTRICTED = "pods_are_restricted"


IN_PODS = (
    Mistake("millibytes", _BASE, _SIZES, resource("requests", "memory", "4096m")),
    Mistake("gigabytes by a wrong suffix", _BASE, _SIZES, resource("requests", "memory", "4GB")),
    Mistake("a request over its limit", _BASE, _SIZES, resource("requests", "cpu", "4")),
    Mistake("two thousand cores", _BASE, _SIZES, resource("limits", "cpu", "2000")),
    Mistake("no limit of cores", _BASE, _SIZES, in_containers(lambda one: one["resources"]["limits"].pop("cpu"))),
    Mistake(
        "half a GPU",
        _GPU,
        "gpus_are_whole",
        in_containers(
            lambda one: [one["resources"][kind].update({"nvidia.com/gpu": "500m"}) for kind in ("requests", "limits")]
        ),
    ),
    Mistake("more GPUs than requested", _GPU, "gpus_are_whole", resource("limits", "nvidia.com/gpu", 2)),
    Mistake(
        "a GPU for the image without CUDA",
        _GPU,
        "gpus_are_whole",
        in_containers(lambda one: one.update(image=one["image"].removesuffix("-gpu"))),
    ),
    # What it mounts
    Mistake(
        "a mount of no volume",
        _BASE,
        "volumes_are_mounted",
        in_containers(lambda one: one["volumeMounts"].append({"name": "cache", "mountPath": "/cache"})),
    ),
    Mistake(
        "a volume that nobody mounts",
        _BASE,
        "volumes_are_mounted",
        in_pods(lambda spec: spec["volumes"].append({"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}})),
    ),
    Mistake(
        "scratch without an end",
        _BASE,
        "scratch_is_bounded",
        in_pods(lambda spec: spec["volumes"][0]["emptyDir"].clear()),
    ),
    Mistake(
        "scratch over the pod's share of the disk",
        _BASE,
        "scratch_is_bounded",
        in_pods(lambda spec: spec["volumes"][0]["emptyDir"].update(sizeLimit="20Gi")),
    ),
    Mistake(
        "read-only scratch",
        _BASE,
        "scratch_is_bounded",
        in_containers(lambda one: one["volumeMounts"][0].update(readOnly=True)),
    ),
    # What it may do
    Mistake("root", _BASE, _RESTRICTED, in_pods(lambda spec: spec["securityContext"].update(runAsUser=0))),
    Mistake(
        "a user that nobody has checked",
        _BASE,
        _RESTRICTED,
        in_pods(lambda spec: spec["securityContext"].pop("runAsNonRoot")),
    ),
    Mistake(
        "a capability",
        _BASE,
        _RESTRICTED,
        in_containers(lambda one: one["securityContext"]["capabilities"].update(add=["SYS_PTRACE"])),
    ),
    Mistake(
        "privilege escalation by default",
        _AWS,
        _RESTRICTED,
        in_containers(lambda one: one["securityContext"].pop("allowPrivilegeEscalation")),
    ),
    Mistake(
        "a writable root",
        _BASE,
        _RESTRICTED,
        in_containers(lambda one: one["securityContext"].update(readOnlyRootFilesystem=False)),
    ),
    Mistake(
        "system calls without a filter",
        _BASE,
        _RESTRICTED,
        in_pods(lambda spec: spec["securityContext"].pop("seccompProfile")),
    ),
    Mistake(
        "a token for Kubernetes",
        _BASE,
        _RESTRICTED,
        in_pods(lambda spec: spec.update(automountServiceAccountToken=True)),
    ),
    Mistake(
        "an unrestricted init container",
        _MINIO,
        _RESTRICTED,
        in_pods(lambda spec: spec["initContainers"][0].pop("securityContext")),
    ),
    Mistake(
        "the image of the day",
        _BASE,
        "images_are_pinned",
        in_containers(lambda one: one.update(image="tuning-job:latest")),
    ),
    Mistake(
        "an image without a tag behind a port",
        _BASE,
        "images_are_pinned",
        in_containers(lambda one: one.update(image="registry:5000/tuning-job")),
    ),
    Mistake(
        "the last version's image",
        _BASE,
        "images_are_pinned",
        in_containers(lambda one: one.update(image="tuning-job:0.0.9")),
    ),
    Mistake(
        "last words to nowhere",
        _BASE,
        "ends_are_told",
        in_containers(lambda one: one.update(terminationMessagePath="/scratch/end")),
    ),
)
