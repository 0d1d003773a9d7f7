"""Events: as JSON lines, on a terminal, and in uploaded segments."""

import io
import json
import logging
import threading
import warnings
from contextlib import suppress

import pytest
import structlog
from rich.console import Console

from job.errors import Preempted, SearchFailedError, StoreError
from job.logs import LogSegments, bound, configure, get_logger, log_failure

# Longer than any test: what is uploaded before is uploaded by hand.
NEVER = 3600.0


@pytest.fixture(autouse=True)
def _own_logging():
    """Give every test the root logger without pytest's handlers, and put all that `configure` changes back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    chatty = {name: logging.getLogger(name).level for name in ("absl", "boto3", "botocore", "h5py", "urllib3")}
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    for name, kept in chatty.items():
        logging.getLogger(name).setLevel(kept)
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture
def stream():
    """Where JSON lines go."""
    stream = io.StringIO()
    configure("info", stream=stream)
    return stream


def events(text):
    """Every line, parsed; one that is no JSON object fails the test."""
    return [json.loads(line) for line in text.splitlines()]


class Uploads:
    """Takes segments; raises StoreError while `failing`."""

    def __init__(self):
        self.failing = False
        self.attempts = 0
        self.segments = {}
        self.arrived = threading.Event()
        self.failed_twice = threading.Event()

    def __call__(self, number, data):
        self.attempts += 1
        if self.failing and self.attempts > 1:
            self.failed_twice.set()
        if self.failing:
            raise StoreError("the store is down")
        self.segments[number] = data
        self.arrived.set()

    def events(self):
        assert list(self.segments) == list(range(len(self.segments)))
        return [event for data in self.segments.values() for event in events(data.decode())]

    def names(self):
        return [event["event"] for event in self.events()]


def test_an_event_is_one_json_line(stream):
    """A line has time, level, event and its own fields, the first of them first, and text as it is."""
    get_logger().info("trial completed", score=0.5, note='a "quoted"\nline: ü')
    (event,) = events(stream.getvalue())
    assert list(event)[:3] == ["timestamp", "level", "event"]
    assert (event["level"], event["event"], event["score"]) == ("info", "trial completed", 0.5)
    assert event["note"] == 'a "quoted"\nline: ü'
    assert event["timestamp"].endswith("Z")
    assert "ü" in stream.getvalue()


def test_bound_fields_are_in_every_event_inside_and_none_after(stream):
    """Nested `bound` blocks add their fields, and take them away again, also when an error leaves them."""
    with bound(run_id="r1"):
        with suppress(KeyError), bound(trial_id="t1", rung=0):
            get_logger().info("inside")
            {}["missing"]
        get_logger().info("between")
    get_logger().info("outside")
    fields = [{name: event.get(name) for name in ("run_id", "trial_id", "rung")} for event in events(stream.getvalue())]
    assert fields == [
        {"run_id": "r1", "trial_id": "t1", "rung": 0},
        {"run_id": "r1", "trial_id": None, "rung": None},
        {"run_id": None, "trial_id": None, "rung": None},
    ]
    assert list(events(stream.getvalue())[0])[:5] == ["timestamp", "level", "event", "run_id", "trial_id"]


def test_values_that_json_lacks_are_written_as_text(stream, tmp_path):
    """Paths, sets and exceptions as fields do not break a line."""
    get_logger().info("odd", path=tmp_path, error=ValueError("no"), numbers={1})
    (event,) = events(stream.getvalue())
    assert event["path"] == str(tmp_path)
    assert "no" in event["error"]


def test_an_exception_is_in_its_line(stream):
    """A traceback is a field of its event, not lines of its own."""
    try:
        int("broken")
    except ValueError:
        get_logger().exception("unforeseen error")
    (event,) = events(stream.getvalue())
    assert event["level"] == "error"
    assert "ValueError: invalid literal" in event["exception"]
    assert "Traceback" in event["exception"]


def test_events_below_the_level_are_left_out():
    """At level warning, info is not written."""
    stream = io.StringIO()
    configure("warning", stream=stream)
    get_logger().info("quiet")
    get_logger().warning("loud")
    assert [event["event"] for event in events(stream.getvalue())] == ["loud"]


def test_standard_logging_becomes_events(stream):
    """A library's record is an event with the bound fields, its arguments filled in; its chatter is not."""
    with bound(run_id="r1"):
        logging.getLogger("some.library").warning("retrying %s in %d s", "put", 3)
        logging.getLogger("botocore").info("internals")
        logging.getLogger("botocore").warning("connection pool is full")
    first, second = events(stream.getvalue())
    assert (first["level"], first["event"], first["run_id"]) == ("warning", "retrying put in 3 s", "r1")
    assert second["event"] == "connection pool is full"


