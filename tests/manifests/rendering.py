"""Manifests as kustomize renders them, and the parts of them that checks look at."""

import copy
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML

REPOSITORY = Path(__file__).parents[2]
K8S = REPOSITORY / "k8s"
TOOLS = REPOSITORY / ".venv-lint" / "bin"
OVERLAYS = ("base", "overlays/gpu", "overlays/spot", "overlays/aws", "overlays/minio")
# The container that the exit codes are of.
CONTAINER = "tuning-job"

Object: TypeAlias = dict[str, Any]


def tool(name: str) -> str:
    """The path of a program in .venv-lint; FileNotFoundError without it, because no check may be skipped."""
    path = TOOLS / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `make .venv-lint/.set-up`")
    return str(path)


@dataclass(frozen=True)
class Pod:
    """A pod template.

    Attributes:
        where: for messages, such as `Job/tuning-job`.
        metadata: of the template: labels and annotations.
        spec: of the pod.
        owner: the object that makes the pods.
    """

    where: str
    metadata: Object
    spec: Object
    owner: Object

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the pods have, those included that Kubernetes gives the pods of a Job."""
        own = dict(self.metadata.get("labels", {}))
        if self.owner["kind"] in {"Job", "CronJob"}:
            own["batch.kubernetes.io/job-name"] = self.owner["metadata"]["name"]
        return own

    @property
    def all_containers(self) -> list[Object]:
        """Init containers, then the others."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def tuning(self) -> Object | None:
        """The container of the tuning job, if it is this pod's."""
        return next((one for one in self.spec["containers"] if one["name"] == CONTAINER), None)


@dataclass(frozen=True)
class Rendered:
    """All objects of one overlay.

    Attributes:
        name: of the overlay.
        objects: as parsed from YAML.
    """

    name: str
    objects: tuple[Object, ...]

    def copy(self) -> "Rendered":
        """One that can be changed without this one."""
        return Rendered(self.name, copy.deepcopy(self.objects))

    def of_kind(self, *kinds: str) -> list[Object]:
        """The objects of some kinds."""
        return [one for one in self.objects if one["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object:
        """The object of this kind and name; generated names have a suffix.

        Raises:
            LookupError: there is none, or more than one.
        """
        found = [one for one in self.of_kind(kind) if _is_called(one["metadata"]["name"], name)]
        if len(found) != 1:
            raise LookupError(f"{self.name} has {len(found)} objects {kind}/{name}")
        return found[0]

    def jobs(self) -> Iterator[tuple[str, Object]]:
        """The specs of Jobs, those of CronJobs' Jobs included, with the object's name for messages."""
        for one in self.of_kind("Job"):
            yield _where(one), one["spec"]
        for one in self.of_kind("CronJob"):
            yield _where(one), one["spec"]["jobTemplate"]["spec"]

    def pods(self) -> Iterator[Pod]:
        """Every pod template."""
        for one in self.of_kind("Job", "StatefulSet", "Deployment"):
            template = one["spec"]["template"]
            yield Pod(_where(one), template.get("metadata", {}), template["spec"], one)
        for one in self.of_kind("CronJob"):
            template = one["spec"]["jobTemplate"]["spec"]["template"]
            yield Pod(_where(one), template.get("metadata", {}), template["spec"], one)

    def tuning_pods(self) -> list[tuple[Pod, Object]]:
        """The pods of the tuning job with their container."""
        return [(pod, pod.tuning) for pod in self.pods() if pod.tuning is not None]

    @cached_property
    def configmaps(self) -> dict[str, dict[str, str]]:
        """Their content by name."""
        return {one["metadata"]["name"]: one.get("data", {}) for one in self.of_kind("ConfigMap")}


def render(folder: Path) -> Rendered:
    """What `kubectl kustomize` makes of a folder.

    Raises:
        RuntimeError: kustomize failed.
    """
    done = subprocess.run([tool("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"kubectl kustomize {folder}: {done.stderr}")
    yaml = YAML(typ="safe", pure=True)
    return Rendered(folder.name, tuple(yaml.load_all(done.stdout)))


def as_yaml(rendered: Rendered, path: Path) -> Path:
    """Write the objects to a file, one document each."""
    yaml = YAML(typ="safe", pure=True)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump_all(rendered.objects, file)
    return path


def _where(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def _is_called(full: str, name: str) -> bool:
    return full == name or (full.startswith(f"{name}-") and len(full) == len(name) + 11)
