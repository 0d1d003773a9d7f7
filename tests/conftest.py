"""Real S3 servers for every test that wants one, started once per session: SeaweedFS, and one of an old dialect.

With `TEST_S3_ENDPOINT` the tests use that server in SeaweedFS's place, with the credentials of `TEST_S3_ACCESS_KEY` and
`TEST_S3_SECRET_KEY`. They make buckets named `test-…` there and leave them behind.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.old_minio import start_gateway
from faults.proxy import FaultyNetwork
from faults.proxy import faulty_network as open_faulty_network
from hypothesis import settings

# A test asserts behaviour, never a time: on a busy machine the default deadline of 200 ms fails what is right.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

START_SECONDS = 60
START_ATTEMPTS = 5
# Each of the five services listens on its port and on that port + 10000. The blocks below keep both under
# 32768, where Linux begins to hand out ports by itself.
PORTS = range(12000, 22000, 5)
SECOND_PORT_OFFSET = 10000
SERVICES = ("s3", "master", "filer", "volume", "admin")
EXTERNAL_ENDPOINT, *EXTERNAL_CREDENTIALS = ("TEST_S3_ENDPOINT", "TEST_S3_ACCESS_KEY", "TEST_S3_SECRET_KEY")


def pytest_addoption(parser):
    parser.addoption("--freezes", type=int, default=1, help="how many places to freeze a holder at; 0 for all")
    parser.addoption("--damages", type=int, default=7, help="how many damaged objects to try; 0 for all")
    parser.addoption("--fuzz", type=int, default=100, help="how many mutated specs to try")
    parser.addoption("--kills", type=int, default=3, help="how often the kill test kills its run")
    parser.addoption("--kill-seed", type=int, default=None, help="draws the moments; a new one each time without it")
    parser.addoption("--pairs", type=int, default=2, help="how many rows of the covering array to run; 0 for all")
    parser.addoption(
        "--repeated-seconds", type=float, default=None, help="at most so much training may be repeated per kill"
    )


@pytest.fixture(autouse=True)
def _own_search_path(monkeypatch):
    """Loading a user's module lets it import what lies beside it, for the process's life: here, for one test's."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@dataclass(frozen=True)
class S3Server:
    """A running server and the credentials that it accepts."""

    endpoint: str
    access_key: str
    secret_key: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """All that a process needs to use the server through boto3, and nothing of the developer's own setup."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BOTO"))}
        return inherited | {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(self.folder / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "no-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory) -> Iterator[S3Server]:
    """SeaweedFS with one identity and no bucket, ended with the session; or the server that the environment names."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    if endpoint := os.environ.get(EXTERNAL_ENDPOINT):
        missing = [name for name in EXTERNAL_CREDENTIALS if not os.environ.get(name)]
        if missing:
            pytest.fail(f"{EXTERNAL_ENDPOINT} is set without {' and '.join(missing)}")
        yield S3Server(endpoint, *(os.environ[name] for name in EXTERNAL_CREDENTIALS), folder)
        return
    access_key, secret_key = "test-access-key", uuid.uuid4().hex
    blocks = random.sample(PORTS, START_ATTEMPTS)
    for port in blocks:
        process = start_server(folder / str(port), port, access_key, secret_key)
        if process is not None:
            break
    else:
        pytest.fail(f"SeaweedFS did not start on any of the ports {blocks}")
    yield S3Server(f"http://127.0.0.1:{port}", access_key, secret_key, folder)
    stop(process)


