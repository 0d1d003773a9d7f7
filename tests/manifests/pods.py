"""Checks of pods: what they may use, what they mount, what they may do."""

from fractions import Fraction

from job.version import VERSION
from manifests.rendering import Object, Pod, Rendered
from manifests.values import image_parts, quantity

_GPU = "nvidia.com/gpu"
_MIB = 2**20
# Nothing here needs more cores, or can do with less memory: beyond it a suffix is missing or wrong.
_MOST_CORES = 256
_LEAST_BYTES = 64 * _MIB
_BYTES = ("memory", "ephemeral-storage")


def quantities_make_sense(rendered: Rendered) -> list[str]:
    """Requests and limits are quantities of a plausible size, memory has a limit, and no request passes its limit."""
    found = []
    for pod in rendered.pods():
        for container in pod.all_containers:
            where = f"{pod.where} {container['name']}"
            resources = container.get("resources", {})
            read = {kind: _read(resources.get(kind, {}), f"{where} {kind}", found) for kind in ("requests", "limits")}
            found += [
                f"{where}: the request of {name} is over its limit"
                for name, value in read["requests"].items()
                if name in read["limits"] and value > read["limits"][name]
            ]
            if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
                found.append(f"{where}: requests of cpu and memory are missing")
            if "memory" not in resources.get("limits", {}):
                found.append(f"{where}: without a memory limit it may take the node's")
    for pod, container in rendered.tuning_pods():
        if "cpu" not in container.get("resources", {}).get("limits", {}):
            found.append(f"{pod.where}: without a cpu limit the job starts a worker per core of the node")
    return found


def _read(written: Object, where: str, found: list[str]) -> dict[str, Fraction]:
    read = {}
    for name, text in written.items():
        try:
            value = read[name] = quantity(text)
        except ValueError as error:
            found.append(f"{where}: {name}: {error}")
            continue
        if name == "cpu" and not 0 < value <= _MOST_CORES:
            found.append(f"{where}: {text} cores")
        if name in _BYTES and value < _LEAST_BYTES:
            found.append(f"{where}: {name} of {float(value):g} bytes")
    return read


def gpus_are_whole(rendered: Rendered) -> list[str]:
    """GPUs are whole numbers, requested as limited, and go with the image that can use them."""
    found = []
    for pod in rendered.pods():
        for container in pod.all_containers:
            resources = container.get("resources", {})
            limit = resources.get("limits", {}).get(_GPU)
            request = resources.get("requests", {}).get(_GPU, limit)
            where = f"{pod.where} {container['name']}"
            if str(request) != str(limit):
                found.append(f"{where}: {request} GPUs requested, {limit} the limit")
            elif limit is not None and not str(limit).isdecimal():
                found.append(f"{where}: {limit} GPUs; Kubernetes gives out whole ones")
    for pod, container in rendered.tuning_pods():
        has_gpu = _GPU in container.get("resources", {}).get("limits", {})
        if has_gpu != image_parts(container["image"])[1].endswith("-gpu"):
            found.append(f"{pod.where}: {container['image']} {'with' if has_gpu else 'without'} a GPU")
    return found


def volumes_are_mounted(rendered: Rendered) -> list[str]:
    """What is mounted exists, what exists is mounted, and no two mounts share a path."""
    found = []
    for pod in rendered.pods():
        claimed = {one["metadata"]["name"] for one in pod.owner["spec"].get("volumeClaimTemplates", ())}
        volumes = [volume["name"] for volume in pod.spec.get("volumes", ())]
        mounts = {container["name"]: container.get("volumeMounts", ()) for container in pod.all_containers}
        mounted = {mount["name"] for of_container in mounts.values() for mount in of_container}
        found += [f"{pod.where}: volume {name} is mounted and not there" for name in mounted - {*volumes, *claimed}]
        found += [f"{pod.where}: volume {name} is there and not mounted" for name in {*volumes, *claimed} - mounted]
        if len(set(volumes)) < len(volumes):
            found.append(f"{pod.where}: two volumes have one name")
        for container, of_container in mounts.items():
            paths = [mount["mountPath"].rstrip("/") for mount in of_container]
            if len(set(paths)) < len(paths):
                found.append(f"{pod.where} {container}: two volumes are mounted at one path")
    return found


