"""Logs: JSON lines on stderr through structlog. Values are chosen where they are logged; no message is ever logged."""

import logging
import sys

import structlog


def configure() -> None:
    """Set structlog up for a service. Libraries' own loggers are kept to warnings: they do not know what is secret."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
