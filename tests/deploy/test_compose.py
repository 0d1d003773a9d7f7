"""The compose file holds what the checks ask for, every check finds its mistake, and what it starts works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recipes import compose as checks
from recipes.compose import CHECKS, read_compose
from recipes.repository import Repository

ROOT = Path(__file__).parents[2]
SPEC, FILL = "examples/compose/spec.yaml", "examples/compose/fill_store.py"
# What a check may look at.
LOOKED_AT = ("compose.yaml", SPEC, FILL, "docs/environment.md")

# The check that must find it, the file, what is there, and what somebody might write in its place.
MISTAKES = [
    (checks.images_are_pinned, "compose.yaml", "tuning-job:0.1.0", "tuning-job:0.0.9"),
    (checks.images_are_pinned, "compose.yaml", "RELEASE.2025-09-07T16-13-09Z@sha256:14cea4", "latest@sha256:4"),
    (checks.ports_are_local, "compose.yaml", '"127.0.0.1:9000:9000"', '"9000:9000"'),
    (checks.containers_are_hardened, "compose.yaml", "  read_only: true\n", ""),
    (checks.containers_are_hardened, "compose.yaml", "cap_drop: [ALL]", "cap_drop: [NET_RAW]"),
    (checks.containers_are_hardened, "compose.yaml", 'user: "10001:10001"', 'user: "0:0"'),
    (
        checks.containers_are_hardened,
        "compose.yaml",
        '    restart: "no"',
        '    cap_add: [SYS_ADMIN]\n    restart: "no"',
    ),
    (checks.job_has_time_to_stop, "compose.yaml", "    stop_grace_period: 40s\n", ""),
    (checks.job_has_time_to_stop, SPEC, "grace_period: 25s", "grace_period: 50s"),
    (checks.job_is_not_restarted, "compose.yaml", 'restart: "no"', "restart: on-failure:5"),
    (checks.scratch_is_a_volume, "compose.yaml", "scratch:/scratch\n", "scratch:/tmp\n"),
    (checks.variables_are_known, "compose.yaml", "JOB_RUN_ID:", "JOB_RUN:"),
    (
        checks.variables_are_known,
        "compose.yaml",
        "AWS_ENDPOINT_URL_S3: http",
        "AWS_S3_ENDPOINT: x\n  AWS_ENDPOINT_URL_S3: http",
    ),
    (checks.mounted_files_exist, "compose.yaml", "./examples/compose/spec.yaml", "./examples/compose/job.yaml"),
    (checks.mounted_files_exist, "compose.yaml", "/examples/fill_store.py", "/examples/fill.py"),
    (checks.mounted_files_exist, "compose.yaml", "JOB_SPEC: /etc/tuning-job/spec.yaml", "JOB_SPEC: /etc/spec.yaml"),
    (checks.mounted_files_exist, "compose.yaml", "  scratch: {}\n", ""),
    (checks.store_is_reached, "compose.yaml", "http://minio:9000", "http://store:9000"),
    (
        checks.store_is_reached,
        "compose.yaml",
        "AWS_SECRET_ACCESS_KEY: ${STORE_SECRET_KEY:-local-secret}",
        "AWS_SECRET_ACCESS_KEY: x",
    ),
    (checks.services_wait_for_what_they_need, "compose.yaml", "service_healthy", "service_started"),
    (checks.services_wait_for_what_they_need, "compose.yaml", "service_completed_successfully", "service_started"),
    (checks.buckets_are_made, SPEC, "s3://models/", "s3://model/"),
    (checks.buckets_are_made, FILL, '"datasets", ', ""),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_compose_file_holds(check):
    """Nothing is found in the compose file as it is."""
    assert list(check(read_compose(Repository(ROOT)))) == []


@pytest.mark.parametrize(
    ("check", "name", "right", "wrong"),
    MISTAKES,
    ids=[f"{check.__name__}-{number}" for number, (check, *_) in enumerate(MISTAKES)],
)
def test_a_mistake_is_found(tmp_path, check, name, right, wrong):
    """Each check reports the mistake that is planted for it."""
    for file in LOOKED_AT:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    text = (tmp_path / name).read_text()
    assert right in text
    assert list(check(read_compose(Repository(tmp_path)))) == []

    (tmp_path / name).write_text(text.replace(right, wrong))

    assert list(check(read_compose(Repository(tmp_path))))


def test_every_check_has_a_mistake():
    """No check is believed that has not been seen to find something."""
    assert {check for check, *_ in MISTAKES} == set(CHECKS)


def test_what_compose_starts_publishes_a_run(s3_server, s3_admin, tmp_path):
    """The one-shot and the job, as processes with their services' environment and files: a run in the bucket."""
    compose = read_compose(Repository(ROOT))
    fill, job = compose.services["fill-store"], compose.services["job"]

    def run(service: dict, *command: str) -> str:
        mounts = {target: str(ROOT / source) for source, target in compose.mounts("fill-store") if source[0] == "."}
        mounts |= {target: str(ROOT / source) for source, target in compose.mounts("job") if source[0] == "."}
        environment = {name: mounts.get(str(value), str(value)) for name, value in service["environment"].items()}
        # The server of the tests in the place of the store's.
        environment |= {name: value for name, value in s3_server.environment.items() if name in environment}
        files = [_in(mounts, word) for word in command]
        done = subprocess.run(
            [sys.executable, *files],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "JOB_SCRATCH": str(tmp_path)}
            # Less than the example searches: this shows that it works, not how well.
            | environment
            | {"JOB_SEARCH__MAX_EPOCHS": "3", "JOB_SPACE__units": "[16, 32]"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for _ in range(2):
        assert "s3://datasets/digits.npz" in run(fill, *fill["entrypoint"][1:])
    assert '"run published"' in run(job, "-m", "job")
    names = {entry["Key"] for entry in s3_admin.list_objects_v2(Bucket="models", Prefix="tuning/digits/")["Contents"]}
    assert "tuning/digits/latest.json" in names
    spec = s3_admin.get_object(Bucket="specs", Key="digits.yaml")["Body"].read()
    assert spec == (ROOT / SPEC).read_bytes()


def _in(mounts: dict[str, str], path: str) -> str:
    return next((path.replace(target, source, 1) for target, source in mounts.items() if path.startswith(target)), path)
