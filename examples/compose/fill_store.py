"""Put what the example needs into an S3 store: its buckets, its data and its spec.

Run by compose.yaml in the job's own image, which has boto3 and the data. The environment leads to the store, as it does
for the job. Running it again changes nothing but the dates of the objects.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import numpy as np
from botocore.exceptions import BotoCoreError
from sklearn.datasets import load_digits

BUCKETS = ("datasets", "models", "specs")
PATIENCE_SECONDS = 60


def main(spec: Path) -> None:
    """Fill the store.

    Args:
        spec: the job spec that goes to `s3://specs/digits.yaml`.
    """
    store = boto3.client("s3")
    wait_for(store.list_buckets)
    for bucket in BUCKETS:
        try:
            store.create_bucket(Bucket=bucket)
        except (store.exceptions.BucketAlreadyOwnedByYou, store.exceptions.BucketAlreadyExists):
            continue
    store.put_object(Bucket="datasets", Key="digits.npz", Body=digits())
    store.put_object(Bucket="specs", Key="digits.yaml", Body=spec.read_bytes())
    sys.stdout.write("buckets datasets, models and specs; s3://datasets/digits.npz; s3://specs/digits.yaml\n")


def wait_for(ask: Callable[[], object]) -> None:
    """Return once the store answers; its health check, where it has one, has usually seen to that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            ask()
        except BotoCoreError:  # no answer at all; a refusal is a ClientError
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def digits() -> bytes:
    """1,797 images of 8 x 8 pixels from 0 to 16 (uint8) and their labels, as an `.npz` file."""
    data = load_digits()
    file = io.BytesIO()
    np.savez_compressed(file, x=data.images.astype(np.uint8), y=data.target.astype(np.uint8))
    return file.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
