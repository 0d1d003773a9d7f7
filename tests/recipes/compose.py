"""The compose file, and what must hold for it. Every check yields one sentence per problem."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from job.resolve import resolve_spec
from job.settings import read_settings
from job.spec import JobSpec
from job.spec.quantities import parse_duration
from recipes.repository import IMAGE, Repository, load_yaml

JOB = "job"
USER = "10001:10001"


@dataclass(frozen=True)
class Compose:
    """compose.yaml as text, and the files that it mounts."""

    text: str
    repository: Repository

    @cached_property
    def document(self) -> dict[str, Any]:
        """As docker reads it where no variable is set: `${NAME:-default}` is the default."""
        return load_yaml(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", self.text))

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return self.document["services"]

    @property
    def ours(self) -> dict[str, dict[str, Any]]:
        """The services that run the job's image."""
        return {name: service for name, service in self.services.items() if service["image"].startswith(IMAGE)}

    def mounts(self, service: str) -> Iterator[tuple[str, str]]:
        """Source and target of every volume."""
        for volume in self.services[service].get("volumes", []):
            source, target, *_ = volume.split(":")
            yield source, target

    def spec_file(self) -> str | None:
        """What is mounted where the job looks for its spec."""
        wanted = self.services[JOB]["environment"].get("JOB_SPEC")
        return next((source for source, target in self.mounts(JOB) if target == wanted), None)

    def spec(self) -> JobSpec:
        """The job's spec, resolved as the job does."""
        path = self.repository.root / str(self.spec_file())
        return resolve_spec(read_settings({}), spec=str(path), with_local_files=False)


Check = Callable[[Compose], Iterator[str]]


def read_compose(repository: Repository) -> Compose:
    """The compose file of a work tree."""
    return Compose((repository.root / "compose.yaml").read_text(), repository)


def images_are_pinned(compose: Compose) -> Iterator[str]:
    """Ours by this version, the others by digest; the store is the same as in Kubernetes."""
    for name, service in compose.services.items():
        image = service["image"]
        if name in compose.ours:
            if image not in compose.repository.images:
                yield f"{name}: {image} is not the image of this version"
        elif not re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", image):
            yield f"{name}: {image} is not pinned by tag and digest"
        else:
            for manifest in (compose.repository.root / "k8s").rglob("*.yaml"):
                for other in re.findall(r"image: (\S*\bminio/minio:\S+)", manifest.read_text()):
                    if other.partition("@")[0] != image.partition("@")[0]:
                        yield f"{name}: {image} is {other} in {manifest.name}"


def ports_are_local(compose: Compose) -> Iterator[str]:
    """The keys are known to everybody: only this machine may come in."""
    for name, service in compose.services.items():
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: the port {port} is open to the network"


def containers_are_hardened(compose: Compose) -> Iterator[str]:
    """Whatever runs the job's image needs no privilege, and writes to volumes only."""
    wanted = {"user": USER, "read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    for name, service in compose.ours.items():
        for option, value in wanted.items():
            if service.get(option) != value:
                yield f"{name}: {option} is {service.get(option)}, not {value}"
        if service.get("privileged") or service.get("cap_add"):
            yield f"{name}: has privileges"


def job_has_time_to_stop(compose: Compose) -> Iterator[str]:
    """SIGKILL comes after the job's own grace period, with some seconds to end."""
    given = parse_duration(str(compose.services[JOB].get("stop_grace_period", "10s")))
    wanted = compose.spec().limits.grace_period
    if given.total_seconds() < wanted.total_seconds() + 5:
        yield f"stop_grace_period is {given}, limits.grace_period {wanted}"


def job_is_not_restarted(compose: Compose) -> Iterator[str]:
    """Compose cannot tell what trying again may help."""
    if compose.services[JOB].get("restart") != "no":
        yield "the job is restarted whatever its exit code says"


def scratch_is_a_volume(compose: Compose) -> Iterator[str]:
    """It outlives the container, and is the only place that can be written to."""
    targets = {target: source for source, target in compose.mounts(JOB)}
    if targets.get("/scratch") not in compose.document["volumes"]:
        yield "/scratch is no named volume"


def variables_are_known(compose: Compose) -> Iterator[str]:
    """The job, or boto3, reads what it is given."""
    for name, service in compose.ours.items():
        for variable in service.get("environment", {}):
            problem = compose.repository.problem_of_variable(variable)
            if problem is not None:
                yield f"{name}: {problem}"


def mounted_files_exist(compose: Compose) -> Iterator[str]:
    """Docker makes an empty folder of a file that is not there. What is run or read in a container is mounted there."""
    for name in compose.services:
        targets = []
        for source, target in compose.mounts(name):
            targets.append(target)
            if source.startswith(".") and not (compose.repository.root / source).exists():
                yield f"{name}: {source} does not exist"
            elif not source.startswith(".") and source not in compose.document["volumes"]:
                yield f"{name}: the volume {source} is not declared"
        for word in compose.services[name].get("entrypoint", [])[1:]:
            source = _source_of(word, {target: source for source, target in compose.mounts(name)})
            if word.startswith("/") and (source is None or not (compose.repository.root / source).exists()):
                yield f"{name}: nothing is mounted at {word}"
    if compose.spec_file() is None:
        yield "no file is mounted where JOB_SPEC says"


def _source_of(path: str, mounts: dict[str, str]) -> str | None:
    for target, source in mounts.items():
        if path == target or path.startswith(f"{target}/"):
            return source + path.removeprefix(target)
    return None


def store_is_reached(compose: Compose) -> Iterator[str]:
    """The endpoint is a service's, and the keys are those that it has."""
    for name, service in compose.ours.items():
        environment = service["environment"]
        host = urlsplit(environment["AWS_ENDPOINT_URL_S3"]).hostname
        store = compose.services.get(str(host))
        if store is None:
            yield f"{name}: {host} is no service"
            continue
        keys = [environment.get(key) for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        if keys != [store["environment"].get(key) for key in ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")]:
            yield f"{name}: the keys are not those of {host}"


def services_wait_for_what_they_need(compose: Compose) -> Iterator[str]:
    """The store answers, then it is filled, then the job starts."""
    for name, service in compose.ours.items():
        for needed, how in service.get("depends_on", {}).items():
            if needed not in compose.services:
                yield f"{name}: waits for {needed}, which is no service"
                continue
            is_server = "healthcheck" in compose.services[needed]
            wanted = "service_healthy" if is_server else "service_completed_successfully"
            if how.get("condition") != wanted:
                yield f"{name}: waits for {needed} to be {how.get('condition')}, not {wanted}"
    if "fill-store" not in compose.services[JOB].get("depends_on", {}):
        yield "the job does not wait for its data"


def buckets_are_made(compose: Compose) -> Iterator[str]:
    """Data and output of the spec are in buckets that the one-shot makes."""
    program = (compose.repository.root / "examples/compose/fill_store.py").read_text()
    buckets = ast.literal_eval(re.search(r"(?m)^BUCKETS = (.*)$", program).group(1))
    spec = compose.spec()
    for url in (str(spec.data.source), spec.output):
        if urlsplit(url).netloc not in buckets:
            yield f"the bucket of {url} is not made"


CHECKS: tuple[Check, ...] = (
    images_are_pinned,
    ports_are_local,
    containers_are_hardened,
    job_has_time_to_stop,
    job_is_not_restarted,
    scratch_is_a_volume,
    variables_are_known,
    mounted_files_exist,
    store_is_reached,
    services_wait_for_what_they_need,
    buckets_are_made,
)
