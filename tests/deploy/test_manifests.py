"""What kustomize renders, checked beyond its schema."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from manifests.checks import CHECKS, problems
from manifests.dockerfile import disagreements
from manifests.linters import KUBERNETES_VERSIONS, schema_problems
from manifests.rendering import K8S, OVERLAYS, REPOSITORY, Rendered, as_yaml, render
from manifests.spec_in_pods import mounted_document, resolved_specs, variables

COMPONENTS = ("gpu", "spot", "aws", "priority", "spread", "published-image", "same-job", "nightly-only")


def own_overlay(folder: Path, *components: str) -> Rendered:
    """What a user's overlay renders that lists these components over the base."""
    shutil.copytree(K8S, folder / "k8s")
    overlay = folder / "k8s" / "overlays" / "own"
    overlay.mkdir()
    lines = ["resources: [../../base]", "components:", *(f"- ../../components/{name}" for name in components)]
    (overlay / "kustomization.yaml").write_text("\n".join(lines), encoding="utf-8")
    return render(overlay)


def job_pod(rendered: Rendered) -> dict:
    """The pod's spec of the one-off Job."""
    return rendered.one("Job", "tuning-job")["spec"]["template"]["spec"]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_pass_every_check(rendered, overlay, check):
    """Each check finds nothing in each overlay."""
    assert CHECKS[check](rendered(overlay)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_match_the_schema(rendered, overlay, tmp_path):
    """Every object is one that Kubernetes knows, of the oldest version supported and of the newest known."""
    file = as_yaml(rendered(overlay), tmp_path / "rendered.yaml")
    assert schema_problems(file) == {file: []}


def test_every_overlay_is_checked():
    """An overlay that is added is checked here, and by the Makefile with the same versions of Kubernetes."""
    there = {f"overlays/{folder.name}" for folder in (K8S / "overlays").iterdir()}
    assert there == set(OVERLAYS) - {"base"}
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert f"KUBERNETES_VERSIONS := {' '.join(KUBERNETES_VERSIONS)}\n" in makefile


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_command_accepts_what_the_pod_is_given(rendered, overlay, tmp_path):
    """`tuning-job validate` says so of the mounted spec with the pod's variables, without a warning."""
    one = rendered(overlay)
    pod, container = one.tuning_pods()[0]
    (tmp_path / "spec.yaml").write_text(mounted_document(one, pod, container), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "AWS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "job", "validate"],
        env=inherited | variables(container) | {"JOB_SPEC": str(tmp_path / "spec.yaml")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_and_the_pods_agree(rendered, dockerfile):
    """The pods run as the image's user, write to volumes alone, and leave the entry point to the image."""
    assert disagreements(dockerfile, rendered("base")) == []


def test_components_add_up(tmp_path):
    """All components together in one overlay render, pass every check, and match the schema."""
    own = own_overlay(tmp_path, *COMPONENTS)
    assert {name: found for name, found in problems(own).items() if name != "namespaces_agree"} == {}
    file = as_yaml(own, tmp_path / "rendered.yaml")
    assert schema_problems(file) == {file: []}
    assert [one["metadata"]["name"] for one in own.of_kind("Job", "CronJob")] == ["tuning-job-nightly"]
    pod = own.tuning_pods()[0][0].spec
    assert {one["key"] for one in pod["tolerations"]} >= {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
    assert pod["priorityClassName"] == "tuning-job"
    assert pod["topologySpreadConstraints"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}


def test_every_component_is_rendered_somewhere():
    """No component is left out of the tests above."""
    assert {folder.name for folder in (K8S / "components").iterdir()} == {*COMPONENTS, "minio"}


def test_a_gpu_after_the_published_image_shows(tmp_path):
    """Components in the wrong order leave a name that cannot be pulled, and never the wrong image."""
    own = own_overlay(tmp_path, "published-image", "gpu", "same-job")
    assert job_pod(own)["containers"][0]["image"].startswith("tuning-job:")


def test_gpu_overlay_asks_for_a_gpu(rendered):
    """The overlay gpu gives the job one GPU, its image, and a way onto tainted nodes."""
    pod = job_pod(rendered("overlays/gpu"))
    container = pod["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"].endswith("-gpu")
    assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu"]


def test_spot_overlay_is_ready_to_be_taken_back(rendered):
    """The overlay spot tolerates and prefers spot nodes, and stores what is under way in the time that they give."""
    one = rendered("overlays/spot")
    pod = job_pod(one)
    assert {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"} <= {
        toleration["key"] for toleration in pod["tolerations"]
    }
    assert pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert pod["terminationGracePeriodSeconds"] <= 15
    limits = resolved_specs(one)["Job/tuning-job"].limits
    assert limits.grace_period.total_seconds() < 15
    assert limits.checkpoint_interval.total_seconds() <= 30


def test_aws_overlay_has_a_role_and_no_secret(rendered):
    """The overlay aws names a role for the account, and neither refers to a Secret nor carries one."""
    one = rendered("overlays/aws")
    annotations = one.one("ServiceAccount", "tuning-job")["metadata"]["annotations"]
    assert annotations["eks.amazonaws.com/role-arn"].endswith(":role/tuning-job")
    assert "envFrom" not in job_pod(one)["containers"][0]
    assert one.of_kind("Secret") == []


def test_a_changed_spec_is_another_configmap(tmp_path):
    """Retries of a Job under way keep the spec that they began with, because a new one has a new name."""
    before = own_overlay(tmp_path / "before", "same-job").one("ConfigMap", "tuning-job-spec")
    folder = tmp_path / "after"
    shutil.copytree(K8S, folder)
    spec = folder / "base" / "spec.yaml"
    spec.write_text(re.sub("max_epochs: 10", "max_epochs: 27", spec.read_text("utf-8")), encoding="utf-8")
    after = render(folder / "base").one("ConfigMap", "tuning-job-spec")
    assert before["metadata"]["name"] != after["metadata"]["name"]


def test_the_try_out_has_the_compose_files_server(rendered):
    """MinIO is of one release in Kubernetes and in compose.yaml."""
    server = rendered("overlays/minio").one("StatefulSet", "minio")["spec"]["template"]["spec"]["containers"][0]
    assert f"image: {server['image']}\n" in (REPOSITORY / "compose.yaml").read_text(encoding="utf-8")


def test_the_try_outs_buckets_are_made_once(s3_server):
    """The script makes buckets and data, may be repeated, and leaves what the try-out's spec needs."""
    script = K8S / "components" / "minio" / "make_buckets.py"
    environment = s3_server.environment
    made = [
        subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert made == ["buckets datasets, models and s3://datasets/digits.npz are there\n"] * 2
    spec = K8S / "overlays" / "minio" / "spec.yaml"
    command = [sys.executable, "-m", "job", "validate", "--check-access", "--spec", str(spec)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
