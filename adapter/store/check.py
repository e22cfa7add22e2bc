"""What a start checks of the data store against the vault: whether everything here can still be opened.

An owner without a key is one that was erased, or the node refuses to start with the count: the vault is old, empty or
another's. Nothing is deleted by finding out. (Another site's vault is told by its pairing id before this.)
Source: fhir chapter §5, last paragraph; ledger chapter §9.
"""

from sqlalchemy import Connection

from adapter.errors import IntegrityFault
from adapter.seal.kek import WRONG_VAULT
from adapter.seal.keyring import SHARED
from adapter.store.engine import DataStore, Hot
from ledger.vault import Vault


async def check_owners(store: DataStore, vault: Vault, org: str) -> int:
    """Refuse a vault that does not hold every owner's key. The number of owners. Raises IntegrityFault."""
    known = await store.read(lambda conn: _owners(conn, org))
    held = await vault.present(org) | await vault.destroyed(org)
    if SHARED not in held:
        raise IntegrityFault("the vault holds no key of what this organisation shares", hint=WRONG_VAULT)
    if absent := len(known - held):
        raise IntegrityFault(f"{absent} of {len(known)} owners have no key in the vault", hint=WRONG_VAULT)
    return len(known)


def _owners(conn: Connection, org: str) -> set[int]:
    sql = "SELECT owner FROM owner WHERE org = ? AND erased_at IS NULL"
    return {row[0] for row in Hot(conn).all(sql, (org,))}
