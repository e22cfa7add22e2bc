"""`/livez`: the loop turns. `/readyz`: the parts that a request needs answer. Neither says anything of a patient.

Chain and witnesses never fail readiness: care does not wait for them. Source: operations chapter §5.
"""

import shutil
from pathlib import Path

import msgspec

from adapter.api.call import Answer, Call
from adapter.errors import ChartbridgeError
from ledger.errors import LedgerError

PLAIN_JSON = "application/json"
MIN_FREE_BYTES = 64 * 1024 * 1024  # below it the next checkpoint of a WAL may not fit


async def livez(call: Call) -> Answer:
    return Answer(200, b'{"status":"live"}', media_type=PLAIN_JSON)


async def readyz(call: Call) -> Answer:
    """200 when every part answers, else 503 with the names of those that do not."""
    services = call.services
    failing = []
    try:
        await services.store.check()
    except ChartbridgeError:
        failing.append("store")
    try:
        await services.ledger.entries(0, 1)
    except LedgerError:
        failing.append("log")
    try:
        await services.keyring.open()
    except (ChartbridgeError, LedgerError):
        failing.append("vault")
    if not _has_space(services.site):
        failing.append("disk")
    body = msgspec.json.encode({"status": "not ready" if failing else "ready", "failing": failing})
    return Answer(503 if failing else 200, body, media_type=PLAIN_JSON)


def _has_space(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free >= MIN_FREE_BYTES
    except OSError:
        return False
