"""A runner of GitHub's, as far as a workflow's scripts see one, with stand-ins for docker, kubectl and aws."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recipes.repository import Repository
from recipes.workflows import read_workflows

ROOT = Path(__file__).parents[2]
STAND_IN_DOCKER = ROOT / "tests/recipes/stand_in_docker.py"
KUBECTL = """\
#!/bin/sh
echo "$*" >> "$STAND_IN_FOLDER/kubectl-calls"
case "$1 $2" in
  "get job") [ -f "$STAND_IN_FOLDER/job.json" ] && cat "$STAND_IN_FOLDER/job.json" ;;
  "get pods") cat "$STAND_IN_FOLDER/pods.json" ;;
  "create job") cat "$STAND_IN_FOLDER/template.json" ;;
  "create "*) cat > "$STAND_IN_FOLDER/created.json"; cp "$STAND_IN_FOLDER/finished.json" "$STAND_IN_FOLDER/job.json" ;;
esac
"""
AWS = """\
import os, sys, boto3
bucket, _, key = sys.argv[-2].removeprefix("s3://").partition("/")
sys.stdout.write(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())
"""


@dataclass
class Runner:
    """A runner of GitHub's, as far as the scripts see one."""

    folder: Path
    environment: dict[str, str]

    def step(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a step's script as GitHub does."""
        return subprocess.run(
            shell(name),
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def tell(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """The last step, which always runs."""
        return self.step("Tell the result", **environment)

    @property
    def outputs(self) -> dict[str, str]:
        """What the workflow hands on."""
        return dict(line.split("=", 1) for line in (self.folder / "output").read_text().splitlines())

    @property
    def summary(self) -> str:
        """What people read of it."""
        return (self.folder / "summary").read_text()

    def leave(self, **files: object) -> None:
        """Write what an earlier step, or the cluster, has left."""
        for name, content in files.items():
            path = self.folder / {"message": "temp/termination-log", "code": "temp/exit-code"}.get(name, f"{name}.json")
            path.write_text(content if isinstance(content, str) else json.dumps(content))


def shell(step: str) -> list[str]:
    """How GitHub runs a step of tune.yml."""
    (workflow,) = [workflow for workflow in read_workflows(Repository(ROOT)) if workflow.name == "tune.yml"]
    (script,) = [found["run"] for _, found in workflow.steps if found.get("name") == step]
    return ["bash", "-euo", "pipefail", "-c", script]


@contextmanager
def started_step(runner: Runner, name: str) -> Iterator[subprocess.Popen]:
    """A step that is killed at the end of the block."""
    quiet = subprocess.DEVNULL
    step = subprocess.Popen(
        shell(name), cwd=runner.folder, env=runner.environment, stdin=quiet, stdout=quiet, stderr=quiet
    )
    yield step
    step.kill()
    step.wait()


def open_runner(tmp_path: Path) -> Runner:
    """A fresh runner in an empty folder."""
    (tmp_path / "temp").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    python = sys.executable
    for name, text in {
        "docker": f'#!/bin/sh\nexec {python} {STAND_IN_DOCKER} "$@"\n',
        "aws": f"#!{python}\n{AWS}",
        "kubectl": KUBECTL,
        "sleep": '#!/bin/sh\necho "$1" >> "$STAND_IN_FOLDER/slept"\n',
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "AWS_", "GITHUB_"))}
    return Runner(
        tmp_path,
        inherited
        | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "STAND_IN_FOLDER": str(tmp_path),
            "RUNNER_TEMP": str(tmp_path / "temp"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "GITHUB_TOKEN": "token",
            "ACTOR": "somebody",
            "SPEC": "spec.yaml",
            "JOB_RUN_ID": "gh-1",
            "OVERRIDES": "",
            "IMAGE": "",
            "DEFAULT_IMAGE": "ghcr.io/example/tuning-job:0.1.0",
            "GPUS": "",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": "",
            "NAMESPACE": "tuning",
        },
    )
