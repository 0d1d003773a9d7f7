"""Named objects in a directory or an S3 bucket; `open_store` is the way in.

    store = open_store("s3://models/tuning")      # or "./runs", "file:///srv/runs"
    store.put_if_absent("mnist/runs/1/spec.json", data)

The contract is in `job.store.protocol`. boto3 is imported when an `s3://` URL is opened, and not before.
"""

from job.store.conditions import LookFirstStore, honours_conditions
from job.store.local import LocalStore
from job.store.options import Encryption, StorageOptions
from job.store.protocol import ListedObject, ObjectInfo, ObjectStore, StoredFile, StoredObject
from job.store.urls import LocalLocation, parse_store_url, split_object_url

__all__ = [
    "Encryption",
    "ListedObject",
    "LookFirstStore",
    "ObjectInfo",
    "ObjectStore",
    "StorageOptions",
    "StoredFile",
    "StoredObject",
    "honours_conditions",
    "open_store",
    "split_object_url",
]


def open_store(url: str, options: StorageOptions | None = None, *, impatient: bool = False) -> ObjectStore:
    """Open the store at a URL. Nothing is created, asked for or checked there yet.

    Args:
        url: `s3://bucket[/prefix]`, `file:///path`, or a path (relative, absolute, or with `~`).
        options: how objects are written; S3 only.
        impatient: ask once and wait for seconds, for what is worthless later; S3 only.

    Raises:
        ValueError: the URL is not one of a store, or `options` asks a directory for what it cannot give.
        AccessError: the S3 client cannot be set up (broken configuration files, unknown profile).
    """
    location = parse_store_url(url)
    options = options or StorageOptions()
    if isinstance(location, LocalLocation):
        if not options.is_default:
            # Ignoring a request for encryption in silence would be worse than refusing it.
            raise ValueError(f"{url!r} is a directory: encryption, tags and storage class need an s3:// URL")
        return LocalStore(location.path)
    # boto3 takes up to a second of CPU time to import: only who uses S3 pays for it.
    from job.store.s3 import open_s3_store  # noqa: PLC0415

    return open_s3_store(location, options, impatient=impatient)
