"""Objects in an S3 bucket, through boto3.

Retries and timeouts are the client's (`job.store.s3_client`); files are moved by boto3's transfer manager, in
parts where they are large, several at a time, read from disk as they are sent.

Upload parts that a killed process leaves behind are invisible but take space: give the bucket a lifecycle
rule that aborts incomplete multipart uploads.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from boto3.s3.transfer import create_transfer_manager
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError

# s3transfer, which boto3 moves files with, ships no types.
from s3transfer.exceptions import S3DownloadFailedError  # type: ignore[import-untyped]

from job.errors import ConditionsUnsupportedError, ObjectNotFoundError, PreconditionFailedError, StoreError
from job.redaction import redact_text
from job.store.files import HashingWriter, OpenedFile, opened_file, unfinished_file
from job.store.keys import check_folder, check_key, check_prefix, is_key
from job.store.options import StorageOptions
from job.store.protocol import ListedObject, ObjectInfo, StoredFile, StoredObject
from job.store.s3_client import S3Client, make_client
from job.store.s3_conditions import ConditionsOnTransfers, conditions_in_parts
from job.store.s3_errors import (
    CLIENT_ERRORS,
    explain,
    is_failed_condition,
    is_missing_object,
    is_unsupported,
    may_lack_its_reason,
    was_retried,
)
from job.store.s3_parameters import (
    condition_of,
    etag_of,
    modified_of,
    read_body,
    transfer_config,
    version_of,
    write_parameters,
)
from job.store.urls import S3Location

# S3's limit of one request.
MAX_PUT_BYTES = 5 * 2**30

# How often a read begins anew: botocore retries requests, but not an answer whose body broke off half-way,
# nor a large object that was replaced while its parts were read.
READ_ATTEMPTS = 5
_BROKEN_BODIES = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)

# The name under which a conditional write leaves its own mark in the object's metadata.
_WRITE_ID = "write-id"


def open_s3_store(location: S3Location, options: StorageOptions, *, impatient: bool = False) -> "S3Store":
    """The store at a location, with a client of its own; see `make_client`.

    Raises:
        AccessError: boto3's configuration is broken.
    """
    return S3Store(make_client(location.bucket, impatient=impatient), location, options)


class S3Store:
    """An ObjectStore in a bucket, under a prefix.

    An object's etag is the server's. Objects written under a condition carry a `write-id` in their metadata.

    Args:
        client: a boto3 client for S3.
        location: the bucket and the prefix that every key is under.
        options: how objects are written.
    """

    def __init__(self, client: S3Client, location: S3Location, options: StorageOptions) -> None:
        self._client = client
        self._bucket = location.bucket
        self._prefix = f"{location.prefix}/" if location.prefix else ""
        self._written_with = write_parameters(options)
        self._part_bytes = options.part_bytes
        self._conditions = ConditionsOnTransfers(client)
        self._honours_in_parts: bool | None = None

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def get(self, key: str) -> StoredObject:
        """See ObjectStore."""
        target = self._target(key)
        with self._clear_errors("read", key):
            for _ in range(READ_ATTEMPTS - 1):
                answer = self._client.get_object(**target)
                with suppress(*_BROKEN_BODIES):
                    return read_body(answer, self._url_of(key))
            return read_body(self._client.get_object(**target), self._url_of(key))

    def get_file(self, key: str, path: Path, *, version: str | None = None) -> StoredFile:
        """See ObjectStore."""
        target = self._target(key)
        wanted = {} if version is None else {"VersionId": version}
        with self._clear_errors("read", key):
            try:
                for _ in range(READ_ATTEMPTS - 1):
                    with suppress(S3DownloadFailedError):
                        return self._download(target, path, wanted)
                return self._download(target, path, wanted)
            except ClientError as error:
                if may_lack_its_reason(error):
                    self._find(key)  # raises the reason, if there is one to be had
                raise

    def stat(self, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        check_key(key)
        with self._clear_errors("read", key):
            try:
                answer = self._find(key)
            except ClientError as error:
                if is_missing_object(error):
                    return None
                raise
        etag = etag_of(answer, self._url_of(key))
        return ObjectInfo(key, answer["ContentLength"], etag, modified_of(answer), version_of(answer))

    def put(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        target = self._target(key)
        with self._clear_errors("write", key):
            self._client.put_object(**target, Body=data, **self._written_with)

    def put_file(self, key: str, path: Path) -> StoredFile:
        """See ObjectStore."""
        with opened_file(path) as file, self._clear_errors("write", key):
            self._send(file, key, self._part_bytes, self._written_with)
        return file.stored

    def put_file_if(self, key: str, path: Path, etag: str | None) -> StoredFile:
        """See ObjectStore. Where the end of an upload in parts may have no condition, one request sends it all."""
        with opened_file(path) as file:

            def send(written_with: dict[str, Any]) -> None:
                in_parts = file.stored.size >= self._part_bytes and self._parts_may_have_conditions(key)
                with self._conditions.on(self._target(key), condition_of(etag)):
                    self._send(file, key, self._part_bytes if in_parts else MAX_PUT_BYTES, written_with)

            self._write_on_condition(key, etag, send)
        return file.stored

    def put_if_absent(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        self._put_on_condition(key, data, None)

    def replace_if_match(self, key: str, data: bytes, etag: str) -> None:
        """See ObjectStore."""
        self._put_on_condition(key, data, etag)

    def list(self, prefix: str = "") -> Iterator[ListedObject]:
        """See ObjectStore. A page of the listing is held in memory at a time."""
        entries = self._listed(check_prefix(prefix))
        # The first page now: what is wrong is told to who asks, not to who reads.
        first = list(itertools.islice(entries, 1))
        return itertools.chain(first, entries)

    def _listed(self, prefix: str) -> Iterator[ListedObject]:
        for page in self._pages(prefix, Prefix=self._prefix + prefix):
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._prefix)
                if is_key(key):
                    yield ListedObject(key, entry["Size"], modified_of(entry), entry.get("ETag"))

    def _pages(self, prefix: str, **wanted: str) -> Iterator[dict[str, Any]]:
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, **wanted))
        while True:
            with self._clear_errors("list", prefix):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def list_folders(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        whole = self._prefix + check_folder(prefix)
        found = [
            entry["Prefix"].removeprefix(whole).rstrip("/")
            for page in self._pages(prefix, Prefix=whole, Delimiter="/")
            for entry in page.get("CommonPrefixes", ())
        ]
        return iter(sorted(name for name in found if is_key(name)))

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        target = self._target(key)
        with self._clear_errors("delete", key):
            try:
                self._client.delete_object(**target)
            except ClientError as error:
                if not is_missing_object(error):
                    raise

    def _target(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}

    def _download(self, target: dict[str, str], path: Path, wanted: dict[str, str]) -> StoredFile:
        with unfinished_file(path) as unfinished:
            writer = HashingWriter(unfinished.file)
            try:
                self._client.download_fileobj(
                    **target,
                    Fileobj=writer,
                    ExtraArgs=wanted,
                    Config=transfer_config(0, self._part_bytes, self._part_bytes),
                )
                unfinished.close(durable=False)
                unfinished.path.replace(path)
            except CLIENT_ERRORS:  # some of botocore's are OSErrors too
                raise
            except OSError as error:
                raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
        return writer.stored

    def _find(self, key: str) -> dict[str, Any]:
        """Ask for an object without its content; raises ClientError with the server's reason."""
        target = self._target(key)
        try:
            return dict(self._client.head_object(**target))
        except ClientError as error:
            if not may_lack_its_reason(error):
                raise
        # The answer to HEAD has no body: 404 may be the object or the bucket, 403 a wrong key, a wrong secret
        # or a missing permission. GET says which, and needs no other permission.
        answer = self._client.get_object(**target)
        answer["Body"].close()
        return dict(answer)

    def _send(self, file: OpenedFile, key: str, threshold: int, written_with: Mapping[str, Any]) -> None:
        config = transfer_config(file.stored.size, self._part_bytes, threshold)
        # By its name: of an open file s3transfer would hold parts in memory.
        with create_transfer_manager(self._client, config) as transfers:
            transfers.upload(file.name, *self._target(key).values(), extra_args=dict(written_with)).result()

    def _parts_may_have_conditions(self, key: str) -> bool:
        """Whether the server minds a condition at the end of an upload in parts; tried once, beside the object."""
        if self._honours_in_parts is None:
            self._honours_in_parts = conditions_in_parts(self._client, self._target(f"{key}.condition-check"))
        return self._honours_in_parts

    def _put_on_condition(self, key: str, data: bytes, etag: str | None) -> None:
        given = {**self._target(key), "Body": data, **condition_of(etag)}
        self._write_on_condition(key, etag, lambda written_with: self._client.put_object(**given, **written_with))

    def _write_on_condition(self, key: str, etag: str | None, send: Callable[[dict[str, Any]], object]) -> None:
        write_id = uuid.uuid4().hex
        with self._clear_errors("write", key):
            try:
                send({"Metadata": {_WRITE_ID: write_id}, **self._written_with})
            except ClientError as error:
                if is_unsupported(error):
                    raise ConditionsUnsupportedError(
                        f"cannot write {self._url_of(key)}: the server does not implement conditional writes"
                    ) from error
                if not is_failed_condition(error):
                    raise
                if was_retried(error) and self._wrote(key, write_id):
                    return
                lost = "exists already" if etag is None else "has changed since it was read"
                raise PreconditionFailedError(f"{self._url_of(key)} {lost}") from error

    def _wrote(self, key: str, write_id: str) -> bool:
        """Whether an object is the one that a conditional write of ours made.

        When botocore sends a request again, the first one may have been carried out although its answer was
        lost, and the second then fails on our own object. The write-id proves whose it is; equal bytes would
        not, for two racing writers may write the same. Where somebody has replaced our object since, this
        reports a loss: the caller reads anew and finds out.
        """
        try:
            return bool(self._find(key).get("Metadata", {}).get(_WRITE_ID) == write_id)
        except ClientError as error:
            if is_missing_object(error):
                return False
            raise

    def _url_of(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    @contextmanager
    def _clear_errors(self, action: str, key: str) -> Iterator[None]:
        """Say what S3 refused in the words of the user."""
        try:
            yield
        except CLIENT_ERRORS as error:
            where = self._url_of(key)
            if is_missing_object(error) and action == "read":
                raise ObjectNotFoundError(f"{where} does not exist") from error
            endpoint = redact_text(self._client.meta.endpoint_url)
            raise explain(error, f"cannot {action} {where}", bucket=self._bucket, endpoint=endpoint) from error
