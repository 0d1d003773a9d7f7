"""What S3 servers and botocore report, as errors of the job: one clear message, no secrets."""

from dataclasses import dataclass

import boto3.exceptions
from botocore import exceptions as botocore_errors

# s3transfer, which boto3 moves files with, ships no types.
from s3transfer import exceptions as transfer_errors  # type: ignore[import-untyped]

from job.errors import AccessError, JobError, StoreError
from job.redaction import redact_text

CLIENT_ERRORS: tuple[type[Exception], ...] = (
    botocore_errors.ClientError,
    botocore_errors.BotoCoreError,
    boto3.exceptions.Boto3Error,
    transfer_errors.RetriesExceededError,
    transfer_errors.S3DownloadFailedError,
    transfer_errors.S3UploadFailedError,
)

# Raised where no credentials can be had, or the configuration that leads to them is broken.
_NO_CREDENTIALS = (
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.CredentialRetrievalError,
    botocore_errors.TokenRetrievalError,
    botocore_errors.NoAuthTokenError,
    botocore_errors.MetadataRetrievalError,
    botocore_errors.SSOError,
    botocore_errors.LoginError,
    botocore_errors.ProfileNotFound,
    botocore_errors.ConfigParseError,
    botocore_errors.ConfigNotFound,
    botocore_errors.InvalidConfigError,
)
_NO_CONNECTION = (
    botocore_errors.ConnectionError,
    botocore_errors.ConnectionClosedError,
    botocore_errors.ReadTimeoutError,
)

_FORBIDDEN = 403
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_MOVED_PERMANENTLY = 301
_PRECONDITION_FAILED = 412
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501

_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A refusal that trying again will not change.

    `{bucket}` in the reason is filled in; `quotes_server` adds the server's own words.
    """

    reason: str
    advice: str | None = None
    quotes_server: bool = False


_DENIED = _Refusal(
    "access denied",
    "The credentials need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there (without "
    "s3:ListBucket, S3 answers so for objects that do not exist), and use of the KMS key, if there is one.",
)
_EXPIRED = _Refusal("the session's token has expired or is not valid", "Renew the temporary credentials.")
_OTHER_REGION = _Refusal("the bucket {bucket} is in another region", "Set AWS_REGION to the bucket's region.")
_BAD_OPTION = _Refusal(
    "the server refuses the storage options",
    "Correct encryption, kms_key, tags or storage_class under storage: in the job spec.",
    quotes_server=True,
)
_BY_CODE = {
    "NoSuchBucket": _Refusal("there is no bucket {bucket}", "Create the bucket, or correct its name or the endpoint."),
    "InvalidBucketName": _Refusal("{bucket} cannot be a bucket's name", "Correct the URL."),
    "InvalidAccessKeyId": _Refusal(
        "the server does not know this access key", "Check AWS_ACCESS_KEY_ID and the endpoint."
    ),
    "SignatureDoesNotMatch": _Refusal(
        "the secret key does not belong to the access key", "Check AWS_SECRET_ACCESS_KEY."
    ),
    "RequestTimeTooSkewed": _Refusal(
        "this machine's clock differs too much from the server's", "Set the clock, by NTP for example."
    ),
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InvalidToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "PermanentRedirect": _OTHER_REGION,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AccountProblem": _DENIED,
    "NotSignedUp": _DENIED,
    "InvalidObjectState": _Refusal("the object is archived", "Restore it from its storage class first."),
    "InvalidStorageClass": _BAD_OPTION,
    "InvalidTag": _BAD_OPTION,
    "InvalidEncryptionAlgorithmError": _BAD_OPTION,
}


def status_of(error: Exception) -> int | None:
    """The HTTP status that the server answered with; None where it did not answer."""
    if not isinstance(error, botocore_errors.ClientError):
        return None
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def is_missing_object(error: Exception) -> bool:
    """Whether the server says that there is no such object (rather than no such bucket)."""
    return status_of(error) == _NOT_FOUND and _code_of(error) != "NoSuchBucket"


def is_failed_condition(error: Exception) -> bool:
    """Whether a conditional write lost. S3 answers 404 to `If-Match` where there is no object."""
    return status_of(error) == _PRECONDITION_FAILED or is_missing_object(error)


def is_unsupported(error: Exception) -> bool:
    """Whether the server does not implement what the request asks for."""
    return status_of(error) == _NOT_IMPLEMENTED


def may_lack_its_reason(error: Exception) -> bool:
    """Whether this may be a refused HEAD request, whose answer has no body to say why."""
    status = status_of(error)
    return status is not None and status < _SERVER_ERROR


def was_retried(error: Exception) -> bool:
    """Whether botocore sent this request more than once."""
    if not isinstance(error, botocore_errors.ClientError):
        return False
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0))


def explain(error: Exception, failure: str, *, bucket: str, endpoint: str) -> JobError:
    """The error of the job for one of CLIENT_ERRORS.

    Args:
        error: what was raised.
        failure: what could not be done and where, such as `cannot read s3://bucket/key`.
        bucket: the bucket's name.
        endpoint: the server's URL, without a user's name and password.
    """
    failure = f"{failure} at {endpoint}"
    if isinstance(error, transfer_errors.RetriesExceededError) and isinstance(error.last_exception, CLIENT_ERRORS):
        error = error.last_exception
    if isinstance(error, _NO_CREDENTIALS):
        return AccessError(
            f"{failure}: no usable credentials: {shown(error)}",
            advice="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the pod a role.",
        )
    if isinstance(error, botocore_errors.ClientError):
        return _explain_answer(error, failure, bucket)
    if isinstance(error, _NO_CONNECTION):
        return StoreError(
            f"{failure}: the server does not answer ({type(error).__name__})",
            advice="Check the endpoint (AWS_ENDPOINT_URL_S3), the network and the server.",
        )
    return StoreError(f"{failure}: {shown(error)}")


def _explain_answer(error: Exception, failure: str, bucket: str) -> JobError:
    status, code = status_of(error), _code_of(error)
    refusal = _BY_CODE.get(code)
    if refusal is None and status in {_UNAUTHORIZED, _FORBIDDEN}:
        refusal = _DENIED
    if refusal is None and status == _MOVED_PERMANENTLY:
        refusal = _OTHER_REGION
    if refusal is None and code.startswith("KMS."):
        refusal = _BAD_OPTION
    if refusal is not None:
        quotation = f": {shown(error)}" if refusal.quotes_server else ""
        reason = refusal.reason.format(bucket=bucket)
        return AccessError(f"{failure}: {reason} ({code}){quotation}", advice=refusal.advice)
    if status == _NOT_IMPLEMENTED:
        return StoreError(f"{failure}: the server does not implement this request ({code})")
    return StoreError(f"{failure}: {shown(error)}")


def _code_of(error: Exception) -> str:
    if not isinstance(error, botocore_errors.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def shown(error: Exception) -> str:
    """An exception's text for the user: one line, shortened, without passwords in URLs."""
    text = " ".join(redact_text(str(error)).split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
