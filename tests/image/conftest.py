"""The image, built once per session, and containers of it that publish into a real S3 server on this machine.

Not part of `make test`; `make test-image` runs it. Variables: `VARIANT` (cpu or gpu) is what is built;
`IMAGE_TEST_STORAGE` names a folder that keeps images for the next time, else all goes with the session.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from image.containers import SPEC, Container, started
from image.podman import Podman, open_podman, reason_why_not

from job.version import VERSION

ROOT = Path(__file__).parents[2]
BASE = "python:3.11-slim-bookworm"
PULL_SECONDS = 300
BUILD_SECONDS = 3600
FIGURES = pytest.StashKey[dict[str, str]]()


def pytest_configure(config):
    config.stash[FIGURES] = {}


def pytest_terminal_summary(terminalreporter, config):
    """The measured figures, which no test asserts."""
    terminalreporter.section("measured")
    for name, value in config.stash[FIGURES].items():
        terminalreporter.write_line(f"{name:<64} {value}")


@pytest.fixture(scope="session")
def figures(request) -> dict[str, str]:
    """What is measured, by what it is."""
    return request.config.stash[FIGURES]


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """An engine of its own for this session."""
    reason = reason_why_not()
    if reason is not None:
        pytest.exit(f"test-image: {reason}", returncode=pytest.ExitCode.USAGE_ERROR)
    kept = os.environ.get("IMAGE_TEST_STORAGE")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="image-"))
    with open_podman(folder, keep=kept is not None) as engine:
        yield engine


@pytest.fixture(scope="session")
def base(podman) -> str:
    """The Dockerfile's base image, or a stand-in for it where no registry can be reached."""
    if podman.run("image", "exists", BASE, check=False).returncode == 0:
        return BASE
    if podman.run("pull", "--quiet", BASE, check=False, timeout=PULL_SECONDS).returncode == 0:
        return BASE
    if shutil.which("mmdebstrap") is None:
        pytest.exit(f"test-image: {BASE} cannot be pulled, and mmdebstrap, which would make a stand-in, is missing")
    make = [ROOT / "tests" / "image" / "make_base.sh", f"localhost/{BASE}"]
    subprocess.run(make, env=podman.environment, stdin=subprocess.DEVNULL, check=True)
    return BASE


@pytest.fixture(scope="session")
def image(podman, base, figures) -> str:  # noqa: ARG001 - the base must be there
    """The image as `make image` builds it."""
    variant = os.environ.get("VARIANT", "cpu")
    begun = time.monotonic()
    done = subprocess.run(
        ["make", "image", "ENGINE=podman", f"VARIANT={variant}", "BUILD=--network host"],  # noqa: S607 - the system's
        cwd=ROOT,
        env=podman.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    figures[f"build of the {variant} image"] = f"{time.monotonic() - begun:.0f} s"
    return f"localhost/tuning-job:{VERSION}{'-gpu' if variant == 'gpu' else ''}"


@dataclass(frozen=True)
class Bucket:
    """A bucket of the session's server, and what leads a container to it."""

    admin: object
    name: str
    environment: dict[str, str]

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Contents by key below the prefix."""
        pages = self.admin.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): self.admin.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys
        }


@pytest.fixture(scope="session")
def shared_bucket(s3_server, s3_admin) -> Bucket:
    """One bucket for all tests of a session; each has a run id of its own."""
    s3_admin.create_bucket(Bucket="image-tests")
    leads = {name: value for name, value in s3_server.environment.items() if name.startswith("AWS_")}
    # Files of this machine, its certificates among them.
    leads = {name: value for name, value in leads.items() if not name.endswith(("_FILE", "_BUNDLE"))}
    return Bucket(s3_admin, "image-tests", leads)


@pytest.fixture(scope="session")
def start(podman, image, shared_bucket, tmp_path_factory):
    """Start a hardened container of a run id; the spec is a file, as from a ConfigMap."""
    folder = tmp_path_factory.mktemp("containers")
    spec = folder / "spec.yaml"
    spec.write_text(SPEC)

    @contextmanager
    def start_container(run_id: str, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[Container]:
        environment = shared_bucket.environment | {
            "JOB_SPEC": "/etc/tuning-job/spec.yaml",
            "JOB_RUN_ID": run_id,
            "JOB_OUTPUT": f"s3://{shared_bucket.name}/tuning",
        }
        options = ("--volume", f"{spec}:/etc/tuning-job/spec.yaml:ro", *options)
        with started(podman, image, folder, environment, *arguments, options=options) as container:
            yield container

    return start_container


@pytest.fixture(scope="session")
def stored_run(shared_bucket):
    """The objects of a run by their keys relative to it."""
    return lambda run_id: shared_bucket.objects(f"tuning/digits/runs/{run_id}/")


@pytest.fixture(scope="session")
def in_image(podman, image):
    """Run a Python program in the image's own interpreter, hardened; what it prints as JSON."""

    def run(program: str, *options: str) -> object:
        return json.loads(
            podman.output(
                *("run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none", *options),
                *("--entrypoint", "python", image, "-c", program),
            )
        )

    return run
