"""Documents in Markdown: the commands that they tell people to type, and what those name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recipes.repository import Repository, load_yaml, problem_of_arguments
from recipes.scripts import commands, joined

# The languages of blocks that people type.
_TYPED = {"console", "bash", "sh", "shell"}
_FENCE = re.compile(r"(?ms)^( *)```(\w*)\n(.*?)^ *```$")
_IMAGE = re.compile(r"[\w./-]*\btuning-job:[\w.-]+")


@dataclass(frozen=True)
class Command:
    """What somebody types: a command line, or a whole script."""

    document: str
    line: int
    text: str
    section: str = ""

    @property
    def programs(self) -> set[str]:
        """All programs that it calls."""
        return {words[0] for words in commands(self.text)}

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def commands_of(path: Path, root: Path) -> Iterator[Command]:
    """Every command of a document's console and bash blocks, in order.

    In a console block commands begin with `$ `, go on after a backslash, and their output follows; any other block of
    these languages is one script.
    """
    text = path.read_text()
    for match in _FENCE.finditer(text):
        if match.group(2) not in _TYPED:
            continue
        first = text.count("\n", 0, match.start(3)) + 1
        body = re.sub(rf"(?m)^{match.group(1)}", "", match.group(3))
        name = str(path.relative_to(root))
        section = (["", *re.findall(r"(?m)^## .*$", text[: match.start()])])[-1]
        if match.group(2) == "console":
            for found in re.finditer(r"(?m)^\$ ((?:.*\\\n)*.*)$", body):
                yield Command(name, first + body.count("\n", 0, found.start()), found.group(1), section)
        else:
            yield Command(name, first, body, section)


def files_of(path: Path) -> dict[str, str]:
    """Files that a document shows whole: blocks whose first line is a comment with nothing but the file's path."""
    shown = {}
    for match in _FENCE.finditer(path.read_text()):
        body = re.sub(rf"(?m)^{match.group(1)}", "", match.group(3))
        named = re.match(r"# ([\w-][\w./-]*\.\w+)\n", body)
        if named:
            shown[named.group(1)] = body
    return shown


def objects_of(path: Path) -> set[str]:
    """Names of what a document's own commands make in Kubernetes."""
    return set(re.findall(r"\bcreate (?:job|namespace|configmap|secret \w+) ([\w-]+)", path.read_text()))


def problems_of(command: Command, repository: Repository) -> Iterator[str]:
    """What a command names that neither the repository has nor its document makes."""
    path = repository.root / command.document
    made = files_of(path) if path.exists() else {}
    for image in _IMAGE.findall(command.text):
        if image not in repository.images:
            yield f"the image {image} is none of {sorted(repository.images)}"
    for words in commands(joined(command.text)):
        yield from _problems_of_paths(words, repository, {str(Path(name).parent) for name in made} - {"."})
        if words[0] == "gh":
            yield from _problems_of_gh(words, repository)
            continue
        for name in re.findall(r"\b(?:JOB|AWS)_[A-Z]\w*", " ".join(words)):
            problem = repository.problem_of_variable(name)
            if problem is not None:
                yield problem
        if words[0] in {"docker", "podman"}:
            yield from _problems_of_container(words, repository)
        elif words[0] == "kubectl":
            yield from _problems_of_kubectl(words, repository, made, objects_of(path) if path.exists() else set())
        elif words[0] == "make":
            targets = {word for word in words[1:] if not word.startswith("-") and "=" not in word}
            yield from (f"make has no target {target}" for target in sorted(targets - repository.make_targets))


def _problems_of_paths(words: list[str], repository: Repository, made: set[str]) -> Iterator[str]:
    for part in re.split(r"[:=,]", ":".join(words).replace("$PWD/", "")):
        top, slash, _ = part.removeprefix("./").partition("/")
        is_path = slash and top in repository.top_level and re.fullmatch(r"[\w./-]+", part)
        # `job/NAME` is an object of Kubernetes, too.
        is_ours = top not in {".venv", "runs"} and not (words[0] == "kubectl" and top == "job")
        is_made = any(part == folder or part.startswith(f"{folder}/") for folder in made)
        if is_path and is_ours and not is_made and not (repository.root / part).exists():
            yield f"{part} does not exist"


def _problems_of_container(words: list[str], repository: Repository) -> Iterator[str]:
    """A container's arguments are the job's; compose's services are those of compose.yaml."""
    arguments: list[str] | None = None
    if words[1] == "compose":
        named = [word for word in words[3:] if not word.startswith("-")]
        if named and named[0] not in repository.compose_services:
            yield f"compose.yaml has no service {named[0]}"
        if named and words[2] == "run" and named[0] == "job":
            arguments = words[words.index("job", 3) + 1 :]
    elif words[1] == "run" and "--entrypoint" not in words:
        position = next((index for index, word in enumerate(words) if _IMAGE.fullmatch(word)), None)
        arguments = None if position is None else words[position + 1 :]
    problem = None if arguments is None else problem_of_arguments(arguments)
    if problem is not None:
        yield problem


def _problems_of_kubectl(
    words: list[str], repository: Repository, made: Mapping[str, str], objects: set[str]
) -> Iterator[str]:
    folders = [words[index + 1] for index, word in enumerate(words[:-1]) if word in {"-k", "--kustomize", "kustomize"}]
    for folder in folders:
        file = f"{folder}/kustomization.yaml"
        if file not in made and not (repository.root / file).is_file():
            yield f"{folder} has no kustomization.yaml"
    named = re.findall(r"\b(job|cronjob|configmap|secret|serviceaccount|sa)[/ ](tuning-job[\w-]*)", " ".join(words))
    for kind, name in named:
        if name not in repository.object_names | objects:
            yield f"there is no {kind} {name} in k8s/"


def _problems_of_gh(words: list[str], repository: Repository) -> Iterator[str]:
    """Variables that a workflow reads, workflows that are there, inputs that they have."""
    folder = repository.root / ".github/workflows"
    if words[1:3] == ["variable", "set"]:
        if not any(f"vars.{words[3]}" in path.read_text() for path in folder.glob("*.yml")):
            yield f"no workflow reads the variable {words[3]}"
    elif words[1:3] == ["workflow", "run"]:
        if not (folder / words[3]).is_file():
            yield f"there is no workflow {words[3]}"
            return
        inputs = load_yaml((folder / words[3]).read_text())["on"]["workflow_dispatch"]["inputs"]
        given = [words[index + 1].partition("=") for index, word in enumerate(words[:-1]) if word == "-f"]
        for name, _, value in given:
            if name not in inputs:
                yield f"{words[3]} has no input {name}"
            elif value not in inputs[name].get("options", [value]):
                yield f"the input {name} of {words[3]} cannot be {value}"
