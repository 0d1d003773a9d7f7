"""What docs/deploy says about Kubernetes and AWS is what is there."""

import json
import re
import shutil

import pytest
from manifests.checks import problems
from manifests.linters import schema_problems
from manifests.rendering import K8S, OVERLAYS, REPOSITORY, as_yaml, render

DOCS = REPOSITORY / "docs" / "deploy"
PAGES = ("kubernetes.md", "aws.md")
IAM = K8S / "overlays" / "aws" / "iam"

# What boto3's calls need. A call that is missing here fails the test: the policy may need more.
ACTIONS = {
    "get_object": {"s3:GetObject"},
    "head_object": {"s3:GetObject"},
    "download_fileobj": {"s3:GetObject"},
    "put_object": {"s3:PutObject"},
    # As `create_transfer_manager` makes it.
    "upload": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "create_multipart_upload": {"s3:PutObject"},
    "upload_part": {"s3:PutObject"},
    "complete_multipart_upload": {"s3:PutObject"},
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "delete_object": {"s3:DeleteObject"},
    "list_objects_v2": {"s3:ListBucket"},
    "VersionId": {"s3:GetObjectVersion"},
}
NOT_CALLS = {"meta", "get_paginator"}


def page(name: str) -> str:
    """The text of a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def policy_actions(*sids: str) -> set[str]:
    """The actions of these statements of the policy, or of all."""
    statements = json.loads((IAM / "policy.json").read_text(encoding="utf-8"))["Statement"]
    return {action for one in statements if not sids or one["Sid"] in sids for action in one["Action"]}


@pytest.mark.parametrize("name", PAGES)
def test_folders_and_files_in_commands_exist(name):
    """What commands and links of the page name is in the repository; `overlays/mine` is the reader's."""
    text = page(name)
    named = set(re.findall(r"(?<![\w/.-])k8s/[\w./-]*\w", text)) | {
        target.removeprefix("../../") for target in re.findall(r"\]\((\.\./\.\./[^)#]+)\)", text)
    }
    assert named
    missing = {path for path in named if not (REPOSITORY / path).exists()}
    assert {path for path in missing if not path.startswith("k8s/overlays/mine")} == set()


def test_links_between_pages_lead_somewhere():
    """Links to other pages of docs/ name files that are there."""
    for name in PAGES:
        for target in re.findall(r"\]\((?!http|\.\./\.\./)([^)#]+)\)", page(name)):
            assert (DOCS / target).exists(), f"{name}: {target}"


def test_the_own_overlay_of_the_page_works(tmp_path):
    """The overlay that the page tells to write renders, passes every check, and matches the schema."""
    text = re.search(r"```yaml\n( +# k8s/overlays/mine.*?)```", page("kubernetes.md"), re.DOTALL).group(1)
    shutil.copytree(K8S, tmp_path / "k8s")
    mine = tmp_path / "k8s" / "overlays" / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(text, encoding="utf-8")
    shutil.copy(tmp_path / "k8s" / "base" / "spec.yaml", mine)
    rendered = render(mine)
    assert problems(rendered) == {}
    file = as_yaml(rendered, tmp_path / "rendered.yaml")
    assert schema_problems(file) == {file: []}
    assert [one["metadata"]["name"] for one in rendered.of_kind("Job", "CronJob")] == ["tuning-job-nightly"]


def test_overlays_with_a_suffix_stand_side_by_side(tmp_path):
    """Several models share the manifests: `nameSuffix` renames every object, and references follow."""
    shutil.copytree(K8S, tmp_path / "k8s")
    folder = tmp_path / "k8s" / "overlays" / "other"
    folder.mkdir()
    text = "nameSuffix: -other\nresources: [../../base]\ncomponents: [../../components/same-job]\n"
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    rendered = render(folder)
    assert problems(rendered) == {}
    assert all("-other" in one["metadata"]["name"] for one in rendered.objects)


def test_commands_name_objects_that_are_rendered(rendered):
    """Jobs, CronJobs and Services in the pages' commands exist; `NAME` and `tuning-job-first` are the reader's."""
    there = {
        f"{one['kind'].lower()}/{one['metadata']['name']}" for overlay in OVERLAYS for one in rendered(overlay).objects
    }
    text = "".join(map(page, PAGES))
    named = set(re.findall(r"\b((?:job|cronjob|service)/[\w-]+)", text))
    assert named - {"job/NAME", "job/tuning-job-first"} <= there
    namespaces = set(re.findall(r"kubectl -n ([\w-]+)", text))
    assert {f"namespace/{name}" for name in namespaces} <= there


