"""The linters of `make lint-deploy`, called as it calls them."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from manifests.rendering import REPOSITORY, tool

# The oldest and the newest Kubernetes, as in the Makefile.
KUBERNETES_VERSIONS = ("1.31", "1.37")


def schema_problems(*files: Path, versions: Sequence[str] = KUBERNETES_VERSIONS) -> dict[Path, list[str]]:
    """What kubernetes-validate does not call passed: errors, and warnings, which it exits 0 with.

    Raises:
        RuntimeError: it failed and named none of the files.
    """
    found: dict[Path, list[str]] = {file: [] for file in files}
    for version in versions:
        done = _run("kubernetes-validate", "--strict", "-k", version, *map(str, files))
        for line in (done.stdout + done.stderr).splitlines():
            level, _, rest = line.partition(" ")
            if level in {"WARN", "ERROR"} or (level == "INFO" and " passed for resource " not in rest):
                found[Path(rest.split(" ", 1)[0])].append(line)
        if done.returncode != 0 and not any(found.values()):
            raise RuntimeError(f"kubernetes-validate ended with {done.returncode}: {done.stderr}")
    return found


def dockerfile_rules(text: str) -> set[str]:
    """The rules of hadolint that a Dockerfile breaks."""
    done = _run("hadolint", "--format", "json", "--no-fail", "-", text=text)
    return {one["code"] for one in json.loads(done.stdout)}


def yaml_problems(text: str) -> list[str]:
    """What yamllint finds."""
    done = _run("yamllint", "--strict", "--format", "parsable", "-", text=text)
    return done.stdout.splitlines()


def _run(name: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool(name), *arguments], cwd=REPOSITORY, input=text, capture_output=True, text=True, check=False
    )
