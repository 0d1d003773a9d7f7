"""Twenty starts of one run at once, on a real S3 server: one works on it, the others say who does."""

import json
import secrets

from faults.run_process import RunProcess
from faults.stored_run import assert_complete, assert_same_answer, stored_run
from faults.synthetic_job import SyntheticJob

from job.errors import LockedError

STARTS = 20


def test_twenty_starts_at_once_publish_once(s3_server, s3_admin, clean_environment):
    """One publishes; nineteen end with 75, naming the holder, or find the run published; the answer is one start's."""
    job, bucket = SyntheticJob(rows=2_000), f"test-{secrets.token_hex(6)}"
    s3_admin.create_bucket(Bucket=bucket)
    environment = clean_environment | s3_server.environment | job.environment(s3_admin, bucket)
    with RunProcess(environment, "--run-id", "alone") as alone:
        assert alone.finish() == 0, alone.story()

    starts = [RunProcess(environment, "--run-id", "many") for _ in range(STARTS)]
    try:
        codes = [start.finish() for start in starts]
        said = [{event["event"] for event in start.events} for start in starts]
    finally:
        for start in starts:
            start.__exit__(None, None, None)

    assert sum("run published" in events for events in said) == 1
    for start, code, events in zip(starts, codes, said, strict=True):
        if "run published" in events or "already published" in events:
            assert code == 0, start.story()
        else:
            assert code == LockedError.exit_code, start.story()
            assert " pid " in json.dumps(start.events[-1])
    run = stored_run(s3_admin, bucket, job.prefix("many"))
    assert_complete(run)
    assert_same_answer(run, stored_run(s3_admin, bucket, job.prefix("alone")))
    assert sum(name.endswith("manifest.json") for name in run.objects) == 1
