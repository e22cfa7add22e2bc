"""An operator sends dead letters round again: recorded on the ledger first, whole or not at all.

A subscription that was given up is `requested` again and owes its handshake; one that its client switched off or
deleted takes nothing (409). A running `serve` takes them up.
Source: fhir chapter §10; ledger chapter §5 (`operator.acted`).
"""

import os
import uuid
from collections.abc import Sequence

from sqlalchemy import Connection

from adapter.errors import Conflict, NotFound, UsageError
from adapter.notices import status
from adapter.operators import record
from adapter.site import Site, now
from adapter.store import locks, resources, subscriptions
from adapter.store.engine import Hot
from adapter.store.names import Numbers
from adapter.store.subscriptions import ERROR, OFF, REQUESTED, Notice
from adapter.store.unit import Replace
from ledger.event import id_bytes, new_id


async def chosen(site: Site, events: Sequence[str], subscription: int | None) -> list[Notice]:
    """The dead letters that were named. Raises NotFound, UsageError for what is no event's id."""
    found = await site.store.read(lambda conn: subscriptions.dead(conn, site.org, subscription))
    if subscription is not None:
        return found
    try:
        wanted = {uuid.UUID(one).bytes for one in events}
    except ValueError as exc:
        raise UsageError("an event is a UUID", hint="chartbridge subscription dead") from exc
    kept = [one for one in found if one.id in wanted]
    if len(kept) < len(wanted):
        raise NotFound("no such event was given up", hint="chartbridge subscription dead")
    return kept


async def revive(site: Site, found: Sequence[Notice], who: str, why: str) -> None:
    """Owe them again. Raises Conflict for a subscription that is off."""
    rids = sorted({one.subscription for one in found})
    standing = await site.store.read(lambda conn: [subscriptions.standing(conn, site.org, rid) for rid in rids])
    if any(one is None or one.status == OFF for one in standing):
        raise Conflict("the subscription is switched off or deleted", code="state")
    await record(site, who, "subscription.replay", f"{','.join(map(str, rids))} {why}")
    await site.keyring.retrying(site.store.write, lambda conn: _work(conn, site, found, rids))


def _work(conn: Connection, site: Site, found: Sequence[Notice], rids: Sequence[int]) -> None:
    numbers, at = Numbers(Hot(conn)), now()
    standing = [one for rid in rids if (one := resources.newest(conn, site.keyring, rid)) is not None]
    locks.take(Hot(conn), site.keyring.organisation(), [Replace(resource) for resource, _ in standing])
    subscriptions.hold(conn, rids)
    for rid in rids:
        row, stands = subscriptions.standing(conn, site.org, rid), resources.newest(conn, site.keyring, rid)
        if row is None or stands is None or row.status != ERROR:
            continue
        status.change(conn, site.keyring, rid, REQUESTED, at, expected=stands[1])
        ms, ver = int(at.timestamp() * 1000), stands[1] + 1
        subscriptions.shake(conn, site.org, rid, ver, ms, lambda: (numbers.draw(), id_bytes(new_id(at, os.urandom))))
    subscriptions.revive(conn, [one.n for one in found])
