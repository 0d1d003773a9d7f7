"""GitHub's workflows, and what must hold for each of them. Every check yields one sentence per problem."""

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from recipes.cron import problem_of_cron
from recipes.repository import PUBLISHED, Repository, load_yaml
from recipes.scripts import commands, functions

# What more than reading the repository a workflow's job may do.
PERMISSIONS = {
    "ci.yml": {"contents": "read"},
    "release.yml": {"contents": "read", "packages": "write", "id-token": "write"},
    "tune.yml": {"contents": "read", "packages": "read", "id-token": "write"},
}
# Of bash, of GitHub's runner images, and of actions that the workflows use before.
PROGRAMS = {"[", "[[", "aws", "break", "cat", "cosign", "docker", "echo", "exit", "export", "grep", "install", "jq"}
PROGRAMS |= {"kubectl", "make", "printf", "read", "sed", "sleep", "tr", "true", "unset"}
# Whoever starts a workflow, or writes to what it reads, chooses these; in a script they would be commands.
_EXPRESSION = re.compile(r"\$\{\{")
_USES = re.compile(r"(?m)^\s*(?:- )?uses: (\S+)(?: # (\S+))?\s*$")


@dataclass(frozen=True)
class Workflow:
    """One file."""

    name: str
    text: str

    @property
    def document(self) -> dict[str, Any]:
        """As GitHub reads it."""
        return load_yaml(self.text)

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """By id."""
        return self.document["jobs"]

    @property
    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every step, with the id of its job."""
        for name, job in self.jobs.items():
            for step in job.get("steps", []):
                yield name, step

    @property
    def scripts(self) -> Iterator[tuple[str, str]]:
        """What every `run` step runs, with the step's name."""
        for job, step in self.steps:
            if "run" in step:
                yield f"{job}: {step.get('name', step['run'])}", step["run"]


Workflows = list[Workflow]
Check = Callable[[Workflows, Repository], Iterator[str]]


def read_workflows(repository: Repository) -> Workflows:
    """All workflows of a work tree."""
    folder = repository.root / ".github/workflows"
    return [Workflow(path.name, path.read_text()) for path in sorted(folder.glob("*.yml"))]


