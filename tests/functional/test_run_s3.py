"""The whole job against a real S3 server, started as a container would start it: by its environment alone."""

import hashlib
import json
import subprocess
import sys

import pytest


def objects(s3_admin, bucket: str) -> dict[str, bytes]:
    pages = s3_admin.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {key: s3_admin.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def assert_manifest_holds(stored: dict[str, bytes], prefix: str) -> dict:
    manifest = json.loads(stored[f"{prefix}manifest.json"])
    for relative, stated in manifest["artifacts"].items():
        content = stored[prefix + relative]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (stated["size"], stated["sha256"]), relative
    return manifest


def test_environment_variables_alone_make_a_published_run(job, s3_admin, bucket, s3_environment):
    """With `JOB_…` and `AWS_…` variables and no file at all, the run is in the bucket, complete."""
    done = job(
        environment=s3_environment
        | {
            "JOB_RUN_ID": "nightly-1",
            "JOB_NAME": "digits-nightly",
            "JOB_OUTPUT": f"s3://{bucket}/tuning",
            "JOB_SEARCH__MAX_EPOCHS": "3",
            "JOB_SPACE__units": "[16, 32]",
            "JOB_STORAGE__TAGS": "{team: vision}",
        }
    )
    assert done.code == 0, done.stdout + done.stderr
    assert done.stderr == ""
    stored = objects(s3_admin, bucket)
    prefix = "tuning/digits-nightly/runs/nightly-1/"
    manifest = assert_manifest_holds(stored, prefix)
    assert manifest["best_hyperparameters"]["units"] in {16, 32}
    assert json.loads(stored["tuning/digits-nightly/latest.json"])["run_id"] == "nightly-1"
    tags = s3_admin.get_object_tagging(Bucket=bucket, Key=f"{prefix}model/model.keras")["TagSet"]
    assert tags == [{"Key": "team", "Value": "vision"}]
    # Nothing that authenticates is in any object.
    secret = s3_environment["AWS_SECRET_ACCESS_KEY"].encode()
    assert not [key for key, content in stored.items() if secret in content]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId"),
        ({"JOB_OUTPUT": "s3://no-such-bucket-here/x"}, "no-such-bucket-here"),
    ],
)
def test_refused_access_ends_with_15_before_training(job, bucket, s3_environment, change, told):
    """Wrong credentials or a missing bucket: one clear message, no traceback, no secret, nothing trained."""
    done = job(environment=s3_environment | {"JOB_OUTPUT": f"s3://{bucket}/x"} | change)
    assert done.code == 15
    assert told in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert s3_environment["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
    assert not [event for event in done.events if event["event"].startswith("trial")]


def test_fashion_mnist_in_s3_with_the_spec_in_s3(
    job, s3_admin, bucket, s3_environment, fashion_mnist, tmp_path, clean_environment
):
    """The tutorial's search on real data, to 4 epochs: test accuracy 0.85, loaded in bare Keras."""
    s3_admin.upload_file(str(fashion_mnist), bucket, "datasets/fashion-mnist.npz")
    spec = {
        "name": "fashion-mnist",
        "data": {"source": f"s3://{bucket}/datasets/fashion-mnist.npz"},
        "search": {"max_epochs": 4},
        "output": f"s3://{bucket}/tuning",
    }
    s3_admin.put_object(Bucket=bucket, Key="specs/fashion-mnist.json", Body=json.dumps(spec).encode())
    done = job(environment=s3_environment | {"JOB_SPEC": f"s3://{bucket}/specs/fashion-mnist.json"})
    assert done.code == 0, done.stdout[-3000:] + done.stderr
    stored = objects(s3_admin, bucket)
    run_id = json.loads(stored["tuning/fashion-mnist/latest.json"])["run_id"]
    prefix = f"tuning/fashion-mnist/runs/{run_id}/"
    manifest = assert_manifest_holds(stored, prefix)
    searched = manifest["search"]
    assert (searched["trials"], searched["epochs"]) == (searched["planned_trials"], searched["planned_epochs"])
    assert manifest["scores"]["test"]["accuracy"] >= 0.85
    assert manifest["data"]["splits"]["test"]["rows"] == 10000
    model = tmp_path / "model.keras"
    model.write_bytes(stored[f"{prefix}model/model.keras"])
    program = (
        "import sys, keras, numpy\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "data = numpy.load(sys.argv[2])\n"
        "print(float((model.predict(data['x_test'], verbose=0).argmax(-1) == data['y_test']).mean()))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program, model, fashion_mnist],
        env=clean_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(loaded.stdout) == pytest.approx(manifest["scores"]["test"]["accuracy"], abs=1e-4)
