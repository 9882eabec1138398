"""Logs: JSON lines in production, readable ones in development, secrets in neither."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_NAMES = re.compile(
    r"authorization|password|secret|token|database_url|redis_url|broker_url", re.IGNORECASE
)
SECRET_TEXTS = (
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"), "<token>"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w\-._~+/=]+"), r"\1 <credentials>"),
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+@"), r"\1<credentials>@"),
    (re.compile(r"\$argon2\w+\$[^\s'\"]+"), "<password hash>"),
)


def without_secrets(text: str) -> str:
    for pattern, replacement in SECRET_TEXTS:
        text = pattern.sub(replacement, text)
    return text


def redact(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last processor before rendering: also sees formatted tracebacks."""
    for name, value in event.items():
        if SECRET_NAMES.search(name) and isinstance(value, str):
            event[name] = "<secret>"
        elif isinstance(value, str):
            event[name] = without_secrets(value)
    return event


def configure_logs(*, app_name: str, level: str, readable: bool) -> None:
    """Sends structlog and the standard library's loggers through one pipe to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if readable
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda _, __, event: event if readable else {"app": app_name, **event},
                redact,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    _quiet()


def _quiet() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "dramatiq", "apscheduler"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    # Our own lines say more; these tell of every connection, tick and thread.
    for name in ("uvicorn.access", "apscheduler", "alembic.runtime", "dramatiq"):
        logging.getLogger(name).setLevel("WARNING")
    # At DEBUG these write out what goes over sockets: passwords and tokens among it.
    for name in ("uvicorn", "uvicorn.error", "websockets", "hpack", "httpx", "httpcore"):
        logging.getLogger(name).setLevel("INFO")
