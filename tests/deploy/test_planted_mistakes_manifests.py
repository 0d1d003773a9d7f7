"""Mistakes are planted into manifests and the Dockerfile; exactly the check that is meant for one finds it."""

import pytest
from manifests.checks import CHECKS, problems
from manifests.dockerfile import disagreements
from manifests.linters import KUBERNETES_VERSIONS, dockerfile_rules, schema_problems, yaml_problems
from manifests.planted_in_jobs import IN_JOBS
from manifests.planted_in_pods import IN_PODS
from manifests.planted_in_references import IN_REFERENCES
from manifests.planting import SCHEMA
from manifests.rendering import K8S, as_yaml

MISTAKES = (*IN_JOBS, *IN_PODS, *IN_REFERENCES)

# Instructions that are appended to the Dockerfile, and the rule of hadolint that is against them.
IN_THE_DOCKERFILE = {
    "the image of the day as a base": ("FROM python:latest", "DL3007"),
    "a base without a tag": ("FROM python", "DL3006"),
    "a shell between the kubelet and the job": ("CMD tuning-job run", "DL3025"),
    "root at the end": ("USER 0:0", "DL3002"),
    "sudo": ("RUN sudo true", "DL3004"),
    "a folder by ADD": ("ADD job /job", "DL3020"),
    "packages that ask for confirmation": (
        "RUN apt-get update && apt-get install --no-install-recommends curl=7.88.1 && rm -rf /var/lib/apt/lists/*",
        "DL3014",
    ),
    "a package of any version": ("RUN pip install --no-cache-dir boto3", "DL3013"),
    "a relative folder": ("WORKDIR scratch", "DL3000"),
    "a misspelt shell variable's quotes": ("RUN rm -rf $folder/*", "SC2086"),
}

# Changed in the Dockerfile, and what is then found.
IN_BOTH = {
    "another user": (("USER 10001:10001", "USER 10002:10002"), "runs as 10001, the image as 10002:10002"),
    "temporary files on the read-only root": (("TMPDIR=/scratch", "TMPDIR=/tmp"), "TMPDIR=/tmp is in no volume"),
    "a shell form": (('ENTRYPOINT ["tuning-job"]', "ENTRYPOINT tuning-job"), "a shell would keep SIGTERM"),
}


@pytest.fixture(scope="module")
def schema_findings(rendered, tmp_path_factory) -> dict[str, list[str]]:
    """What the newest schema says about each mistake, by name; all files at once, for the validator starts slowly."""
    files = {}
    for number, mistake in enumerate(MISTAKES):
        one = rendered(mistake.overlay)
        mistake.plant(one)
        files[mistake.name] = as_yaml(one, tmp_path_factory.mktemp("planted") / f"{number}.yaml")
    found = schema_problems(*files.values(), versions=KUBERNETES_VERSIONS[-1:])
    return {name: found[file] for name, file in files.items()}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_planted_mistake_is_found_by_its_check_alone(rendered, mistake, schema_findings):
    """The named check finds the mistake; neither another check nor, but for its own, the schema does."""
    one = rendered(mistake.overlay)
    mistake.plant(one)
    found = set(problems(one))
    if schema_findings[mistake.name]:
        found.add(SCHEMA)
    assert found == {mistake.found_by}


def test_every_check_finds_something():
    """No check is without a mistake that proves it."""
    assert {mistake.found_by for mistake in MISTAKES} == {*CHECKS, SCHEMA}


def test_a_key_that_is_given_twice_is_found():
    """Yamllint finds what most readers of YAML pass over: the second of two equal keys wins."""
    text = (K8S / "base" / "job.yaml").read_text(encoding="utf-8")
    twice = text.replace("  backoffLimit: 10\n", "  backoffLimit: 10\n  backoffLimit: 0\n")
    assert yaml_problems(text) == []
    assert [line.rpartition("(")[2] for line in yaml_problems(twice)] == ["key-duplicates)"]


def test_the_dockerfile_is_clean(dockerfile):
    """Hadolint finds nothing in the Dockerfile as it is."""
    assert dockerfile_rules(dockerfile) == set()


@pytest.mark.parametrize("mistake", IN_THE_DOCKERFILE)
def test_a_mistake_in_the_dockerfile_is_found_by_its_rule(dockerfile, mistake):
    """Hadolint finds what is appended to the Dockerfile by the one rule that is against it."""
    instruction, rule = IN_THE_DOCKERFILE[mistake]
    assert dockerfile_rules(f"{dockerfile}\n{instruction}\n") - dockerfile_rules(dockerfile) == {rule}


@pytest.mark.parametrize("change", IN_BOTH)
def test_an_image_unlike_its_pods_is_found(rendered, dockerfile, change):
    """What the Dockerfile says otherwise than the pods is found, and nothing else."""
    (old, new), expected = IN_BOTH[change]
    assert old in dockerfile
    found = disagreements(dockerfile.replace(old, new), rendered("base"))
    assert found
    assert all(expected in one for one in found)
