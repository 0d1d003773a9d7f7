"""What boto3's requests for S3 are given, and what is read from their answers: no header is sure to be there."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from boto3.s3.transfer import TransferConfig

from job.errors import AccessError
from job.store.options import StorageOptions
from job.store.protocol import StoredObject

# S3's limit.
MAX_PARTS = 10_000
PARALLEL_PARTS = 4


def condition_of(etag: str | None) -> dict[str, str]:
    """Return the condition of a write: over what has this etag, or over nothing."""
    return {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}


def transfer_config(size: int, part_bytes: int, threshold: int) -> TransferConfig:
    """Return how a file of so many bytes is moved; all sizes are in bytes.

    Args:
        size: of the file; 0 where it is not known.
        part_bytes: of a part, at least.
        threshold: from which size on it is moved in parts.
    """
    return TransferConfig(
        multipart_threshold=threshold,
        multipart_chunksize=max(part_bytes, -(-size // MAX_PARTS)),
        max_concurrency=PARALLEL_PARTS,
        # What is one request needs no threads of boto3's, which the process would wait for at its end.
        use_threads=size == 0 or size >= threshold,
        # Where awscrt happens to be installed, boto3 would choose it, and with it other retries and timeouts.
        preferred_transfer_client="classic",
    )


def write_parameters(options: StorageOptions) -> dict[str, str]:
    """Return the parameters of PutObject and CreateMultipartUpload that stand for the options."""
    parameters = {}
    if options.encryption == "sse-s3":
        parameters["ServerSideEncryption"] = "AES256"
    if options.encryption == "sse-kms":
        parameters["ServerSideEncryption"] = "aws:kms"
    if options.kms_key is not None:
        parameters["SSEKMSKeyId"] = options.kms_key
    if options.tags:
        parameters["Tagging"] = urlencode(options.tags)
    if options.storage_class is not None:
        parameters["StorageClass"] = options.storage_class
    return parameters


def read_body(answer: dict[str, Any], url: str) -> StoredObject:
    """Return the object that a GET has answered with. Raises AccessError where it has no ETag."""
    return StoredObject(answer["Body"].read(), etag_of(answer, url), version_of(answer))


def etag_of(answer: dict[str, Any], url: str) -> str:
    """Return the ETag that stands in an answer. Raises AccessError where there is none."""
    etag = answer.get("ETag")
    if not etag:
        raise AccessError(
            f"{url}: the server answers without an ETag, by which it would be noticed that an object has changed",
            advice="use a server that gives them; JuiceFS's gateway does with --keep-etag",
        )
    return str(etag)


def modified_of(answer: dict[str, Any]) -> datetime:
    """Return when an object was written; now, where the server does not say."""
    modified = answer.get("LastModified")
    return modified if isinstance(modified, datetime) else datetime.now(UTC)


def version_of(answer: dict[str, Any]) -> str | None:
    """Return what names an object's content for good; None in a bucket that keeps no versions."""
    version = answer.get("VersionId")
    # Of a bucket whose versioning was suspended, it names whatever was written last.
    return None if version == "null" else version
