"""The Job's pod, as Kubernetes would be given it, run by podman against the server of this machine."""

import json
import subprocess
import uuid
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "k8s" / "overlays" / "minio"
KUBECTL = ROOT / ".venv-lint" / "bin" / "kubectl"
JOB = "tuning-job"
TERMINATION_LOG = "/dev/termination-log"
WAIT_SECONDS = 600


@pytest.fixture(scope="module")
def rendered() -> list[dict]:
    """The overlay's objects."""
    assert KUBECTL.exists(), "kubectl comes with the linters: make lint-deploy"
    done = subprocess.run([KUBECTL, "kustomize", OVERLAY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(YAML(typ="safe").load_all(done.stdout))


def pod_of(rendered: list[dict], *, name: str, image: str, environment: dict[str, str], log: Path) -> dict:
    """The Job's pod template as a pod of its own.

    What the cluster would do is done here: the label with the Job's name, the Secret as variables, and a file for the
    termination message. podman ignores what it cannot do: fsGroup, requests, sizes of volumes.
    """
    (template,) = [entry["spec"]["template"] for entry in rendered if entry["kind"] == "Job"]
    spec = template["spec"]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        container["image"] = image
        container.pop("envFrom", None)
        given = [entry for entry in container.get("env", []) if entry["name"] not in environment]
        container["env"] = given + [{"name": key, "value": value} for key, value in environment.items()]
    (job,) = [container for container in spec["containers"] if container["name"] == JOB]
    assert job["terminationMessagePath"] == TERMINATION_LOG
    job["volumeMounts"].append({"name": "log", "mountPath": TERMINATION_LOG})
    spec["volumes"].append({"name": "log", "hostPath": {"path": str(log), "type": "File"}})
    _leave_out_shared_memory(spec, job)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": template["metadata"]["labels"] | {"batch.kubernetes.io/job-name": name}},
        # The server listens on this machine alone.
        "spec": spec | {"hostNetwork": True},
    }


def _leave_out_shared_memory(spec: dict, job: dict) -> None:
    """Podman gives its volumes the rights of the image's folder, root's; Kubernetes makes them writable for all.

    For /scratch the image has the rights that are needed. Without a volume podman has a /dev/shm of its own.
    """
    (name,) = [mount["name"] for mount in job["volumeMounts"] if mount["mountPath"] == "/dev/shm"]  # noqa: S108 - a mount
    job["volumeMounts"] = [mount for mount in job["volumeMounts"] if mount["name"] != name]
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] != name]


def test_the_jobs_pod_publishes(podman, image, shared_bucket, rendered, tmp_path, figures):
    """The overlay's own spec, with the run named after the Job, its volumes and its restrictions."""
    name = f"try-out-{uuid.uuid4().hex[:6]}"
    log = tmp_path / "termination-log"
    log.touch()
    log.chmod(0o666)
    pod = pod_of(rendered, name=name, image=image, environment=shared_bucket.environment, log=log)
    maps = [entry for entry in rendered if entry["kind"] == "ConfigMap"]
    manifest = tmp_path / "pod.yaml"
    with manifest.open("w") as file:
        YAML().dump_all([*maps, pod], file)
    try:
        podman.run("kube", "play", manifest)
        code = int(podman.run("wait", f"{name}-{JOB}", timeout=WAIT_SECONDS).stdout)
        said = podman.run("logs", f"{name}-{JOB}")
        assert code == 0, said.stdout[-2000:] + said.stderr[-2000:]
        described = json.loads(podman.output("inspect", f"{name}-{JOB}"))[0]
    finally:
        podman.run("kube", "down", manifest, check=False)
    assert described["HostConfig"]["ReadonlyRootfs"]
    assert described["EffectiveCaps"] in (None, [])
    assert described["Config"]["User"].startswith("10001")
    message = json.loads(log.read_text())
    assert (message["status"], message["run_id"]) == ("published", name)
    events = [json.loads(line) for line in said.stdout.splitlines()]
    assert events[-1]["event"] == "run published"
    (workers,) = [event for event in events if event["event"] == "workers started"]
    figures["workers of the pod"] = str(workers["workers"])
    bucket, _, prefix = message["run_uri"].removeprefix("s3://").partition("/")
    stored = shared_bucket.admin.get_object(Bucket=bucket, Key=f"{prefix}/manifest.json")["Body"].read()
    assert json.loads(stored)["run_id"] == name
