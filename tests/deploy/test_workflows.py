"""GitHub's workflows hold what the checks ask for, and every check finds the mistake that it is there for."""

from pathlib import Path

import pytest
from recipes import workflows as checks
from recipes.cron import problem_of_cron
from recipes.repository import Repository
from recipes.workflows import CHECKS, Workflow, read_workflows

REPOSITORY = Repository(Path(__file__).parents[2])

# The check that must find it, the workflow, what is there, and what somebody might write in its place.
MISTAKES = [
    (checks.actions_are_pinned, "ci.yml", "checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "checkout@v7"),
    (checks.actions_are_pinned, "ci.yml", "181273ba90b1 # v7.0.1", "181273ba90b1"),
    (checks.actions_are_pinned, "tune.yml", "checkout@3d3c42e5", "checkout@0d3c42e5"),
    (checks.permissions_are_least, "ci.yml", "permissions: {}", "permissions: write-all"),
    (checks.permissions_are_least, "ci.yml", "      contents: read", "      contents: write"),
    (checks.permissions_are_least, "tune.yml", "packages: read", "actions: read"),
    (checks.scripts_have_no_expressions, "tune.yml", 'case "$SPEC" in', 'case "${{ inputs.spec }}" in'),
    (checks.checkouts_keep_no_credentials, "release.yml", "persist-credentials: false", "fetch-depth: 1"),
    (checks.no_secret_is_stored, "tune.yml", "${{ vars.AWS_ROLE_ARN }}", "${{ secrets.AWS_SECRET_ACCESS_KEY }}"),
    (checks.jobs_end, "tune.yml", "    timeout-minutes: 355\n", ""),
    (checks.jobs_end, "tune.yml", "timeout-minutes: 355", "timeout-minutes: 720"),
    (checks.schedules_are_times, "tune.yml", '"17 3 * * *"', '"17 24 * * *"'),
    (checks.schedules_are_times, "tune.yml", '"17 3 * * *"', '"17 3 * *"'),
    (checks.scripts_stop_at_errors, "tune.yml", "bash -euo pipefail {0}", "bash"),
    (checks.scripts_stop_at_errors, "tune.yml", "          esac > ", "          > "),
    (checks.scripts_call_what_exists, "ci.yml", "run: make lint\n", "run: make lint-all\n"),
    (checks.scripts_call_what_exists, "ci.yml", "test_run_s3.py", "test_run_minio.py"),
    (checks.scripts_call_what_exists, "ci.yml", "--wait minio", "--wait store"),
    (checks.scripts_call_what_exists, "tune.yml", "kubectl patch", "kubctl patch"),
    (checks.needs_are_met, "release.yml", "needs: check", "needs: checks"),
    (checks.needs_are_met, "release.yml", "/ci.yml", "/checks.yml"),
    (checks.outputs_are_written, "tune.yml", "steps.result.outputs.skipped", "steps.result.outputs.skip"),
    (
        checks.outputs_are_written,
        "tune.yml",
        "value: ${{ jobs.tune.outputs.run_uri }}",
        "value: ${{ jobs.tune.outputs.uri }}",
    ),
    (checks.inputs_agree, "tune.yml", "inputs.overrides", "inputs.override"),
    (checks.inputs_agree, "tune.yml", "      spec: {type: string", "      specs: {type: string"),
    (checks.runs_wait_for_one_another, "tune.yml", "cancel-in-progress: false", "cancel-in-progress: true"),
    (checks.variables_are_the_jobs, "tune.yml", "--env JOB_RUN_ID", "--env JOB_RUNID"),
    (checks.variables_are_the_jobs, "tune.yml", "--env AWS_SESSION_TOKEN", "--env AWS_SECURITY_TOKENS"),
    (checks.images_are_ours, "tune.yml", "tuning-job:0.1.0", "tuning-job:latest"),
    (checks.images_are_ours, "tune.yml", "ghcr.io/example", "ghcr.io/somebody"),
    (checks.tested_pythons_are_the_promised, "ci.yml", '["3.11", "3.12", "3.13"]', '["3.11", "3.12"]'),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_workflows_hold(check):
    """Nothing is found in the workflows as they are."""
    workflows = read_workflows(REPOSITORY)

    assert {workflow.name for workflow in workflows} == {"ci.yml", "release.yml", "tune.yml"}
    assert list(check(workflows, REPOSITORY)) == []


@pytest.mark.parametrize(
    ("check", "name", "right", "wrong"),
    MISTAKES,
    ids=[f"{check.__name__}-{number}" for number, (check, *_) in enumerate(MISTAKES)],
)
def test_a_mistake_is_found(check, name, right, wrong):
    """Each check reports the mistake that is planted for it, in the file where it is."""
    workflows = read_workflows(REPOSITORY)
    (planted,) = [workflow for workflow in workflows if workflow.name == name]
    assert right in planted.text

    workflows[workflows.index(planted)] = Workflow(name, planted.text.replace(right, wrong))

    assert [problem for problem in check(workflows, REPOSITORY) if problem.startswith(f"{name}: ")]


def test_every_check_has_a_mistake():
    """No check is believed that has not been seen to find something."""
    assert {check for check, *_ in MISTAKES} == set(CHECKS)


@pytest.mark.parametrize("expression", ["*/15 * * * *", "0 0 1,15 * MON-FRI", "30 4 29 FEB *", "5-59/10 1 * * 0"])
def test_schedules_that_are_right(expression):
    """Steps, lists, ranges and names are understood."""
    assert problem_of_cron(expression) is None


@pytest.mark.parametrize(
    "expression", ["", "60 * * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "*/0 * * * *", "@daily"]
)
def test_schedules_that_are_wrong(expression):
    """Too few fields, numbers out of their range, a step of nothing, and what GitHub does not know."""
    assert problem_of_cron(expression) is not None
