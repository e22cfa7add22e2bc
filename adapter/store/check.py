"""What a start checks of the stores against each other: that none of them is an older copy than the others.

- Data and vault: an owner without a key is one that was erased, or the vault is old, empty or another's.
- Data and log: the last entry that the data store has a receipt for stands in the log as it was; and the change behind
  the log's last entry about a change is in the data store. Else one of the two is an old copy: what was said would be
  said again under other numbers.
- Data and journal: no message has a state that the journal does not know. An older journal would give out the numbers
  of messages that were processed, and the new ones would pass for these.

Nothing is changed by finding out. (Another site's file is told by its pairing id before this.)
Source: fhir chapter §5, last paragraph; ledger chapter §9, §15.
"""

from sqlalchemy import Connection

from adapter.errors import IntegrityFault
from adapter.seal.kek import WRONG_VAULT
from adapter.seal.keyring import SHARED
from adapter.store import outbox, seen
from adapter.store.engine import RESTORE, DataStore, Hot
from ledger.event import decode
from ledger.log import Ledger
from ledger.store.base import Entry
from ledger.vault import Vault

OWED = ("transform.", "resource.", "subject.", "consent.")  # families of entries that come from the outbox
BLOCK = 1_024
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
    end = ledger.size
    while end > max(0, ledger.size - LOOK_BACK):
        start = max(0, end - BLOCK)
        for entry in reversed(await ledger.entries(start, end)):
            if decode(entry.body)["type"].startswith(OWED):
                return entry
        end = start
    return None


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