def actions_are_pinned(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """By a commit, with its version beside it, the same everywhere: a tag can be moved by whoever steals it."""
    versions: dict[str, str] = {}
    for workflow in workflows:
        for reference, version in _USES.findall(workflow.text):
            if reference.startswith(("./", "$/")):
                continue
            action, _, commit = reference.partition("@")
            if not re.fullmatch(r"[0-9a-f]{40}", commit):
                yield f"{workflow.name}: {action} is not pinned by a commit"
            elif not re.fullmatch(r"v\d+\.\d+\.\d+", version):
                yield f"{workflow.name}: {reference} does not say its version"
            elif versions.setdefault(action, f"{commit} {version}") != f"{commit} {version}":
                yield f"{workflow.name}: {action} is pinned elsewhere to {versions[action]}"


def permissions_are_least(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """None for the workflow, and for each job those of the table above at most."""
    for workflow in workflows:
        if workflow.document.get("permissions") != {}:
            yield f"{workflow.name}: permissions of the whole workflow are not empty"
        for name, job in workflow.jobs.items():
            given = job.get("permissions")
            if not isinstance(given, dict):
                yield f"{workflow.name}: {name} does not say its permissions"
                continue
            for scope, level in given.items():
                if level not in {PERMISSIONS.get(workflow.name, {}).get(scope), "read"}:
                    yield f"{workflow.name}: {name} may not have {scope}: {level}"
                if scope not in PERMISSIONS.get(workflow.name, {}):
                    yield f"{workflow.name}: {name} has no need of {scope}"


def scripts_have_no_expressions(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """Values reach a script through its environment."""
    for workflow in workflows:
        for name, script in workflow.scripts:
            if _EXPRESSION.search(script):
                yield f"{workflow.name}: {name} has an expression in its script"


def checkouts_keep_no_credentials(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """Else every later step, and what it runs, could push."""
    for workflow in workflows:
        for name, step in workflow.steps:
            is_checkout = step.get("uses", "").startswith("actions/checkout@")
            if is_checkout and step.get("with", {}).get("persist-credentials") is not False:
                yield f"{workflow.name}: {name} leaves credentials in the checkout"


def no_secret_is_stored(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """GITHUB_TOKEN lasts as long as the job; any other secret lasts until it is stolen."""
    for workflow in workflows:
        for secret in re.findall(r"secrets\.(\w+)", workflow.text):
            if secret != "GITHUB_TOKEN":  # noqa: S105 - a name
                yield f"{workflow.name}: wants the stored secret {secret}"


def jobs_end(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """Every job has a time limit, within the six hours that GitHub gives."""
    for workflow in workflows:
        for name, job in workflow.jobs.items():
            if "uses" not in job and not 0 < job.get("timeout-minutes", 0) <= 360:
                yield f"{workflow.name}: {name} has no timeout-minutes up to 360"


def schedules_are_times(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """GitHub drops a schedule that it cannot read, without a word to anybody."""
    for workflow in workflows:
        for entry in workflow.document["on"].get("schedule", []):
            problem = problem_of_cron(entry["cron"])
            if problem is not None:
                yield f"{workflow.name}: {entry['cron']}: {problem}"


def scripts_stop_at_errors(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """`bash -euo pipefail`, and every script is one that bash can read."""
    for workflow in workflows:
        shell = workflow.document.get("defaults", {}).get("run", {}).get("shell")
        if shell != "bash -euo pipefail {0}" or any("shell" in step for _, step in workflow.steps):
            yield f"{workflow.name}: not every script is run by bash -euo pipefail"
        for name, script in workflow.scripts:
            parsed = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)  # noqa: S607
            if parsed.returncode != 0:
                yield f"{workflow.name}: {name}: {parsed.stderr}"


def scripts_call_what_exists(workflows: Workflows, repository: Repository) -> Iterator[str]:
    """Programs, make's targets, files of the repository, services of compose.yaml."""
    for workflow in workflows:
        for name, script in workflow.scripts:
            for words in commands(script):
                for problem in problems_of_command(words, repository, PROGRAMS | functions(script)):
                    yield f"{workflow.name}: {name}: {problem}"


def problems_of_command(words: list[str], repository: Repository, programs: set[str]) -> Iterator[str]:
    """What a command names that is not there."""
    program, *arguments = words
    if program not in programs and not program.startswith(".venv/bin/"):
        yield f"{program} is no program that is known to be there"
    if program == "make":
        for target in [word for word in arguments if not word.startswith("-") and "=" not in word]:
            if target not in repository.make_targets:
                yield f"make has no target {target}"
    for word in arguments:
        is_path = re.fullmatch(r"(tests|job|docs|examples|k8s|\.github)/[\w./-]+", word)
        if is_path and not (repository.root / word).exists():
            yield f"{word} does not exist"
    if program == "docker" and arguments[:1] == ["compose"]:
        services = [word for word in arguments[2:] if not word.startswith("-")]
        for service in set(services[:1]) - repository.compose_services:
            yield f"compose.yaml has no service {service}"


def needs_are_met(workflows: Workflows, repository: Repository) -> Iterator[str]:
    """Jobs and called workflows that are referred to exist."""
    for workflow in workflows:
        for name, job in workflow.jobs.items():
            needs = job.get("needs", [])
            for needed in [needs] if isinstance(needs, str) else needs:
                if needed not in workflow.jobs:
                    yield f"{workflow.name}: {name} needs {needed}, which is no job"
            called = job.get("uses", "").removeprefix("$/").removeprefix("./")
            if called and not (repository.root / called).is_file():
                yield f"{workflow.name}: {name} calls {called}, which does not exist"


def outputs_are_written(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """What is read of a step or a job is what it says."""
    for workflow in workflows:
        for name, job in workflow.jobs.items():
            ids = {step["id"]: step for step in job.get("steps", []) if "id" in step}
            for step, output in re.findall(r"\bsteps\.([\w-]+)\.outputs\.([\w-]+)", str(job)):
                if step not in ids:
                    yield f"{workflow.name}: {name} has no step {step}"
                elif "run" in ids[step] and f"{output}=" not in ids[step]["run"]:
                    yield f"{workflow.name}: the step {step} does not write {output}"
        for job, output in re.findall(r"\bjobs\.([\w-]+)\.outputs\.([\w-]+)", workflow.text):
            if output not in workflow.jobs.get(job, {}).get("outputs", {}):
                yield f"{workflow.name}: {job} has no output {output}"


def inputs_agree(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """What is used is declared, what is declared is used, and by hand and by call it is the same."""
    for workflow in workflows:
        triggers = workflow.document["on"]
        kinds = {"workflow_dispatch", "workflow_call"} & set(triggers)
        declared = [triggers[kind]["inputs"] for kind in sorted(kinds) if triggers[kind]]
        used = set(re.findall(r"\binputs\.(\w+)", workflow.text))
        for inputs in declared:
            for name in used ^ set(inputs):
                yield f"{workflow.name}: the input {name} is {'not declared' if name in used else 'not used'}"
            for name, entry in inputs.items():
                if "type" not in entry:
                    yield f"{workflow.name}: the input {name} has no type"
        if used and not declared:
            yield f"{workflow.name}: inputs are used, and none declared"


def runs_wait_for_one_another(workflows: Workflows, _repository: Repository) -> Iterator[str]:
    """A run that tunes or publishes is never cancelled by the next one."""
    for workflow in workflows:
        group = workflow.document.get("concurrency", {})
        if "group" not in group:
            yield f"{workflow.name}: has no concurrency group"
        elif workflow.name != "ci.yml" and group.get("cancel-in-progress") is not False:
            yield f"{workflow.name}: a newer run cancels an older one"


def variables_are_the_jobs(workflows: Workflows, repository: Repository) -> Iterator[str]:
    """Environment variables that the job is to read are ones that it reads."""
    for workflow in workflows:
        for name in sorted(set(re.findall(r"\b(?:JOB|AWS)_\w+", re.sub(r"\bvars\.\w+", "", workflow.text)))):
            problem = repository.problem_of_variable(name)
            if problem is not None:
                yield f"{workflow.name}: {problem}"


def images_are_ours(workflows: Workflows, repository: Repository) -> Iterator[str]:
    """The image has the name and the version that everything else gives it."""
    for workflow in workflows:
        for image in re.findall(r"[\w./-]*\btuning-job:[\w.-]+", workflow.text):
            if image not in repository.images:
                yield f"{workflow.name}: the image {image} is none of {sorted(repository.images)}"
        for owner in re.findall(r"ghcr\.io/([\w-]+)/", workflow.text):
            if owner != PUBLISHED.split("/")[1]:
                yield f"{workflow.name}: the owner {owner} is not the stand-in"


def tested_pythons_are_the_promised(workflows: Workflows, repository: Repository) -> Iterator[str]:
    """The matrix has every version that pyproject.toml promises."""
    classifiers = tomllib.loads((repository.root / "pyproject.toml").read_text())["project"]["classifiers"]
    promised = {name.rpartition(" ")[2] for name in classifiers if re.search(r"Python :: 3\.\d+$", name)}
    for workflow in workflows:
        for name, job in workflow.jobs.items():
            tested = job.get("strategy", {}).get("matrix", {}).get("python")
            if tested is not None and set(tested) != promised:
                yield f"{workflow.name}: {name} tests {sorted(tested)}, promised are {sorted(promised)}"


CHECKS: tuple[Check, ...] = (
    actions_are_pinned,
    permissions_are_least,
    scripts_have_no_expressions,
    checkouts_keep_no_credentials,
    no_secret_is_stored,
    jobs_end,
    schedules_are_times,
    scripts_stop_at_errors,
    scripts_call_what_exists,
    needs_are_met,
    outputs_are_written,
    inputs_agree,
    runs_wait_for_one_another,
    variables_are_the_jobs,
    images_are_ours,
    tested_pythons_are_the_promised,
)
