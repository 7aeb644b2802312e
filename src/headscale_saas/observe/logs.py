"""One way for every line: structlog's and the standard library's loggers pass the same processors."""

import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from headscale_saas.observe.redact import safe_mapping, safe_text, safe_traceback

LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "disabled": logging.CRITICAL + 1,
}

CHATTY = ("alembic", "asyncio", "hpack", "httpx", "python_multipart", "urllib3")
"""Libraries whose everyday words interest nobody; their warnings are heard."""


def get_logger(name: str) -> FilteringBoundLogger:
    """`log = get_logger(__name__)`, then `log.info("node_joined", tailnet=7, node=3)`: event, then facts."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


def configure(level: str, style: str, *, cluster_id: int, process: str, stream: TextIO | None = None) -> None:
    """Called once by each process. `level`, `style`: `log.level`, `log.format`. Lines go to stderr."""
    threshold = LEVELS[level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        origin(cluster_id, process),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        make_safe,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    is_json = style == "json"
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer() if is_json else text_line,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        cache_logger_on_first_use=False,
    )


def origin(cluster_id: int, process: str) -> Processor:
    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.update(cluster=cluster_id, process=process)
        return event

    return add


def make_safe(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Last before rendering, so that nothing passes it by; structlog's own entries keep their types."""
    own = {name: value for name, value in event.items() if name.startswith("_")}
    traceback = event.pop("exception", None)
    cleaned: EventDict = safe_mapping({name: value for name, value in event.items() if name not in own})
    if traceback:
        cleaned["exception"] = safe_traceback(str(traceback))
    cleaned.update(own)
    return cleaned


def text_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """`2026-01-01T00:00:00Z warning catch_up_failed cluster=1 process=w0 error="no route"`."""
    traceback = event.pop("exception", "")
    head = f"{event.pop('timestamp')} {event.pop('level'):<8} {event.pop('event')}"
    facts = " ".join(f"{name}={quoted(value)}" for name, value in event.items())
    return f"{head} {facts}" + (f"\n{traceback}" if traceback else "")


def quoted(value: object) -> str:
    """Quotes what has spaces or quotes in it, so that nobody can write a fact of ours into a value."""
    text = value if isinstance(value, str) else safe_text(str(value))
    if text and not set(text) & set(' "='):
        return text
    return '"' + text.replace('"', '\\"') + '"'
