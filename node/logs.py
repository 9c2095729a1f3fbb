"""Logs: one JSON object for each line, or text for a terminal, on stderr.

Rules for whoever edits this file or logs: at INFO one line for a connection at most; what happened is a
constant text, the rest are fields; a secret, a signature or user_data is never a field. The filter here is
the second fence, not the first: it blanks fields by name and passwords in URLs. Libraries that use `logging`
come out in the same form.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final, TextIO

import structlog

from node.config.keys import hide_password

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from node.config.settings import Log

_HIDDEN: Final = frozenset(
    {
        "auth",
        "credentials",
        "key",
        "nkey",
        "password",
        "secret",
        "secrets",
        "seed",
        "signature",
        "token",
        "user_data",
    }
)


def configure_logs(log: Log, stream: TextIO | None = None) -> None:
    """Send what structlog and `logging` are given to `stream` (stderr), from `log.level` up."""
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[log.level.upper()]
    structlog.configure(
        processors=[*_common(), *_last(log, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,  # the same loggers go on when the configuration changes
    )
    logging.basicConfig(handlers=[_Forwarder()], level=max(level, logging.INFO), force=True)
    logging.captureWarnings(capture=True)


class _Forwarder(logging.Handler):
    """Hands what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger().bind(logger=record.name)
        logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank fields that are secret by name, and passwords in URLs."""
    for name, value in event.items():
        if name in _HIDDEN:
            event[name] = "<not shown>"
        elif isinstance(value, str):
            event[name] = hide_password(value)
        elif isinstance(value, (list, tuple)):
            event[name] = [hide_password(item) if isinstance(item, str) else item for item in value]
    return event


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        hide_secrets,
    ]


def _last(log: Log, stream: TextIO) -> list[Processor]:
    if log.format == "console":
        return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time")]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(default=str),
    ]
