"""How objects are written, beyond their bytes: encryption at rest, tags and storage class."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Encryption = Literal["sse-s3", "sse-kms"]

# Amazon S3's limits for object tags.
_MAX_TAGS = 10
_MAX_TAG_KEY = 128
_MAX_TAG_VALUE = 256

DEFAULT_PART_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """Applied to every object that a store writes, parts of multipart uploads included.

    Attributes:
        encryption: server-side encryption with keys of the store (`sse-s3`) or of its key service
            (`sse-kms`); None leaves it to the bucket.
        kms_key: id, alias or ARN of the key for `sse-kms`; None for the account's default key.
        tags: object tags, at most 10.
        storage_class: the server's name of a class, such as `STANDARD_IA`; None for its default.
        part_bytes: larger files are uploaded in parts of this size.

    Raises:
        ValueError: `kms_key` without `sse-kms`, or tags beyond S3's limits.
    """

    encryption: Encryption | None = None
    kms_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    storage_class: str | None = None
    part_bytes: int = DEFAULT_PART_BYTES

    def __post_init__(self) -> None:
        if self.kms_key is not None and self.encryption != "sse-kms":
            raise ValueError("kms_key needs encryption: sse-kms")
        if len(self.tags) > _MAX_TAGS:
            raise ValueError(f"at most {_MAX_TAGS} tags are possible, found {len(self.tags)}")
        for key, value in self.tags.items():
            if not 1 <= len(key) <= _MAX_TAG_KEY or len(value) > _MAX_TAG_VALUE:
                raise ValueError(
                    f"tag {key!r}: 1 to {_MAX_TAG_KEY} characters are possible for a tag's key, "
                    f"and at most {_MAX_TAG_VALUE} for its value"
                )

    @property
    def is_default(self) -> bool:
        """Whether nothing is asked of the store that a directory could not give."""
        return self.encryption is None and not self.tags and self.storage_class is None
