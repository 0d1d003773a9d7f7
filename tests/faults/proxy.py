"""An HTTP proxy on 127.0.0.1 between the code under test and a real S3 server, which breaks the network on demand.

Requests reach the server as the client signed them: their Host header stays the proxy's, which the signature covers
and the server checks. A test may script single faults (`before`, `fault`), have them drawn at random (`random`), or
switch the whole network off (`outage`).
"""

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from faults.random_faults import Fault, RandomFaults

OUTAGE = "outage"
UPSTREAM_TIMEOUT_SECONDS = 60
# SO_LINGER on, for 0 seconds: closing the socket sends RST instead of an orderly end.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Exchange:
    """A request as it was sent, and the server's answer to it; both may be looked at by a scripted fault."""

    method: str
    path: str
    headers: dict[str, str]
    status: int
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An S3 error that the proxy answers with instead of the server."""

    status: int
    code: str

    @property
    def body(self) -> bytes:
        """The document that an S3 server sends."""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{self.code}</Code><Message>injected</Message>'
            "<RequestId>0</RequestId></Error>"
        ).encode()


ERRORS = {
    Fault.ERROR: Answer(500, "InternalError"),
    Fault.LATE_ERROR: Answer(500, "InternalError"),
    Fault.SLOW_DOWN: Answer(503, "SlowDown"),
}


@dataclass
class FaultyNetwork:
    """What the proxy at `endpoint` does, and what it has done.

    Attributes:
        before: sees method and path of every request before the server does, and may answer in its place.
        fault: decides about every answer of the server: None, Fault.DROP, Fault.CUT or Fault.LATE_ERROR.
        random: faults at random; None for none.
        outage: while true, every connection is reset.
        exchanges: what went through to the server, in order.
        counts: how many requests met what: a Fault, OUTAGE, or `passed`. A request that the client sends again counts
            again.
    """

    endpoint: str
    before: Callable[[str, str], Answer | None] = lambda _method, _path: None
    fault: Callable[[Exchange], Fault | str | None] = lambda _exchange: None
    random: RandomFaults | None = None
    outage: bool = False
    exchanges: list[Exchange] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> None:
        """Count one request."""
        with self._counting:
            self.counts[name] += 1


@contextmanager
def faulty_network(endpoint: str) -> Iterator[FaultyNetwork]:
    """Put a proxy before the server at `endpoint` (`http://host:port`); it ends with the block."""
    server = _Proxy(endpoint.removeprefix("http://"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.network
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.network = FaultyNetwork(f"http://127.0.0.1:{self.server_port}")

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override] # never a datagram here
        """End a connection, with RST where a handler has asked for it: a shutdown would send an orderly end first."""
        try:
            resets = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(RESET_ON_CLOSE)) == RESET_ON_CLOSE
        except OSError:
            resets = True
        if resets:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up, and a server that ends first, are everyday life here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: with Nagle's algorithm the second waits for the client's delayed ACK.
    disable_nagle_algorithm = True
    server: _Proxy

    def do_any(self) -> None:
        """Pass one request on, or break it."""
        network = self.server.network
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        drawn = None if network.random is None or network.outage else self._draw(network.random)
        if network.outage or drawn == Fault.RESET:
            network.count(OUTAGE if network.outage else Fault.RESET)
            self._reset()
            return
        instead = network.before(self.command, self.path)
        if drawn in {Fault.ERROR, Fault.SLOW_DOWN}:
            instead = ERRORS[drawn]
        if instead is not None:
            network.count(drawn or "answered")
            self._reply(instead.status, {"Content-Type": "application/xml"}, instead.body)
            return
        status, headers, answer = self._pass_on(body)
        exchange = Exchange(self.command, self.path, dict(self.headers), status, answer)
        if network.random is None:
            network.exchanges.append(exchange)
        fault = drawn or network.fault(exchange)
        network.count(fault or "passed")
        self._answer(fault, status, headers, answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any  # noqa: N815 - http.server's names

    def _draw(self, faults: RandomFaults) -> Fault | None:
        fault, delay = faults.draw()
        if fault == Fault.LATENCY:
            time.sleep(delay)
        return fault

    def _answer(self, fault: Fault | str | None, status: int, headers: dict[str, str], body: bytes) -> None:
        if fault == Fault.DROP or self.server.network.outage:
            self._reset()
        elif fault == Fault.LATE_ERROR:
            error = ERRORS[Fault.LATE_ERROR]
            self._reply(error.status, {"Content-Type": "application/xml"}, error.body)
        else:
            self._reply(status, headers, body, cut=fault == Fault.CUT)

    def _pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection(self.server.upstream, timeout=UPSTREAM_TIMEOUT_SECONDS)) as connection:
            # The Host header stays the client's own: it is part of what is signed.
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    def _reply(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
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
