"""Logs: JSON lines on stderr through structlog. Values are chosen where they are logged; no message is ever logged.

An error's text and a frame's variables may hold a value of a message, so an error that nobody caught is told by its
type and place. Of what a library logs or warns stands here who did, and the words without what was put into them.
"""

import asyncio
import json
import logging
import re
import sys
import threading
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import structlog

from adapter.errors import whereabouts

log = structlog.get_logger()


def configure() -> None:
    """Set structlog up for a service."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Library())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    warnings.showwarning = _warned
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _ended
    sys.unraisablehook = lambda unraisable: _lost(unraisable.exc_value)
    threading.excepthook = lambda args: _lost(args.exc_value)


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """What the loop would print of an error that no task asked for."""
    loop.set_exception_handler(lambda loop, context: _fault(context))


def clock_stepped(seconds: float) -> None:
    """The wall clock jumped by so much against the running clock (or, at a start, lies behind the log's last entry):
    the log's time, by which consents are judged, does not follow. Source: ledger chapter §6."""
    hint = "set the clock right, then restart this process: until then its log keeps the time from before the step"
    log.warning("clock.stepped", seconds=round(seconds, 3), hint=hint)


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    log.warning("library", what=f"{category.__name__} at {Path(filename).name}:{lineno}")


class _Library(logging.Formatter):
    """A record of somebody else's logger as a line of ours."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        told = {"event": "library", "logger": record.name, "level": record.levelname.lower(), "what": str(record.msg)}
        return json.dumps(told | ({"fault": whereabouts(error)} if error is not None else {}))


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("process.ended", fault=whereabouts(error))


def _lost(error: BaseException | None) -> None:
    log.error("error.lost", fault="" if error is None else whereabouts(error))


def _fault(context: dict[str, Any]) -> None:
    error = context.get("exception")
    what = re.split(r"[(<]", str(context.get("message", "")))[0]  # behind it stand a call's arguments
    log.error("loop.fault", what=what, fault="" if error is None else whereabouts(error))
