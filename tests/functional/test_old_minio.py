"""The whole job on a server that ignores conditional writes: loud, and never a false manifest."""

import json

import pytest
from faults.run_process import RunProcess
from faults.stored_run import assert_complete, stored_run

WARNING = "conditional writes are not honoured"


@pytest.fixture
def quick_job(old_minio_bucket, old_minio_environment, clean_environment) -> dict[str, str]:
    """A small search into a bucket of that server."""
    return (
        clean_environment
        | old_minio_environment
        | {
            "JOB_NAME": "quick",
            "JOB_OUTPUT": f"s3://{old_minio_bucket}/tuning",
            "JOB_SEARCH__MAX_EPOCHS": "3",
            "JOB_SPACE__units": "[16, 32]",
            "JOB_LIMITS__MAX_CONCURRENT_TRIALS": "1",
        }
    )


def test_a_run_is_published_under_names_of_its_own_start(quick_job, old_minio_admin, old_minio_bucket):
    """A warning says what the server lacks; the manifest names this start's artifacts; a second start does nothing."""
    with RunProcess(quick_job, "--run-id", "one") as start:
        assert start.finish() == 0, start.story()
        assert [event["level"] for event in start.events if event["event"] == WARNING] == ["warning"]
        model = next(event["model"] for event in start.events if event["event"] == "run published")
    run = stored_run(old_minio_admin, old_minio_bucket, "tuning/quick/runs/one/")
    assert_complete(run)
    prefix = run.manifest["artifacts_prefix"]
    assert prefix.startswith("starts/")
    assert model.endswith(f"/runs/one/{prefix}model/model.keras")
    assert all(name.startswith((prefix, "logs/job-")) for name in run.manifest["artifacts"])
    keys = [entry["Key"] for entry in old_minio_admin.list_objects_v2(Bucket=old_minio_bucket)["Contents"]]
    assert not [key for key in keys if "-check-" in key]

    with RunProcess(quick_job, "--run-id", "one") as again:
        assert again.finish() == 0, again.story()
        assert [event["event"] for event in again.events] == ["already published"]
    assert stored_run(old_minio_admin, old_minio_bucket, "tuning/quick/runs/one/").objects == run.objects


def test_two_processes_with_one_run_id_cannot_make_a_false_manifest(quick_job, old_minio_admin, old_minio_bucket):
    """Started together they may not notice each other; what is published is complete and true all the same."""
    with RunProcess(quick_job, "--run-id", "one") as first, RunProcess(quick_job, "--run-id", "one") as second:
        codes = [first.finish(), second.finish()]
        assert 0 in codes, first.story() + second.story()
        # 14: it met what the other had written; 75: it saw the other at work.
        assert set(codes) <= {0, 14, 75}, first.story() + second.story()
    run = stored_run(old_minio_admin, old_minio_bucket, "tuning/quick/runs/one/")
    run.objects.pop("failure.json", None)
    assert_complete(run)
    pointer = old_minio_admin.get_object(Bucket=old_minio_bucket, Key="tuning/quick/latest.json")["Body"].read()
    assert json.loads(pointer)["run_id"] == "one"
