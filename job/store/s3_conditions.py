"""Conditions on what boto3's transfer manager writes: its uploads have no argument for them."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from job.store.s3_client import S3Client
from job.store.s3_errors import is_failed_condition, is_unsupported

# The requests that make an object appear.
_OPERATIONS = ("PutObject", "CompleteMultipartUpload")
_CONTENT = b"tuning-job checks whether an upload in parts may have a condition here\n"


class ConditionsOnTransfers:
    """Adds conditions to a client's writes of certain objects.

    Args:
        client: a boto3 client for S3.
    """

    def __init__(self, client: S3Client) -> None:
        self._conditions: dict[tuple[str, str], Mapping[str, str]] = {}
        self._changed = threading.Condition()
        for operation in _OPERATIONS:
            client.meta.events.register(f"provide-client-params.s3.{operation}", self._with_condition)

    @contextmanager
    def on(self, target: Mapping[str, str], condition: Mapping[str, str]) -> Iterator[None]:
        """A block in which whatever makes the object appear has this condition.

        Uploads of one object wait for each other.

        Args:
            target: `Bucket` and `Key`.
            condition: `IfMatch` or `IfNoneMatch`.
        """
        named = target["Bucket"], target["Key"]
        with self._changed:
            self._changed.wait_for(lambda: named not in self._conditions)
            self._conditions[named] = condition
        try:
            yield
        finally:
            with self._changed:
                del self._conditions[named]
                self._changed.notify_all()

    def _with_condition(self, params: dict[str, Any], **_: object) -> dict[str, Any]:
        named = params.get("Bucket", ""), params.get("Key", "")
        return {**params, **self._conditions.get(named, {})}


def conditions_in_parts(client: S3Client, target: Mapping[str, str]) -> bool:
    """Whether a server refuses to end an upload in parts whose condition does not hold.

    Args:
        client: a boto3 client for S3.
        target: `Bucket` and `Key` of an object that nobody else uses; it is written and deleted.

    Raises:
        ClientError: the server refuses or fails.
    """
    client.put_object(**target, Body=_CONTENT)
    try:
        upload = client.create_multipart_upload(**target)["UploadId"]
        part = client.upload_part(**target, UploadId=upload, PartNumber=1, Body=_CONTENT)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        try:
            client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")
        except ClientError as error:
            if not (is_failed_condition(error) or is_unsupported(error)):
                raise
            client.abort_multipart_upload(**target, UploadId=upload)
            return is_failed_condition(error)
        return False
    finally:
        client.delete_object(**target)
