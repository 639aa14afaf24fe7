"""What the log looks like: text on a terminal, else one JSON object a line."""

from __future__ import annotations

import logging
import sys

import structlog

from gateway.settings import Settings

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_QUIET = ("uvicorn.error", "httpx", "httpcore", "aiohttp.access", "asyncio", "redis")


def configure(settings: Settings) -> None:
    """Send structlog and the standard library's logging to stderr in one format."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(settings))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(settings.log_level.upper())
    if settings.log_level != "debug":
        for name in _QUIET:
            logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))


def _formatter(settings: Settings) -> logging.Formatter:
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(text)],
    )


def _rendering(text: bool) -> list[structlog.typing.Processor]:
    if text:
        return [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,  # the pretty one shows locals, which may be secret
            )
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
