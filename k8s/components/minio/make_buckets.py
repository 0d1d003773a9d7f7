"""Waits for the S3 server, makes the buckets `datasets` and `models`, and puts the example's data; may be repeated."""

import io
import sys
import time
from typing import Any

import boto3
import numpy as np
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from sklearn.datasets import load_digits

BUCKETS = ("datasets", "models")
DATA = "digits.npz"
MADE_BEFORE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
PATIENCE_SECONDS = 300
PAUSE_SECONDS = 2


def make_bucket(client: Any, name: str) -> None:  # noqa: ANN401 - boto3's clients have no type to import
    """Make a bucket, unless it is there."""
    try:
        client.create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in MADE_BEFORE:
            raise


def digits_file() -> bytes:
    """Return scikit-learn's digits as the bytes of an `.npz` file: `x` (1797, 8, 8) uint8, `y` (1797,) int64."""
    digits = load_digits()
    file = io.BytesIO()
    np.savez_compressed(file, x=digits.images.astype(np.uint8), y=digits.target)
    return file.getvalue()


def make_all(client: Any) -> None:  # noqa: ANN401 - likewise
    """Make both buckets; put the data unless it is there, because a run under way may have pinned its version."""
    for bucket in BUCKETS:
        make_bucket(client, bucket)
    if client.list_objects_v2(Bucket="datasets", Prefix=DATA).get("KeyCount", 0) == 0:
        client.put_object(Bucket="datasets", Key=DATA, Body=digits_file())


def main() -> None:
    """Try until it works: the server's pod may start after this one."""
    client = boto3.client("s3", config=Config(connect_timeout=5, retries={"total_max_attempts": 1}))
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            make_all(client)
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > end:
                sys.exit(f"gave up: {error}")
            print(f"not yet: {error}", flush=True)
            time.sleep(PAUSE_SECONDS)
        else:
            print(f"buckets {', '.join(BUCKETS)} and s3://datasets/{DATA} are there", flush=True)
            return


if __name__ == "__main__":
    main()
