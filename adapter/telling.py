"""Refusals are counted by the minute and told to the log when it is over, by each process that has a gate.

Source: access chapter §6; ledger chapter §5 (`access.denied`).
"""

import asyncio

import structlog

from adapter.access.refusals import WINDOW_S
from adapter.errors import ChartbridgeError
from adapter.services import Services
from ledger.errors import LedgerError

log = structlog.get_logger()


async def tell_refusals(services: Services) -> None:
    """Each minute, for ever."""
    while True:
        await asyncio.sleep(WINDOW_S)
        await tell_now(services)


async def tell_now(services: Services) -> None:
    """A log that cannot append now is tried again in a minute: the gate keeps what was not told."""
    try:
        await services.gate.flush_refusals(services.ledger.now())
    except (ChartbridgeError, LedgerError) as error:
        log.warning("refusals_not_told", kind=type(error).__name__)
