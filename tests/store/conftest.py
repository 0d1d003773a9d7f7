"""The stores under test, and a proxy that breaks the network between them and the server on demand."""

import gc
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from job.store import open_store


@pytest.fixture
def local_store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def s3_store(bucket):
    return open_store(f"s3://{bucket}/some/prefix")


@pytest.fixture(params=["local", "s3"])
def store(request):
    """Every implementation of ObjectStore."""
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def abandoned_connections() -> Iterator[None]:
    """For a download that fails: s3transfer drops the answers it has not read to the end.

    Their sockets are closed by the garbage collector, which warns. Together with `ignore:unclosed` on the
    test, this makes it happen before the next test.
    """
    yield
    gc.collect()


@dataclass(frozen=True)
class Exchange:
    """A request as it was sent, and the server's answer to it; both may be looked at by a fault."""

    method: str
    path: str
    headers: dict[str, str]
    status: int
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An error that the proxy answers with instead of the server."""

    status: int
    code: str

    @property
    def body(self) -> bytes:
        return f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()


DROP = "drop"  # the server has done its work, the client never hears of it
CUT = "cut"  # the answer's body ends half-way
Fault = Callable[[Exchange], str | None]


@dataclass
class FaultyNetwork:
    """What the HTTP proxy at `endpoint` does, and what it has seen.

    Attributes:
        exchanges: what went through to the server, in order.
        before: sees method and path of every request before the server does, and may answer in its place.
        fault: decides about every answer of the server: None, DROP or CUT.
    """

    endpoint: str
    exchanges: list[Exchange] = field(default_factory=list)
    fault: Fault = lambda _: None
    before: Callable[[str, str], Answer | None] = lambda _method, _path: None


@pytest.fixture
def faults() -> Callable[..., Fault]:
    """Make a fault of several: one for each answer in turn, then none."""

    def in_order(*each: str | None) -> Fault:
        remaining = iter(each)
        return lambda _: next(remaining, None)

    return in_order


@pytest.fixture
def answer() -> type[Answer]:
    """The class of answers that a proxy may give, for tests cannot import from here."""
    return Answer


class FaultyServer(ThreadingHTTPServer):
    """Passes requests on to the S3 server at `upstream` (host and port), as `network` decides."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), FaultyHandler)
        self.upstream = upstream
        self.network = FaultyNetwork(f"http://127.0.0.1:{self.server_port}")


class FaultyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        instead = self.server.network.before(self.command, self.path)
        if instead is not None:
            self.reply(instead.status, {}, instead.body)
            return
        status, headers, answer = self.pass_on(body)
        exchange = Exchange(self.command, self.path, dict(self.headers), status, answer)
        self.server.network.exchanges.append(exchange)
        fault = self.server.network.fault(exchange)
        if fault == DROP:
            self.close_connection = True
        else:
            self.reply(status, headers, answer, cut=fault == CUT)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any  # noqa: N815 - http.server's names

    def pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection(self.server.upstream, timeout=60)) as connection:
            # The Host header stays the client's own: it is part of what is signed.
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def reply(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", headers.get("Content-Length", "0") if is_head else str(len(body)))
        self.end_headers()
        if not is_head:
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def faulty_network(bucket, s3_server, monkeypatch) -> Iterator[FaultyNetwork]:  # noqa: ARG001 - after `bucket`
    """Lead boto3's requests through a FaultyNetwork."""
    server = FaultyServer(s3_server.endpoint.removeprefix("http://"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.network.endpoint)
    yield server.network
    server.shutdown()
    thread.join()
    server.server_close()
