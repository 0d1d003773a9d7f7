"""boto3's S3 client, set up for an unattended job.

A request that gets no answer, or one of the transient errors (429, 500, 502, 503, 504 and their named kin),
is sent up to REQUEST_ATTEMPTS times by botocore's `standard` mode, with growing random pauses;
AWS_MAX_ATTEMPTS overrides the number, and docs/store-faults.md has all settings. Credentials, region and
endpoint come from boto3's own chain (environment, profile, role). Where an endpoint is given, botocore
addresses buckets by path, unless the profile says `addressing_style = virtual`.
"""

import secrets
from typing import Any, TypeAlias

import boto3
import botocore.session
from botocore.config import Config

from job.errors import AccessError
from job.store.s3_errors import CLIENT_ERRORS, shown
from job.version import VERSION

S3Client: TypeAlias = Any  # boto3 makes its clients at run time; they have no type to import

# With one request in five failing at random, about one in 100,000 fails for good. botocore's pauses add up to about 2 s
# where the server does not answer or answers 500, and to half a minute where it asks to be spared (429, 503 SlowDown).
REQUEST_ATTEMPTS = 7
CONNECT_TIMEOUT_SECONDS = 10
# Servers may queue conditional writes of one key for seconds.
READ_TIMEOUT_SECONDS = 60
CONNECTIONS = 16
# Of a client that asks for what is worthless soon: a heartbeat of a lease.
IMPATIENT_CONNECT_SECONDS = 2
IMPATIENT_READ_SECONDS = 3

# S3 is not asked while a client is set up: whatever is wrong is the configuration. ValueError is
# botocore's way to refuse an endpoint that is no URL.
_CONFIGURATION_ERRORS: tuple[type[Exception], ...] = (*CLIENT_ERRORS, ValueError)
_CONFLICTS = {"ConditionalRequestConflict", "OperationAborted"}


def make_client(bucket: str, *, impatient: bool = False) -> S3Client:
    """Make a client.

    Args:
        bucket: named in errors only.
        impatient: ask once, and wait for seconds only.

    Raises:
        AccessError: the configuration is broken: unknown profile, unreadable file, impossible endpoint.
    """
    retries: dict[str, object] = {"mode": "standard"}
    try:
        session = botocore.session.get_session()
        if impatient:
            retries["total_max_attempts"] = 1
        elif session.get_config_variable("max_attempts") is None:
            retries["total_max_attempts"] = REQUEST_ATTEMPTS
        config = Config(
            signature_version="s3v4",
            retries=retries,
            connect_timeout=IMPATIENT_CONNECT_SECONDS if impatient else CONNECT_TIMEOUT_SECONDS,
            read_timeout=IMPATIENT_READ_SECONDS if impatient else READ_TIMEOUT_SECONDS,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            user_agent_extra=f"tuning-job/{VERSION}",
        )
        client = boto3.session.Session(botocore_session=session).client("s3", config=config)
    except _CONFIGURATION_ERRORS as error:
        raise AccessError(
            f"cannot set up access to s3://{bucket}: {shown(error)}",
            advice="Check the AWS_ variables and profile; AWS_ENDPOINT_URL_S3 is a URL such as http://minio:9000.",
        ) from error
    client.meta.events.register("needs-retry.s3.PutObject", _pause_after_conflict)
    return client


def _pause_after_conflict(attempts: int, response: tuple[object, dict[str, Any]] | None, **_: object) -> float | None:
    """Tell botocore to send a write again that met a concurrent one (409), and after how many seconds.

    S3 documents that such a write was not carried out and is to be tried again; whether its condition holds
    is decided anew. `standard` mode does not retry 409 by itself.
    """
    if response is None or attempts >= REQUEST_ATTEMPTS:
        return None
    if response[1].get("Error", {}).get("Code") not in _CONFLICTS:
        return None
    return secrets.SystemRandom().uniform(0.05, 0.1 * 2**attempts)