def test_the_tables_state_the_values_that_are_rendered(rendered):
    """Seconds, sizes and the schedule in the page's tables are the manifests' own."""
    text = page("kubernetes.md")
    job = rendered("base").one("Job", "tuning-job")["spec"]
    cron = rendered("base").one("CronJob", "tuning-job-nightly")["spec"]
    spot = rendered("overlays/spot").one("Job", "tuning-job")["spec"]
    volumes = {volume["name"]: volume for volume in job["template"]["spec"]["volumes"]}
    hours = [spec["activeDeadlineSeconds"] // 3600 for spec in (job, spot)]
    grace = [spec["template"]["spec"]["terminationGracePeriodSeconds"] for spec in (job, spot)]
    for row in (
        f"| `backoffLimit` | {job['backoffLimit']} |",
        f"| `activeDeadlineSeconds` | {hours[0]} h (spot: {hours[1]} h) |",
        f"| `terminationGracePeriodSeconds` | {grace[0]} s (spot: {grace[1]} s) |",
        f"| `schedule` | `{cron['schedule']}` |",
        f"| `timeZone` | `{cron['timeZone']}` |",
        f"`emptyDir`, {volumes['scratch']['emptyDir']['sizeLimit'].replace('Gi', ' Gi')} |",
        f"`emptyDir` in memory, {volumes['shm']['emptyDir']['sizeLimit'].replace('Mi', ' Mi')} |",
    ):
        assert row in text
    assert (job["ttlSecondsAfterFinished"], cron["startingDeadlineSeconds"]) == (7 * 86400, 3600)


def test_the_policy_allows_what_the_store_calls():
    """The actions of the policy are those of the store's calls, no fewer and no more."""
    store = REPOSITORY / "job" / "store"
    source = "".join((store / name).read_text(encoding="utf-8") for name in ("s3.py", "s3_conditions.py"))
    calls = set(re.findall(r"(?:\bclient|_client|transfers)\.(\w+)\b", source)) - NOT_CALLS
    calls |= set(re.findall(r'get_paginator\("(\w+)"\)', source)) | set(re.findall(r'"(VersionId)":', source))
    assert set.union(*(ACTIONS[call] for call in calls)) == policy_actions()


def test_the_policy_is_by_prefix_and_the_page_explains_it(rendered):
    """Runs are written below the spec's output alone, inputs are only read, and the page has a row for each action."""
    assert {f"| `{action}` |" for action in policy_actions()} <= set(re.findall(r"\| `s3:\w+` \|", page("aws.md")))
    statements = json.loads((IAM / "policy.json").read_text(encoding="utf-8"))["Statement"]
    resources = {one["Sid"]: one["Resource"] for one in statements}
    spec = rendered("overlays/aws").one("ConfigMap", "tuning-job-spec")["data"]["spec.yaml"]
    output = re.search(r"^output: s3://(\S+)$", spec, re.MULTILINE).group(1)
    assert resources["WriteRuns"] == [f"arn:aws:s3:::{output}/*"]
    assert not {"s3:PutObject", "s3:DeleteObject"} & policy_actions("ReadInputs", "TellMissingFromForbidden")
    source = re.search(r"source: s3://([^/]+)/", spec).group(1)
    assert resources["ReadInputs"] == [f"arn:aws:s3:::{source}/*"]


def test_trust_is_in_the_account_that_the_pods_have(rendered):
    """Both trust policies name the namespace and the account of the overlay aws, and the lifecycle its prefix."""
    account = rendered("overlays/aws").one("ServiceAccount", "tuning-job")["metadata"]
    namespace, name = account["namespace"], account["name"]
    (irsa,) = json.loads((IAM / "trust-irsa.json").read_text(encoding="utf-8"))["Statement"]
    assert f"system:serviceaccount:{namespace}:{name}" in irsa["Condition"]["StringEquals"].values()
    (pods,) = json.loads((IAM / "trust-pod-identity.json").read_text(encoding="utf-8"))["Statement"]
    tags = pods["Condition"]["StringEquals"]
    assert tags["aws:RequestTag/kubernetes-namespace"] == namespace
    assert tags["aws:RequestTag/kubernetes-service-account"] == name
    lifecycle = json.loads((IAM / "lifecycle.json").read_text(encoding="utf-8"))
    assert {rule["Filter"]["Prefix"] for rule in lifecycle["Rules"]} == {"tuning/"}
    assert all(rule.get("Expiration", {}).get("Days") is None for rule in lifecycle["Rules"])
