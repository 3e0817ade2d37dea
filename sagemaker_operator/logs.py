"""Log lines as an API: flat JSON, lowerCamelCase keys, constant `msg`, a closed list of events (docs/logs.md).

People scrape these lines for job progress, so `log_schema_v1.json` describes them and the tests check every line against it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

    from sagemaker_operator.clock import Clock

SCHEMA = "v1"


class Event(StrEnum):
    """The closed list of event names. The value is the name; `MESSAGES` has its constant text and level."""

    JOB_SUBMITTED = "job.submitted"
    JOB_STATUS = "job.status"
    JOB_TRANSITION = "job.transition"
    JOB_STOPPING = "job.stopping"
    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_STOPPED = "job.stopped"
    JOB_RECOVERED = "job.recovered"
    RESOURCE_CREATED = "resource.created"
    RESOURCE_RECOVERED = "resource.recovered"
    RESOURCE_STATUS = "resource.status"
    RESOURCE_UPDATED = "resource.updated"
    RESOURCE_DELETING = "resource.deleting"
    RESOURCE_DELETED = "resource.deleted"
    RESOURCE_TERMINAL = "resource.terminalError"
    RESOURCE_WAITING = "resource.waiting"
    FIELD_EXPORTED = "field.exported"
    FIELD_WITHDRAWN = "field.withdrawn"
    AWS_THROTTLED = "aws.throttled"
    AWS_ERROR = "aws.error"
    OPERATOR_STARTED = "operator.started"
    OPERATOR_READY = "operator.ready"
    OPERATOR_DEGRADED = "operator.degraded"
    STANDBY = "operator.standby"
    LEASE_ERROR = "operator.leaseError"
    LEADER_ACQUIRED = "operator.leaderAcquired"
    LEADER_LOST = "operator.leaderLost"
    OPERATOR_STOPPING = "operator.stopping"


MESSAGES: dict[Event, tuple[str, int]] = {
    Event.JOB_SUBMITTED: ("Job submitted", logging.INFO),
    Event.JOB_STATUS: ("Job status changed", logging.INFO),
    Event.JOB_TRANSITION: ("Job entered a new phase", logging.INFO),
    Event.JOB_STOPPING: ("Job is being stopped", logging.INFO),
    Event.JOB_COMPLETED: ("Job completed", logging.INFO),
    Event.JOB_FAILED: ("Job failed", logging.ERROR),
    Event.JOB_STOPPED: ("Job stopped", logging.WARNING),
    Event.JOB_RECOVERED: ("Job found again after an interrupted create", logging.WARNING),
    Event.RESOURCE_CREATED: ("Resource created", logging.INFO),
    Event.RESOURCE_RECOVERED: ("Resource found again after an interrupted create", logging.WARNING),
    Event.RESOURCE_STATUS: ("Resource status changed", logging.INFO),
    Event.RESOURCE_UPDATED: ("Resource updated", logging.INFO),
    Event.RESOURCE_DELETING: ("Resource is being deleted", logging.INFO),
    Event.RESOURCE_DELETED: ("Resource released", logging.INFO),
    Event.RESOURCE_TERMINAL: ("Resource has a terminal error", logging.ERROR),
    Event.RESOURCE_WAITING: ("Resource is waiting", logging.WARNING),
    Event.FIELD_EXPORTED: ("Field exported", logging.INFO),
    Event.FIELD_WITHDRAWN: ("Exported field removed", logging.INFO),
    Event.AWS_THROTTLED: ("AWS call throttled", logging.WARNING),
    Event.AWS_ERROR: ("AWS call failed", logging.WARNING),
    Event.OPERATOR_STARTED: ("Operator started", logging.INFO),
    Event.OPERATOR_READY: ("Operator is ready", logging.INFO),
    Event.OPERATOR_DEGRADED: ("The operator is degraded", logging.WARNING),
    Event.STANDBY: ("Standing by: another process holds the lease", logging.INFO),
    Event.LEASE_ERROR: ("The lease cannot be acquired or renewed", logging.WARNING),
    Event.LEADER_ACQUIRED: ("Leadership acquired", logging.INFO),
    Event.LEADER_LOST: ("Leadership lost", logging.ERROR),
    Event.OPERATOR_STOPPING: ("Operator is stopping", logging.INFO),
}

Logger = structlog.typing.FilteringBoundLogger


def emit(logger: Logger, event: Event, **fields: Any) -> None:
    """One event line. Fields that are None or "" are left out: absent means unknown."""
    message, level = MESSAGES[event]
    present = {name: value for name, value in fields.items() if value is not None and value != ""}
    logger.log(level, message, _event=event.value, schema=SCHEMA, **present)


# One variable for all fields: structlog's own has one for each, and to set and reset eight is 2 % of a reconcile's time.
_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))


@contextlib.contextmanager
def about(**fields: Any) -> Iterator[None]:
    """All lines of this task, and of those it starts, have these fields."""
    token = _about.set(fields)
    try:
        yield
    finally:
        _about.reset(token)


def _add_about(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**_about.get(), **line}


def get_logger(name: str) -> Logger:
    """A logger whose lines have `name`. As configured now: get it after `configure`."""
    logger: Logger = structlog.get_logger().bind(logger=name)
    return logger


def configure(*, level: str, format_: str, clock: Clock, stream: TextIO | None = None) -> None:
    """Sets up structlog for the process. `format_` is `json` (machines, the default) or `text` (people)."""

    def stamp(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["ts"] = datetime.fromtimestamp(clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return line

    for library in ("botocore", "aiobotocore", "asyncio"):
        # They warn with tracebacks about what our own lines report with its cause (a failed credential refresh).
        logging.getLogger(library).setLevel(logging.CRITICAL)
    steps = (
        _add_about,
        structlog.stdlib.add_log_level,
        _describe_exception,
        stamp,
        structlog.processors.EventRenamer("msg", "_event"),
        _order,
        _render_text if format_ == "text" else _render_json,
    )

    def render(logger: Any, name: str, line: MutableMapping[str, Any]) -> Any:
        """All processors as one: what one of them raises costs the line, not the caller."""
        made: Any = line
        try:
            for step in steps:
                made = step(logger, name, made)
        except Exception:
            _count_dropped()
            raise structlog.DropEvent from None
        return made

    sink = _sink(stream)
    structlog.configure(
        processors=[render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )


_dropped = 0


def dropped_lines() -> int:
    """Lines of this process that could not be made or written: a full disk, a closed pipe."""
    return _dropped


def _count_dropped() -> None:
    global _dropped
    _dropped += 1


class _Sink:
    """The log's sink. Lines that cannot be written are dropped and counted, because the caller may just have created a resource."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def msg(self, line: str) -> None:
        try:
            self._write(line)
        except (OSError, ValueError):  # a closed stream is a ValueError, and so is what cannot be encoded
            _count_dropped()

    log = debug = info = warn = warning = error = err = critical = fatal = failure = exception = msg