def start_server(folder: Path, port: int, access_key: str, secret_key: str) -> subprocess.Popen[bytes] | None:
    """Start a server and wait until it answers; None where its ports are taken."""
    ports = {service: port + number for number, service in enumerate(SERVICES)}
    if not all(is_free(number + offset) for number in ports.values() for offset in (0, SECOND_PORT_OFFSET)):
        return None
    folder.mkdir()
    command = [
        shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed",
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{service}.port={number}" for service, number in ports.items()),
        # Every bucket takes a handful of volumes, and by default the free disk decides how many there may be.
        "-volume.max=100000",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
    ]
    log = folder / "server.log"
    environment = os.environ | {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    return process if comes_up(process, port, log) else None


def comes_up(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    """Wait until a server answers; False if it ends instead."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(port):
        if process.poll() is not None:
            return False
        if time.monotonic() > deadline:
            stop(process)
            pytest.fail(f"the server did not answer within {START_SECONDS} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    # An orderly end would wait for the clients' idle connections, and nobody wants the data any more.
    process.kill()
    process.wait()


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do; without it a port that was just in use counts as taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether the S3 service is up; it refuses a stranger's request with an HTTP answer when it is."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        return connection.recv(5) == b"HTTP/"
    return False


def admin_of(server: S3Server):
    import boto3  # noqa: PLC0415 - up to a second of CPU time, for tests that use S3 only

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
    )


def lead_to(server: S3Server, monkeypatch) -> dict[str, str]:
    """Point boto3's own chain at a server, in this process; returned for subprocesses."""
    wanted = server.environment
    for name in list(os.environ):
        if name not in wanted:
            monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    return wanted


@pytest.fixture(scope="session")
def s3_admin(s3_server):
    """A plain boto3 client of the server, to look at what the code under test left there."""
    return admin_of(s3_server)


@pytest.fixture
def s3_environment(s3_server, monkeypatch) -> dict[str, str]:
    """What leads to the server."""
    return lead_to(s3_server, monkeypatch)


@pytest.fixture
def bucket(s3_admin, s3_environment) -> str:  # noqa: ARG001 - the environment is wanted, not its value
    """A new bucket, with the environment that leads to it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3_admin.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def old_minio(tmp_path_factory) -> Iterator[S3Server]:
    """A server that ignores conditional writes, ended with the session."""
    with gateway(tmp_path_factory.mktemp("old-minio")) as server:
        yield server


@contextmanager
def gateway(folder: Path, *, keeps_etags: bool = True) -> Iterator[S3Server]:
    """A JuiceFS gateway, ended with the block."""
    access_key, secret_key = "test-access-key", uuid.uuid4().hex
    for port in random.sample(PORTS, START_ATTEMPTS):
        if not is_free(port):
            continue
        process = start_gateway(folder / str(port), port, access_key, secret_key, keeps_etags=keeps_etags)
        if comes_up(process, port, folder / str(port) / "output.log"):
            break
    else:
        pytest.fail("the JuiceFS gateway did not start")
    yield S3Server(f"http://127.0.0.1:{port}", access_key, secret_key, folder)
    stop(process)


@pytest.fixture(scope="session")
def old_minio_admin(old_minio):
    """A plain boto3 client of it."""
    return admin_of(old_minio)


@pytest.fixture
def old_minio_environment(old_minio, monkeypatch) -> dict[str, str]:
    """What leads to it."""
    return lead_to(old_minio, monkeypatch)


@pytest.fixture
def old_minio_bucket(old_minio_admin, old_minio_environment) -> str:  # noqa: ARG001 - it is wanted, not its value
    """A new bucket there, with the environment that leads to it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    old_minio_admin.create_bucket(Bucket=name)
    return name


@pytest.fixture
def bucket_without_etags(tmp_path, monkeypatch) -> Iterator[str]:
    """A bucket on a gateway that leaves out ETags, with the environment that leads to it."""
    with gateway(tmp_path, keeps_etags=False) as server:
        lead_to(server, monkeypatch)
        name = f"test-{uuid.uuid4().hex[:12]}"
        admin_of(server).create_bucket(Bucket=name)
        yield name


@pytest.fixture
def faulty_network(bucket, s3_server, monkeypatch) -> Iterator[FaultyNetwork]:  # noqa: ARG001 - after `bucket`
    """Lead boto3's requests through a network that can fail."""
    with open_faulty_network(s3_server.endpoint) as network:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", network.endpoint)
        yield network