def test_python_warnings_become_events(capsys):
    """A warning of any package is an event, and nothing is written to standard error."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure("info", stream=stream)
        warnings.warn("this will be removed", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (event,) = events(stream.getvalue())
    assert event["level"] == "warning"
    assert "UserWarning: this will be removed" in event["event"]
    assert capsys.readouterr().err == ""


def test_a_failure_is_told_with_its_exit_code_and_advice(stream):
    """The last event of a failed run names the error, the code, the reason and what can be done."""
    log_failure(SearchFailedError("no trial completed", advice="look at the records"))
    (event,) = events(stream.getvalue())
    assert (event["level"], event["event"]) == ("error", "job failed")
    assert (event["error"], event["exit_code"]) == ("SearchFailedError", 13)
    assert (event["reason"], event["advice"]) == ("no trial completed", "look at the records")


def terminal():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, no_color=True, width=200)
    configure("info", console)
    return output


def test_a_terminal_gets_readable_lines():
    """On a terminal an event is a line for people: no JSON, a clock, short numbers, no run id but in the first."""
    output = terminal()
    with bound(run_id="r1"):
        get_logger().info("run started", name="nightly")
        get_logger().info("trial completed", trial_id="h0-b2-i000-r0", score=0.9333333731)
    first, second = output.getvalue().splitlines()
    assert "run started" in first
    assert "run_id=r1" in first
    assert "trial completed" in second
    assert "score=0.9333 " in second + " "
    assert "trial_id=h0-b2-i000-r0" in second
    assert "run_id" not in second
    assert not any(sign in output.getvalue() for sign in '{}"')


def test_a_terminal_leaves_to_the_display_what_it_shows():
    """Starts of trials and ends of epochs are not lines on a terminal, but they are in the segments."""
    output = terminal()
    uploads = Uploads()
    segments = LogSegments(uploads, NEVER)
    get_logger().info("trial started")
    get_logger().info("epoch finished", epoch=1, loss=0.123456789)
    get_logger().info("trial completed")
    segments.finish()
    assert len(output.getvalue().splitlines()) == 1
    assert uploads.names() == ["trial started", "epoch finished", "trial completed"]
    assert uploads.events()[1]["loss"] == 0.123456789


def test_shortened_numbers_stay_on_the_terminal():
    """What is shortened and left out for people is whole in the segments."""
    terminal()
    uploads = Uploads()
    segments = LogSegments(uploads, NEVER)
    with bound(run_id="r1"):
        get_logger().info("trial completed", score=0.9333333731)
    segments.finish()
    (event,) = uploads.events()
    assert (event["run_id"], event["score"]) == ("r1", 0.9333333731)
    assert "T" in event["timestamp"]


def test_segments_hold_every_event_once(stream):
    """Across flushes every line of the stream is in exactly one segment, numbered from 0 without gaps."""
    uploads = Uploads()
    segments = LogSegments(uploads, NEVER)
    for number in range(25):
        get_logger().info("event", number=number)
        if number % 10 == 3:
            segments.flush_segment()
            segments.flush_segment()
    segments.finish()
    assert [event["number"] for event in uploads.events()] == list(range(25))
    assert len(uploads.segments) == 4
    assert [event["number"] for event in events(stream.getvalue())] == list(range(25))


def test_segments_hold_every_event_of_every_thread_once(stream):  # noqa: ARG001 - configured, not read
    """With threads that log while others flush, no line is lost, doubled or torn."""
    uploads = Uploads()
    segments = LogSegments(uploads, NEVER)

    def log(thread):
        for number in range(50):
            get_logger().info("event", place=[thread, number])
            if number % 7 == 0:
                segments.flush_segment()

    threads = [threading.Thread(target=log, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    segments.finish()
    places = [tuple(event["place"]) for event in uploads.events()]
    assert sorted(places) == [(thread, number) for thread in range(4) for number in range(50)]


def test_an_event_during_an_upload_is_in_the_next_segment(stream):  # noqa: ARG001 - configured, not read
    """What is logged while a segment is on its way, by the upload itself for example, is not lost."""
    uploads = Uploads()

    def upload(number, data):
        if number == 0:
            get_logger().info("uploading")
        uploads(number, data)

    segments = LogSegments(upload, NEVER)
    get_logger().info("first")
    segments.flush_segment()
    segments.finish()
    assert [[event["event"] for event in events(data.decode())] for data in uploads.segments.values()] == [
        ["first"],
        ["uploading"],
    ]


def test_one_segment_is_uploaded_at_a_time(stream):  # noqa: ARG001 - configured, not read
    """A flush while another one is on its way waits for it, and does not upload the same lines again."""
    under_way, go_on = threading.Event(), threading.Event()
    uploaded = []

    def upload(number, data):
        under_way.set()
        assert go_on.wait(timeout=30)
        uploaded.append((number, [event["event"] for event in events(data.decode())]))

    segments = LogSegments(upload, NEVER)
    get_logger().info("first")
    one, other = (threading.Thread(target=segments.flush_segment) for _ in range(2))
    one.start()
    assert under_way.wait(timeout=30)
    other.start()
    # Time enough for it to do what it must not; a correct one is still waiting.
    other.join(timeout=0.2)
    go_on.set()
    one.join()
    other.join()
    segments.finish()
    assert uploaded == [(0, ["first"])]


def test_lines_of_a_failed_upload_come_with_the_next(stream):
    """Where the store fails, nothing is lost: the next segment has the old lines and the new, under the same number."""
    uploads = Uploads()
    segments = LogSegments(uploads, NEVER)
    get_logger().info("first")
    uploads.failing = True
    with pytest.raises(StoreError):
        segments.flush_segment()
    get_logger().info("second")
    uploads.failing = False
    segments.flush_segment()
    get_logger().info("third")
    segments.finish()
    assert uploads.names() == ["first", "second", "third"]
    assert list(uploads.segments) == [0, 1]
    assert [event["event"] for event in events(stream.getvalue())] == ["first", "second", "third"]


def test_the_interval_uploads_by_itself(stream):  # noqa: ARG001 - configured, not read
    """A thread uploads what is new unasked; a store that fails is reported, with the run id, and tried again."""
    uploads = Uploads()
    uploads.failing = True
    with bound(run_id="r1"):
        get_logger().info("before the segments are collected")
        segments = LogSegments(uploads, 0.01)
        get_logger().info("first")
        assert uploads.failed_twice.wait(timeout=30)
        uploads.failing = False
        assert uploads.arrived.wait(timeout=30)
        segments.finish()
    assert uploads.names()[0] == "first"
    failures = [event for event in uploads.events() if event["event"] == "log upload failed"]
    assert failures
    assert all(event["reason"] == "the store is down" and event["run_id"] == "r1" for event in failures)


def test_finish_uploads_the_rest_and_stops_collecting(stream):
    """After `finish` later events are on the stream, and in no segment."""
    uploads = Uploads()
    segments = LogSegments(uploads, NEVER)
    get_logger().info("inside")
    segments.finish()
    get_logger().info("after")
    assert uploads.names() == ["inside"]
    assert segments not in logging.getLogger().handlers
    assert [event["event"] for event in events(stream.getvalue())] == ["inside", "after"]


def test_finish_survives_a_store_that_is_down(stream):
    """What cannot be uploaded at the end is given up, and said so on the stream."""
    uploads = Uploads()
    uploads.failing = True
    segments = LogSegments(uploads, NEVER)
    get_logger().info("lost")
    segments.finish()
    assert [event["event"] for event in events(stream.getvalue())] == ["lost", "log upload failed"]


def test_nothing_new_is_no_segment(stream):  # noqa: ARG001 - configured, not read
    """Without events no object is written."""
    uploads = Uploads()
    segments = LogSegments(uploads, NEVER)
    segments.flush_segment()
    segments.finish()
    assert uploads.attempts == 0


def test_configuring_again_does_not_double_the_events():
    """A second `configure` replaces the first one's output."""
    first, second = io.StringIO(), io.StringIO()
    configure("info", stream=first)
    configure("info", stream=second)
    log_failure(Preempted("stopped by SIGTERM"))
    assert first.getvalue() == ""
    assert len(events(second.getvalue())) == 1
