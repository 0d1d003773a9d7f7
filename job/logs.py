"""What the job says while it runs: one structured event at a time.

An event goes to standard output, as a JSON line or, on a terminal, as a readable line above the live display;
and always, as a JSON line, into log segments that are uploaded while the job runs. `bind(run_id=…)` adds fields to
every later event of this thread.

TensorFlow, absl, botocore and Python's warnings speak through the standard `logging`; their records take the
same way.
"""

import contextvars
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import IO, TYPE_CHECKING, Any

import structlog

from job.errors import JobError
from job.redaction import redact_texts
from job.strict_json import strict_json

if TYPE_CHECKING:
    from rich.console import Console

# A terminal shows these in its own way; as lines they would scroll everything else away, or say it twice.
DISPLAY_ONLY_EVENTS = frozenset({"epoch finished", "run published", "trial started"})


def _without_secrets(_logger: object, _method: str, event: structlog.typing.EventDict) -> dict[str, Any]:
    """Whatever is said, and whoever says it, has no secret in it."""
    return {key: redact_texts(value) for key, value in event.items()}


_FORMAT_FOREIGN: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_HANDLER_NAME = "tuning-job"
# So long an end waits for a segment that is on its way.
_END_SECONDS = 10.0
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

bind = structlog.contextvars.bind_contextvars


def get_logger() -> structlog.stdlib.BoundLogger:
    """The logger of the calling module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add fields to every event of this thread inside the block."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def configure(level: str, console: "Console | None" = None, stream: IO[str] | None = None) -> None:
    """Send events to a terminal's console, or as JSON lines to `stream` (default: standard output)."""
    handler: logging.Handler
    if console is not None:
        handler = _TerminalHandler(console)
    else:
        handler = logging.StreamHandler(stream or sys.stdout)
        handler.setFormatter(_json_formatter())
    _install(handler, level)


def configure_worker(level: str, send: Callable[[bytes], None]) -> None:
    """Send events, one JSON document each, to the driver, which logs them with `log_forwarded`."""
    _install(_SendingHandler(send), level)


def _install(handler: logging.Handler, level: str) -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_FORMAT_FOREIGN,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    # Only what an earlier call left: other handlers belong to whoever embeds the job.
    for old in [old for old in root.handlers if old.get_name() == _HANDLER_NAME]:
        root.removeHandler(old)
    handler.set_name(_HANDLER_NAME)
    root.addHandler(handler)
    root.setLevel(_LEVELS[level])
    # A line that cannot be written, to a pipe that is closed or a full disk, is given up: the job goes on.
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    # At info these speak of their own internals; their warnings and errors still come through.
    for chatty in ("absl", "boto3", "botocore", "h5py", "s3transfer", "urllib3"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, _LEVELS[level]))


def _json_formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_FORMAT_FOREIGN,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("event"),
            _first_fields_first,
            _in_strict_json,
            _without_secrets,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ],
    )


def _first_fields_first(_logger: object, _method: str, event: structlog.typing.EventDict) -> dict[str, Any]:
    first = ("timestamp", "level", "event", "run_id", "trial_id")
    return {key: event[key] for key in first if key in event} | dict(event)


class _SendingHandler(logging.Handler):
    """Hands every event on as JSON."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send
        self.setFormatter(_json_formatter())

    def emit(self, record: logging.LogRecord) -> None:
        # A driver that is gone reads nothing; the worker is about to notice.
        with suppress(OSError):
            self._send(self.format(record).encode())


def log_forwarded(event: dict[str, Any]) -> None:
    """Log an event that a worker has sent, with the time and the fields that it has there."""
    level = str(event.get("level", "info"))
    number = _LEVELS.get(level, logging.ERROR)
    # What structlog's own loggers leave in a record: its formatter then takes the event as it is.
    fields = {"name": "worker", "levelno": number, "levelname": level.upper(), "msg": event}
    logging.getLogger().handle(logging.makeLogRecord(fields | {"_logger": None, "_name": level}))


class PrintedLines(io.TextIOBase):
    """Stands in for standard output where that is not ours to write to: every printed line is an event."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = ""

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Log the lines that this completes."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.strip():
                get_logger().info("printed", text=line.rstrip())
        return len(text)


