"""A bucket of a million objects, as a server lists it: who asks for little is not made to read all of it."""

import threading
import urllib.parse
from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from xml.sax.saxutils import escape

import pytest

from job.housekeeping.folders import find_runs, list_runs
from job.resolve.access import check_access
from job.spec import JobSpec
from job.store import open_store

OBJECTS = 10**6
PAGE = 1000
RUN = "tuning/nightly/runs/one"


class Listing(BaseHTTPRequestHandler):
    """Answers ListObjectsV2 over the server's sorted `keys`, and nothing else."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        self.server.requests.append(query)
        body = self._page(query).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _page(self, query):
        keys, prefix, delimiter = self.server.keys, query.get("prefix", ""), query.get("delimiter")
        at = max(bisect_left(keys, prefix), bisect_right(keys, query.get("continuation-token", "")))
        entries, last = [], None
        while at < len(keys) and keys[at].startswith(prefix) and len(entries) < PAGE:
            last = keys[at]
            name, found, _ = last[len(prefix) :].partition(delimiter) if delimiter else (last, "", "")
            if found:
                entries.append(f"<CommonPrefixes><Prefix>{escape(prefix + name)}/</Prefix></CommonPrefixes>")
                last = f"{prefix}{name}/\U0010ffff"
                at = bisect_right(keys, last)
            else:
                entries.append(
                    f"<Contents><Key>{escape(last)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    "<ETag>&quot;e&quot;</ETag><Size>3</Size></Contents>"
                )
                at += 1
        more = at < len(keys) and keys[at].startswith(prefix)
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(entries)}</ListBucketResult>"
        )

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def listing_server(keys):
    with ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        server.keys, server.requests = sorted(keys), []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def million():
    """A folder of images before the runs, and one after them."""
    objects = [f"tuning/{folder}/{number:06d}.png" for folder in ("a", "z") for number in range(OBJECTS // 2)]
    run = [f"{RUN}/{name}" for name in ("manifest.json", "spec.json", "model/model.keras")]
    with listing_server([*objects, *run]) as server:
        yield server


@pytest.fixture
def requests(million, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{million.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    million.requests.clear()
    return million.requests


def test_whether_anything_is_there_is_one_request(requests):
    """The first answer does not wait for the thousand pages of the rest."""
    assert next(iter(open_store("s3://bucket/tuning").list())).key == "a/000000.png"
    assert len(requests) == 1


def test_pages_are_read_as_they_are_wanted(requests):
    """Each object once, in order, by no more requests than that takes."""
    keys = [entry.key for entry in islice(open_store("s3://bucket/tuning/a").list(), 5 * PAGE)]
    assert keys == [f"{number:06d}.png" for number in range(5 * PAGE)]
    assert len(requests) == 5


def test_runs_are_found_beside_a_million_objects(requests):
    """By folders: a request for the names, and one for what each has under `runs/`."""
    (found,) = find_runs(list_runs(open_store("s3://bucket/tuning")))
    assert (found.base, found.run_id) == ("nightly/", "one")
    assert set(found.sizes) == {"manifest.json", "spec.json", "model/model.keras"}
    assert len(requests) == 4


def test_the_access_check_does_not_read_the_listing(requests):
    """Whether data may be read is known from its first page."""
    spec = JobSpec.model_validate(
        {
            "name": "n",
            "data": {"source": "s3://bucket/tuning/a/", "format": "images"},
            "output": "runs",
        }
    )
    check_access(spec)
    assert sum("list-type" in query for query in requests) == 1