def _sink(stream: TextIO | None) -> _Sink:
    """`stream` None: standard output, past Python's buffer, which keeps what could not be written and fails again at exit."""
    if stream is None:
        stream = sys.stdout
        if stream is None:  # closed before the process began
            return _Sink(_Descriptor(-1))
        with contextlib.suppress(OSError, ValueError, AttributeError, io.UnsupportedOperation):
            descriptor = stream.fileno()
            stream.flush()
            return _Sink(_Descriptor(descriptor))

    encoding = stream.encoding or "utf-8"

    def write(line: str) -> None:
        stream.write(f"{line}\n".encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()

    return _Sink(write)


class _Descriptor:
    """Writes lines to a file descriptor as UTF-8, whatever the locale; invalid Unicode is escaped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False
        """The last line was written in part."""

    def __call__(self, line: str) -> None:
        data = f"{line}\n".encode(errors="backslashreplace")
        if self._torn:
            data = b"\n" + data
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            self._torn = self._torn or 0 < len(left) < len(data)
            raise
        self._torn = False


def _describe_exception(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`exception`: where it was raised, and its type. Not its text, which may quote a spec."""
    found = line.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        frames = "".join(traceback.format_tb(error.__traceback__))
        line["exception"] = f"{frames}{type(error).__name__}"
    return line


_FIRST = ("ts", "level", "msg", "logger", "schema", "event", "kind", "namespace", "name")


def _order(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Orders fields for people: the most important ones first."""
    return {key: line[key] for key in _FIRST if key in line} | {
        key: value for key, value in line.items() if key not in _FIRST
    }


_encoder = msgspec.json.Encoder(enc_hook=str)


def _render_json(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    try:
        return _encoder.encode(line).decode()
    except (ValueError, TypeError, OverflowError):
        # A lone surrogate is not valid UTF-8; JSON has an escape for it.
        return json.dumps(line, default=str)


_HIDDEN_IN_TEXT = frozenset(
    {"ts", "level", "msg", "logger", "schema", "event", "kind", "namespace", "name", "uid", "generation", "terminal"}
    | {"resourceType", "resourceName", "resourceArn", "region", "accountId", "logGroup", "logStreamPrefix", "logUrl"}
    | {"controller", "reconcileID", "phase", "createdAt", "startedAt", "endedAt", "maxRuntimeSeconds", "exception"}
)


def _printable(value: Any) -> str:
    """Values may hold text from AWS or from users: one line stays one line, and no escape reaches a terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in str(value)).split())


def _render_text(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    """12:34:56 info  TrainingJob ml/xgb  Job status changed  status=Completed ..."""
    about = f"{line['kind']} {line.get('namespace', '')}/{line['name']}  " if "kind" in line and "name" in line else ""
    rest = "  ".join(f"{key}={_printable(value)}" for key, value in line.items() if key not in _HIDDEN_IN_TEXT)
    text = f"{line['ts'][11:19]} {line['level']:<7} {about}{line['msg']}  {rest}".rstrip()
    return f"{text}\n{line['exception']}" if "exception" in line else text
