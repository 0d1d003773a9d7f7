"""Every command of README.md, docs/deploy/ and docs/operations.md is run, or it is listed here why it cannot be."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from recipes.documents import Command, commands_of, files_of, problems_of
from recipes.repository import Repository
from recipes.scripts import commands, leading_assignments

from job.errors import ERRORS_WITH_EXIT_CODES, EXIT_DONE, EXIT_UNFORESEEN, EXIT_USAGE

ROOT = Path(__file__).parents[2]
REPOSITORY = Repository(ROOT)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs/deploy").glob("*.md")), ROOT / "docs/operations.md"]

JOB = {".venv/bin/tuning-job", "tuning-job"}
# These run here as they are; what is typed beside them, too.
RUN = JOB | {"cat", "cd", "cp", "cut", "echo", "export", "find", "grep", "head", "jq", "ls", "sort", "tail", "wc"}
# These do not, and why. Their files, images, variables, services and arguments are checked all the same.
NO_ENGINE = "there is no container engine where the tests run; the image has `make test-image`"
NO_CLUSTER = "there is no Kubernetes cluster; tests/deploy renders and checks what would be applied to one"
NO_NETWORK = "nothing outside the machine can be reached"
NOT_RUN = {
    "docker": NO_ENGINE,
    "podman": NO_ENGINE,
    "kind": NO_CLUSTER,
    "kubectl": NO_CLUSTER,
    "minikube": NO_CLUSTER,
    "eksctl": NO_NETWORK,
    "aws": NO_NETWORK,
    "cosign": NO_NETWORK,
    "gh": NO_NETWORK,
    "git": NO_NETWORK,
    ".venv/bin/python": "it starts these tests",
}
MAKE_NOT_RUN = {
    "run": "it is `python -m job run`, which is run here; it would set up an environment first",
    "setup": "it installs hundreds of megabytes; whoever runs these tests has done it",
    "test": "it is what runs this test",
    "test-kill": "minutes; tests/functional has the short version",
    "lint": "`make test` does it before these tests",
    "lint-deploy": "`.ci/run` does it",
    "image": NO_ENGINE,
    "test-image": "minutes; `.ci/run` does it",
    "bench": "a quarter of an hour",
    "lock": NO_NETWORK,
}
# What the commands find: small enough to be quick, whatever the document says.
SMALL = {"JOB_LIMITS__MAX_TOTAL_TRIALS": "3", "JOB_SEARCH__MAX_EPOCHS": "3"}
RUN_ID = re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{4}\b")


@dataclass
class Desk:
    """Where somebody sits who follows a document: a folder like a checkout, and a shell's variables."""

    folder: Path
    server: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)

    def type(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run one command in bash, and keep what it exports."""
        if text.startswith("export "):
            # The server of the tests stands for the document's.
            exported = leading_assignments(text)
            self.variables |= {name: self.server.get(name, value) for name, value in exported.items()}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "AWS_"))}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],  # noqa: S607 - whichever bash the machine has
            cwd=self.folder,
            env=environment
            | {"JOB_SCRATCH": str(self.folder / ".scratch"), "PATH": f"{self.folder}/.venv/bin:{os.environ['PATH']}"}
            | SMALL
            | {name: value for name, value in self.server.items() if name.startswith("AWS_")}
            | self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def first_desk(tmp_path_factory, s3_server, s3_admin) -> Desk:
    """With a published run in ./runs, and data in s3://datasets."""
    folder = tmp_path_factory.mktemp("desk")
    programs = folder / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "tuning-job").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m job "$@"\n')
    (programs / "tuning-job").chmod(0o755)
    desk = Desk(folder, s3_server.environment)
    fill = subprocess.run(
        [sys.executable, ROOT / "examples/compose/fill_store.py", ROOT / "examples/compose/spec.yaml"],
        env=s3_server.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert fill.returncode == 0, fill.stderr
    s3_admin.copy_object(Bucket="datasets", Key="mnist.npz", CopySource="datasets/digits.npz")
    done = desk.type("tuning-job --run-id first")
    assert done.returncode == 0, done.stdout + done.stderr
    return desk


@pytest.fixture
def desk(first_desk, tmp_path) -> Desk:
    """One of a document's own."""
    folder = tmp_path / "desk"
    shutil.copytree(first_desk.folder, folder)
    for name in REPOSITORY.top_level - {".git", ".venv", "runs"}:
        # What a document adds files to is a copy.
        if name in {"examples", "k8s"}:
            shutil.copytree(ROOT / name, folder / name)
        else:
            (folder / name).symlink_to(ROOT / name)
    return Desk(folder, first_desk.server)


def publish_as(s3_admin, names: set[str], published: Path) -> None:
    """Let a published run be one of these names in s3://models/tuning: a document's own, made by what is not run."""
    for name in names:
        for path in published.rglob("*"):
            if path.is_file():
                s3_admin.upload_file(str(path), "models", f"tuning/{name}/{path.relative_to(published)}")


def reason_not_to_run(command: Command) -> str | None:
    """Why a command is not run; None if it is."""
    called = list(commands(command.text))
    targets = [
        word for words in called if words[0] == "make" for word in words[1:] if "=" not in word and word[0] != "-"
    ]
    reasons = [NOT_RUN[words[0]] for words in called if words[0] in NOT_RUN]
    reasons += [MAKE_NOT_RUN[target] for target in targets if target in MAKE_NOT_RUN]
    return reasons[0] if reasons else None


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_is_run_or_listed(path):
    """A program that is neither is an oversight: add it to one of the lists above."""
    unknown = {
        str(command): command.programs - RUN - set(NOT_RUN) - {"make"}
        for command in commands_of(path, ROOT)
        if command.programs - RUN - set(NOT_RUN) - {"make"}
    }

    assert unknown == {}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_the_commands_name_is_there(path):
    """Files, images, variables, services, workflows, make's targets and the job's own arguments, run or not."""
    problems = {str(command): list(problems_of(command, REPOSITORY)) for command in commands_of(path, ROOT)}

    assert {where: found for where, found in problems.items() if found} == {}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_run(path, desk, s3_admin):
    """One after the other, each section in a shell of its own, against a real S3 server; none fails."""
    for name, content in files_of(path).items():
        (desk.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (desk.folder / name).write_text(content)
    names = set(re.findall(r"(?m)^ *\$ .*tuning-job \w+ s3://models/tuning/([\w-]+)", path.read_text()))
    publish_as(s3_admin, names, desk.folder / "runs/quickstart")
    runs = desk.folder / "runs/quickstart/runs"
    section = ""
    for command in commands_of(path, ROOT):
        if reason_not_to_run(command) is not None:
            continue
        if command.section != section:
            section = command.section
            desk.variables.clear()
        # A run that the document's author had.
        for run_id in RUN_ID.findall(command.text):
            if not (runs / run_id).exists():
                (runs / run_id).symlink_to("first")

        done = desk.type(command.text)

        assert done.returncode == 0, f"{command}: {command.text}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("docker run --rm tuning-job:latest", "the image tuning-job:latest"),
        ("docker run --rm tuning-job:0.1.0 plan --specs x", "--specs"),
        ("docker run --rm tuning-job:0.1.0 tune", "no command tune"),
        ("docker run --rm \\\n    --env JOB_RUNID=x \\\n    tuning-job:0.1.0", "JOB_RUNID"),
        ('docker run --volume "$PWD/examples/spec.yaml:/etc/spec.yaml" tuning-job:0.1.0', "examples/spec.yaml"),
        ("docker compose run --rm tuner", "no service tuner"),
        ("docker compose run --rm job result s3://models/x", "no command result"),
        ("kubectl apply -k examples/compose", "no kustomization.yaml"),
        ("gh workflow run tuning.yml", "no workflow tuning.yml"),
        ("gh workflow run tune.yml -f specs=x", "no input specs"),
        ("gh workflow run tune.yml -f where=cluster", "cannot be cluster"),
        ("gh variable set TUNE_SPECS --body x", "TUNE_SPECS"),
        ("make imagine", "no target imagine"),
        (".venv/bin/python -m pytest tests/stores", "tests/stores"),
    ],
)
def test_a_mistake_in_a_command_is_found(text, told):
    """Whatever a command names that is not there is reported."""
    assert told in "\n".join(problems_of(Command("a.md", 1, text), REPOSITORY))


