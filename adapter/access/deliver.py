"""From the outbox into the log: what a change owes is appended in order, and marked with where it stands.

A row fixes its event's id: two deliverers, or one that died between append and mark, make the same entry once. Rows of
one owner are appended in the order of their transactions: whoever waits for one appends all before it.

A consent event ends the entry of the version before it. That entry's reference may not be known yet when the row is
written, so it is looked up here; where both wait, they go in two batches.

Source: access chapter §9; fhir chapter §5; ledger chapter §6 (idempotence).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection

from adapter.access import audit
from adapter.crash import crash_point
from adapter.errors import Unavailable
from adapter.seal.keyring import Keyring
from adapter.store import outbox, seen
from adapter.store.engine import DataStore
from adapter.store.outbox import Pending
from ledger.commitment import SubjectKey
from ledger.errors import LedgerError
from ledger.event import Event, Fact
from ledger.log import Ledger
from ledger.sequence import Receipt

BATCH = 1_000
ENDING = frozenset({"consent.amended", "consent.revoked", "consent.expired"})


class Delivery:
    """Appends what waits. Any number of these may run at once, in any process."""

    def __init__(
        self, store: DataStore, ledger: Ledger, keyring: Keyring, org: str, clock: Callable[[], datetime]
    ) -> None:
        self._store, self._ledger, self._keyring, self._org, self._clock = store, ledger, keyring, org, clock
        self._listener: Callable[[], None] | None = None

    def heard_by(self, listener: Callable[[], None]) -> None:
        """Who delivers in the background, and is told when something waits."""
        self._listener = listener

    def owed(self) -> None:
        """Something was written that the log must hear of."""
        if self._listener is not None:
            self._listener()

    async def deliver(self, limit: int = BATCH) -> int:
        """One batch of the oldest that wait; how many were appended. Raises Unavailable when the log cannot append."""
        rows = await self._store.read(lambda conn: outbox.pending(conn, self._org, limit))
        return len(await self._append(rows)) if rows else 0

    async def deliver_owners(self, owners: Iterable[int]) -> None:
        """All that these owners are owed; returns when it is durable in the log. Raises Unavailable."""
        wanted = frozenset(owners)
        while rows := await self._store.read(lambda conn: outbox.pending_of(conn, self._org, wanted)):
            await self._append(rows[:BATCH])

    async def _append(self, rows: Sequence[Pending]) -> Sequence[Pending]:
        run = _until_a_wait(rows)
        await self._keyring.load({row.owner for row in run})
        ended = await self._store.read(lambda conn: _ended(conn, run))
        crash_point("deliver.taken")
        try:
            receipts = await self._ledger.append([self._event(row, ended) for row in run])
        except LedgerError as exc:
            raise Unavailable("the log cannot record this change; try again", code="log-unavailable") from exc
        crash_point("deliver.logged")
        at = int(self._clock().timestamp() * 1000)
        refs = [(row, str(receipt)) for row, receipt in zip(run, receipts, strict=True)]
        newest = max(receipts, key=lambda receipt: receipt.index)
        await self._store.write(lambda conn: self._mark(conn, refs, newest, at))
        return run

    def _mark(self, conn: Connection, refs: Sequence[tuple[Pending, str]], newest: Receipt, at: int) -> None:
        outbox.mark(conn, self._org, refs, at)
        seen.remember(conn, self._org, str(newest), newest.leaf_hash)
        crash_point("deliver.marked")

    def _event(self, row: Pending, ended: Mapping[int, str]) -> Event:
        keys = self._keyring.owner(row.owner)
        parts = row.open(keys)
        secret: dict[str, Any] = {"subject": audit.subject(row.owner), **parts.secret}
        if "content" in secret:
            secret["content"] = audit.content_root(secret["content"])
        return Event(
            type=parts.type,
            id=row.event_id,
            org=row.org,
            subject_key=SubjectKey(row.owner, keys.commitment),
            clear=cast(Mapping[str, Fact], parts.clear),
            secret=secret,
            detail=parts.detail,
            ends=(ended[row.n],) if row.n in ended else (),
            epoch=row.epoch,
        )


def _until_a_wait(rows: Sequence[Pending]) -> Sequence[Pending]:
    """The rows up to the first that ends an entry which is itself among them."""
    seen: set[tuple[int, int]] = set()
    for place, row in enumerate(rows):
        if row.rid is None or row.ver is None:
            continue
        if row.kind in ENDING and (row.rid, row.ver - 1) in seen:
            return rows[:place]
        seen.add((row.rid, row.ver))
    return rows


def _ended(conn: Connection, rows: Sequence[Pending]) -> dict[int, str]:
    """For each row that ends an entry, that entry's reference."""
    found = {}
    for row in rows:
        if row.kind in ENDING and row.rid is not None and row.ver is not None:
            ref = outbox.reference(conn, row.rid, row.ver - 1)
            if ref is not None:
                found[row.n] = ref
    return found
