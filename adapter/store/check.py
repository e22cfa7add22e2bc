"""What a start checks of the stores against each other: that none of them is an older copy than the others.

- Data and vault: an owner without a key is one that was erased, or the vault is old, empty or another's.
- Data and log: the last entry that the data store has a receipt for stands in the log as it was; and the change behind
  the log's last entry about a change is in the data store. Else one of the two is an old copy: what was said would be
  said again under other numbers.
- Vault and log: the newest entries that must have a sealed detail have it in the vault.
- Vault and journal: the keys that the newest messages are sealed under are in the vault. A stock of keys for new owners
  lets an older vault have a key for every owner; it has none for what came after the copy was made. What an erasure
  destroyed on purpose is told by its entry in the log, which stands behind what it destroyed.
- Data and journal: no message has a state that the journal does not know. An older journal would give out the numbers
  of messages that were processed, and the new ones would pass for these.

Nothing is changed by finding out. (Another site's file is told by its pairing id before this.)
Source: fhir chapter §5, last paragraph; ledger chapter §9, §15.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from adapter.errors import IntegrityFault
from adapter.seal.kek import WRONG_VAULT
from adapter.seal.keyring import SHARED
from adapter.store import outbox, seen
from adapter.store.engine import RESTORE, DataStore, Hot
from ledger.event import Need, Types, decode, id_bytes
from ledger.log import Ledger
from ledger.store.base import Entry, LogStore
from ledger.vault import Vault, milliseconds

OWED = ("transform.", "resource.", "subject.", "consent.")  # families of entries that come from the outbox
BLOCK = 1_024
NEWEST = 64  # entries and messages that are looked up in the vault: of several processes each has keys of its own
ERASED = "erasure.performed"
LOOK_BACK = 65_536  # entries without a change among them, reads mostly: beyond that the search is given up


async def check_owners(store: DataStore, vault: Vault, org: str) -> int:
    """Refuse a vault that does not hold every owner's key. The number of owners. Raises IntegrityFault."""
    known = await store.read(lambda conn: _owners(conn, org))
    held = await vault.present(org) | await vault.destroyed(org)
    if SHARED not in held:
        raise IntegrityFault("the vault holds no key of what this organisation shares", hint=WRONG_VAULT)
    if absent := len(known - held):
        raise IntegrityFault(f"{absent} of {len(known)} owners have no key in the vault", hint=WRONG_VAULT)
    return len(known)


async def check_log(store: DataStore, ledger: Ledger, org: str) -> None:
    """Refuse a log that is older than the data store, and the reverse. Raises IntegrityError, IntegrityFault."""
    for ref, leaf in await store.read(lambda conn: seen.newest(conn, org)):
        await ledger.expect(ref, leaf)
    change = await _last_change(ledger)
    if change is not None and not await store.read(lambda conn: outbox.holds(conn, change.id)):
        raise IntegrityFault(
            f"the data store is older than the log: it does not hold the change behind entry {change.index}",
            hint=RESTORE,
        )


async def _last_change(ledger: Ledger) -> Entry | None:
    async for entry, event in _backwards(ledger, ledger.size, LOOK_BACK):
        if event["type"].startswith(OWED):
            return entry
    return None


async def _backwards(log: Ledger | LogStore, size: int, most: int) -> AsyncIterator[tuple[Entry, dict[str, Any]]]:
    """The newest entries and what they say, the last one first."""
    end = size
    while end > max(0, size - most):
        start = max(0, end - BLOCK)
        for entry in reversed(await log.entries(start, end)):
            yield entry, decode(entry.body)
        end = start


async def check_details(log: LogStore, vault: Vault, rules: Types) -> int:
    """Refuse a vault that lacks the details of the newest entries. The number looked up. Raises IntegrityFault."""
    wanted: list[bytes] = []
    async for _, event in _backwards(log, (await log.head()).size, LOOK_BACK):
        if event["type"] == ERASED or len(wanted) == NEWEST:
            break
        if event["type"] in rules and rules[event["type"]].detail is Need.MUST:
            wanted.append(id_bytes(event["id"]))
    if absent := len(wanted) - len(await vault.details(wanted)):
        text = f"the vault is older than the log: it lacks {absent} of the {len(wanted)} newest details"
        raise IntegrityFault(text, hint=WRONG_VAULT)
    return len(wanted)


async def check_message_keys(received: Mapping[bytes, int], log: LogStore, vault: Vault, org: str) -> int:
    """Refuse a vault that lacks keys of the NEWEST messages, whose times of receipt these are, in milliseconds.

    The number looked up. Raises IntegrityFault.
    """
    absent = received.keys() - (await vault.message_keys(org, received)).keys()
    if absent and not await _erased_since(log, max(received[key_id] for key_id in absent)):
        text = f"the vault is older than the journal: it lacks {len(absent)} of the {len(received)} newest message keys"
        raise IntegrityFault(text, hint=WRONG_VAULT)
    return len(received)


async def _erased_since(log: LogStore, at_ms: int) -> bool:
    """Whether the log tells of an erasure since then: looked for in all of it that is as young."""
    size = (await log.head()).size
    async for _, event in _backwards(log, size, size):
        if milliseconds(datetime.fromisoformat(event["t"])) < at_ms:
            break
        if event["type"] == ERASED:
            return True
    return False


async def check_journal(store: DataStore, last: int, org: str) -> None:
    """Refuse a journal, with `last` as its newest number, that is older than the data store. Raises IntegrityFault."""
    sql = "SELECT max(seq) FROM message_state WHERE org = ?"
    known = await store.read(lambda conn: Hot(conn).one(sql, (org,)))
    if known is not None and known[0] is not None and known[0] > last:
        text = f"the journal is older than the data store: it ends at message {last}, states go up to {known[0]}"
        raise IntegrityFault(text, hint=RESTORE)


def _owners(conn: Connection, org: str) -> set[int]:
    sql = "SELECT owner FROM owner WHERE org = ? AND erased_at IS NULL"
    return {row[0] for row in Hot(conn).all(sql, (org,))}