def test_an_unknown_program_is_noticed():
    """A command is neither run nor listed only where its program is unknown."""
    command = Command("a.md", 1, "export A=1\nfor f in *; do\n  newtool $(date) | tail -n 1\ndone\n")

    assert command.programs - RUN - set(NOT_RUN) == {"newtool", "date"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    """Every relative link of a document has its file, and its heading."""
    broken = []
    for link in re.findall(r"\]\((?!https?://)([^)]+)\)", path.read_text()):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists():
            broken.append(link)
        elif anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", target.read_text())
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            broken += [link] if anchor not in anchors else []
    assert broken == []


def test_operations_has_every_exit_code():
    """The table of docs/operations.md has the codes of job/errors.py, no other, in their order."""
    told = re.findall(r"(?m)^\| (\d+) \|", (ROOT / "docs/operations.md").read_text())

    classes = [error.exit_code for error in ERRORS_WITH_EXIT_CODES]
    assert [int(code) for code in told] == [EXIT_DONE, EXIT_UNFORESEEN, EXIT_USAGE, *classes]


def test_operations_has_events_that_the_job_logs():
    """Every event of its table stands in the code, and the level, too."""
    text = (ROOT / "docs/operations.md").read_text()
    table = text[text.index("| event | level |") :].split("\n\n")[0]
    rows = re.findall(r"(?m)^\| (`.*?`) \| ([\w, ]+) \|", table)
    code = "\n".join(path.read_text() for path in (ROOT / "job").rglob("*.py"))
    assert len(rows) > 10
    for names, levels in rows:
        for name in re.findall(r"`([^`]+)`", names):
            logged = re.findall(rf'(\w+)\(\s*"{re.escape(name)}"', code)
            allowed = set(levels.split(", ")) | {"say", "exception"}
            assert logged, name
            assert set(logged) <= allowed, f"{name}: {logged}"
