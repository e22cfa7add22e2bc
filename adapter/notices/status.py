"""A Subscription's status as the server sets it: a new version of the resource, and the row that the work goes by.

Both in one unit, over the version that was looked at: a client that changed its Subscription meanwhile has the last
word. Source: FHIR R4 Subscription.status, .error.
"""

from datetime import datetime

from sqlalchemy import Connection

from adapter.errors import PreconditionFailed
from adapter.seal.keyring import Keyring
from adapter.store import resources, subscriptions
from adapter.store.unit import Replace, Unit, Written
from adapter.store.writing import commit_unit

WHO = "subscriptions"


def change(
    conn: Connection, keyring: Keyring, rid: int, status: str, at: datetime, *, expected: int, error: str = ""
) -> Written:
    """Set the status. Raises PreconditionFailed where another version stands than the one expected; NeedKeys."""
    found = resources.newest(conn, keyring, rid)
    if found is None:
        raise PreconditionFailed("another version stands than the one expected", code="version")
    body = {name: value for name, value in found[0].items() if name != "error"}
    entry = Replace(body | {"status": status} | ({"error": error} if error else {}), expected)
    unit = Unit("resource.written", WHO, at, (entry,), secret={"actor": WHO})
    written = commit_unit(conn, unit, keyring)
    subscriptions.became(conn, rid, status)
    return written