@contextmanager
def printed_as_events() -> Iterator[None]:
    """A block in which whatever is printed is an event: standard output carries nothing else."""
    lines = PrintedLines()
    with redirect_stdout(lines), redirect_stderr(lines):
        yield


def _in_strict_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> dict[str, Any]:
    """NaN and infinities as strings, as in the records: JSON has no numbers for them, and readers refuse the line."""
    return {key: strict_json(value) for key, value in event.items()}


class _TerminalHandler(logging.Handler):
    """Readable lines through rich's console, so that they scroll above a live display."""

    def __init__(self, console: "Console") -> None:
        super().__init__()
        self._console = console
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=_FORMAT_FOREIGN,
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    _without_secrets,
                    _for_reading,
                    structlog.dev.ConsoleRenderer(
                        colors=console.is_terminal and not console.no_color, pad_event_to=20, sort_keys=False
                    ),
                ],
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text  # noqa: PLC0415 - only terminals pay for rich

        if isinstance(record.msg, dict) and record.msg.get("event") in DISPLAY_ONLY_EVENTS:
            return
        try:
            self._console.print(Text.from_ansi(self.format(record)), soft_wrap=True)
        except Exception:  # noqa: BLE001 - logging's convention: a broken log line must not end the job
            self.handleError(record)


def _for_reading(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A clock is enough on a terminal, and the run id stands in the first line."""
    event["timestamp"] = str(event.get("timestamp", ""))[11:19]
    if event.get("event") != "run started":
        event.pop("run_id", None)
    for key, value in event.items():
        if isinstance(value, float):
            event[key] = float(f"{value:.4g}")
    return event


def log_failure(error: JobError) -> None:
    """The last event of a run that an expected error ended."""
    get_logger().error(
        "job failed",
        error=type(error).__name__,
        exit_code=error.exit_code,
        reason=error.message,
        advice=error.advice,
    )


class LogSegments(logging.Handler):
    """Collects events as JSON lines and hands them on in segments.

    A thread calls `upload(number, data)` every `interval` seconds with what is new; `close` hands on the rest. An
    upload that raises keeps its lines for the next one. Safe to use from any thread.
    """

    def __init__(self, upload: Callable[[int, bytes], None], interval: float) -> None:
        super().__init__()
        self.setFormatter(_json_formatter())
        self._upload = upload
        self._lines: list[str] = []
        self._count = 0
        self._uploading = threading.Lock()
        self._stop = threading.Event()
        # The thread's own events carry the fields that are bound here, such as the run id.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run, interval), name="log-segments", daemon=True
        )
        logging.getLogger().addHandler(self)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one event for the next segment."""
        try:
            self._lines.append(self.format(record))
        except Exception:  # noqa: BLE001 - logging's convention: a broken log line must not end the job
            self.handleError(record)

    def flush_segment(self) -> None:
        """Upload what is new as one segment, if there is any. Raises what `upload` raises."""
        with self._uploading:
            # A list's slices and deletions are atomic under the GIL; `emit` only ever appends.
            taken = len(self._lines)
            if not taken:
                return
            data = "".join(f"{line}\n" for line in self._lines[:taken]).encode()
            self._upload(self._count, data)
            del self._lines[:taken]
            self._count += 1

    def _run(self, interval: float) -> None:
        while not self._stop.wait(interval):
            # The lines stay for the next segment, and the event about it with them.
            self._flush_or_warn()

    def finish(self) -> None:
        """Stop collecting and upload the rest; what cannot be uploaded is given up."""
        self._stop.set()
        # Not to its end, where the store does not answer.
        self._thread.join(_END_SECONDS)
        logging.getLogger().removeHandler(self)
        if not self._thread.is_alive():
            self._flush_or_warn()

    def _flush_or_warn(self) -> None:
        try:
            self.flush_segment()
        except Exception as error:  # noqa: BLE001 - why nothing is stored any more is told by whoever finds out
            get_logger().warning(
                "log upload failed", reason=error.message if isinstance(error, JobError) else repr(error)
            )
