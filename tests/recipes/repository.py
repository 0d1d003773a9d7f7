"""What the repository has: the names that workflows, the compose file and the documents may use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import typer
from ruamel.yaml import YAML
from typer.exceptions import TyperException

from job.cli import app
from job.settings import CONTROL_VARIABLES
from job.spec.fields import paths_named
from job.spec.model import JobSpec
from job.spec.overrides import VARIABLE_PREFIX, variable_segments
from job.version import VERSION

IMAGE = "tuning-job"
PUBLISHED = "ghcr.io/example/tuning-job"
# What reads the same variables beside the job: boto3, and the workflows' AWS command line.
_CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3"}


@dataclass(frozen=True)
class Repository:
    """A work tree."""

    root: Path

    @cached_property
    def make_targets(self) -> set[str]:
        """What `make` can be told."""
        return set(re.findall(r"(?m)^([a-z][a-z0-9-]*):(?!=)", (self.root / "Makefile").read_text()))

    @cached_property
    def images(self) -> set[str]:
        """The names that the image goes by, with their tags."""
        return {f"{name}:{VERSION}{suffix}" for name in (IMAGE, PUBLISHED) for suffix in ("", "-gpu")}

    @cached_property
    def top_level(self) -> set[str]:
        """Folders and files at the root."""
        return {path.name for path in self.root.iterdir()}

    @cached_property
    def compose_services(self) -> set[str]:
        """The services of compose.yaml."""
        return set(load_yaml((self.root / "compose.yaml").read_text())["services"])

    @cached_property
    def object_names(self) -> set[str]:
        """Whatever has a name in the Kubernetes manifests."""
        texts = [path.read_text() for path in (self.root / "k8s").rglob("*.yaml")]
        return {name for text in texts for name in re.findall(r"\bname: \"?([a-z0-9.-]+)", text)}

    @cached_property
    def documented_variables(self) -> set[str]:
        """The variables of docs/environment.md that are not the job's own."""
        text = (self.root / "docs/environment.md").read_text()
        return set(re.findall(r"`(AWS_\w+)`", text)) | _CREDENTIALS

    def problem_of_variable(self, name: str) -> str | None:
        """What is wrong with the name of an environment variable, if the job or boto3 is to read it."""
        if name.startswith("AWS_"):
            return None if name in self.documented_variables else f"{name} is not in docs/environment.md"
        if not name.startswith(VARIABLE_PREFIX) or name in CONTROL_VARIABLES:
            return None
        path = [segment.lower() for segment in variable_segments(name)]
        if len(path) == 1:
            known = path[0] in JobSpec.model_fields
        else:
            # Entries of the space have the user's own names.
            known = path[0] == "space" or ".".join(path) in paths_named(path[-1])
        return None if known else f"{name} is neither a control variable nor a field of the spec"


def problem_of_arguments(arguments: Sequence[str]) -> str | None:
    """What the job's command line says against these arguments, without running anything."""
    if "--help" in arguments or list(arguments) == ["--version"]:
        return None
    name, *rest = arguments if arguments and not arguments[0].startswith("-") else ["run", *arguments]
    command = typer.main.get_command(app).commands.get(name)
    if command is None:
        return f"there is no command {name}"
    try:
        command.make_context(name, rest)
    except typer.Exit:
        return None
    except TyperException as error:
        return str(getattr(error, "message", error))
    return None


def load_yaml(text: str) -> Any:
    """YAML 1.2 as plain data, with merge keys."""
    return YAML(typ="safe", pure=True).load(text)