def scratch_is_bounded(rendered: Rendered) -> list[str]:
    """Every emptyDir has a limit, and all of them fit into what the container may use of disk and memory."""
    found = []
    for pod in rendered.pods():
        sizes = {"disk": Fraction(0), "memory": Fraction(0)}
        for volume in pod.spec.get("volumes", ()):
            if "emptyDir" not in volume:
                continue
            empty = volume["emptyDir"] or {}
            if "sizeLimit" not in empty:
                found.append(f"{pod.where}: emptyDir {volume['name']} may fill the node's disk")
            else:
                sizes["memory" if empty.get("medium") == "Memory" else "disk"] += quantity(empty["sizeLimit"])
        if pod.tuning is None:
            continue
        limits = pod.tuning.get("resources", {}).get("limits", {})
        found += [
            f"{pod.where}: its volumes alone pass the limit of {name}"
            for name, size in (("ephemeral-storage", sizes["disk"]), ("memory", sizes["memory"]))
            if name not in limits or _quantity_or_zero(limits[name]) <= size
        ]
        found += _needed_mounts(pod, pod.tuning)
    return found


def _quantity_or_zero(written: object) -> Fraction:
    """What cannot be read is left to `quantities_make_sense`; here it counts as enough."""
    try:
        return quantity(written)
    except ValueError:
        return Fraction(2**63)


def _needed_mounts(pod: Pod, container: Object) -> list[str]:
    """The job writes below /scratch alone, and /dev/shm is 64 MiB where nothing is mounted."""
    kinds = {volume["name"]: volume for volume in pod.spec.get("volumes", ())}
    writable = {
        mount["mountPath"]
        for mount in container.get("volumeMounts", ())
        if "emptyDir" in kinds.get(mount["name"], {}) and not mount.get("readOnly")
    }
    return [f"{pod.where}: nothing writable at {path}" for path in ("/scratch", "/dev/shm") if path not in writable]  # noqa: S108 - a mount point, not a file of ours


def pods_are_restricted(rendered: Rendered) -> list[str]:
    """Pod Security's `restricted` level, and beyond it: a user, a read-only root, no token, no service links."""
    found = []
    for pod in rendered.pods():
        of_pod = pod.spec.get("securityContext", {})
        wanted = {
            "runAsNonRoot": of_pod.get("runAsNonRoot") is True,
            "runAsUser": of_pod.get("runAsUser", 0) > 0,
            "fsGroup": of_pod.get("fsGroup", 0) > 0,
            "seccompProfile": of_pod.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "automountServiceAccountToken": pod.spec.get("automountServiceAccountToken") is False,
            "enableServiceLinks": pod.spec.get("enableServiceLinks") is False,
        }
        found += [f"{pod.where}: {name}" for name, is_set in wanted.items() if not is_set]
        shared = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(name)]
        shared += [volume["name"] for volume in pod.spec.get("volumes", ()) if "hostPath" in volume]
        found += [f"{pod.where}: {name} is the node's" for name in shared]
        for container in pod.all_containers:
            found += [f"{pod.where} {container['name']}: {name}" for name in _unrestricted(container)]
    return found


def _unrestricted(container: Object) -> list[str]:
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    wanted = {
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
        "capabilities": capabilities.get("drop") == ["ALL"] and not capabilities.get("add"),
        "privileged": not own.get("privileged"),
        "runAsNonRoot": own.get("runAsNonRoot", True) is True and own.get("runAsUser", 1) > 0,
        "seccompProfile": own.get("seccompProfile", {"type": "RuntimeDefault"})["type"] == "RuntimeDefault",
        "ports": not any("hostPort" in port for port in container.get("ports", ())),
    }
    return [name for name, is_set in wanted.items() if not is_set]


def images_are_pinned(rendered: Rendered) -> list[str]:
    """Every image has a tag that stays, and ours is the one of this version."""
    found = []
    for pod in rendered.pods():
        for container in pod.all_containers:
            name, tag = image_parts(container["image"])
            where = f"{pod.where} {container['name']}"
            if tag in {"", "latest"}:
                found.append(f"{where}: {container['image']} may be another one tomorrow")
            elif name.rpartition("/")[2] == "tuning-job" and tag.removesuffix("-gpu") != VERSION:
                found.append(f"{where}: {container['image']} is not of version {VERSION}")
            if container.get("imagePullPolicy", "IfNotPresent") != "IfNotPresent":
                found.append(f"{where}: imagePullPolicy {container['imagePullPolicy']} with a tag that stays")
    return found


def ends_are_told(rendered: Rendered) -> list[str]:
    """The job's last word is where it writes it by default, and its log's end stands in for it."""
    found = []
    for pod, container in rendered.tuning_pods():
        if container.get("terminationMessagePath") != "/dev/termination-log":
            found.append(f"{pod.where}: terminationMessagePath {container.get('terminationMessagePath')}")
        if container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            found.append(f"{pod.where}: terminationMessagePolicy {container.get('terminationMessagePolicy')}")
    return found
