"""What the organisation's keys open of its own log: the sealed detail of an entry, held against its commitments.

An entry says nothing; its detail in the vault says who, what and why. A detail is believed only as far as it gives the
very commitments that were logged: `values` holds what does, `broken` names what does not. Entries without a detail
(what messages and writes became) open nothing here; an erased patient's neither.

Source: ledger chapter §3 (commitments), §13; access chapter §10 (detail).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

import msgspec

from adapter.access import audit, consent
from adapter.seal.keyring import Keyring
from ledger.commitment import SubjectKey, field_salt, open_detail, opens
from ledger.errors import VerificationError
from ledger.event import committed_bytes, decode, id_bytes, timestamp
from ledger.kit import Disclosure, disclose
from ledger.store.base import Entry
from ledger.vault import Detail, Vault

Json = dict[str, Any]

# what a recipient of an export needs to run the replay; who, why and what stay closed
FOR_REPLAY = frozenset({"basis", "subject", "handle", "nb", "exp"})
_TIMES = frozenset({"nb", "exp"})  # derived in the node's zone: another zone since then is no forgery
_SEALED = ("access.", "consent.")


@dataclass(frozen=True, slots=True)
class Opened:
    """One entry, and what is known of it. `owner` is None where there is no detail."""

    index: int
    entry: Json
    owner: int | None = None
    detail: Json = field(default_factory=dict, repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    broken: tuple[str, ...] = ()
    rule: consent.Rule | None = field(default=None, repr=False)  # of a consent entry: what it said, compiled

    @property
    def type(self) -> str:
        return str(self.entry["type"])


class Opener:
    """Opens entries of one log with one organisation's keys."""

    def __init__(self, vault: Vault, keyring: Keyring, origin: str, zone: tzinfo) -> None:
        self._vault, self.keyring, self._origin, self._zone = vault, keyring, origin, zone

    async def open(self, entries: Sequence[Entry]) -> list[Opened]:
        """All of them, in order. Raises EntryError for one outside the grammar."""
        decoded = [(entry, decode(entry.body)) for entry in entries]
        sealed = [entry.id for entry, value in decoded if value["type"].startswith(_SEALED)]
        details = await self._vault.details(sealed) if sealed else {}
        await self.keyring.load({detail.subject for detail in details.values()})
        return [self._one(entry.index, value, details.get(entry.id)) for entry, value in decoded]

    async def disclosures(self, entry: Entry, ref: str, names: frozenset[str] | None = None) -> list[Disclosure]:
        """The openings of one entry; `names` narrows them."""
        (opened,) = await self.open([entry])
        if opened.owner is None:
            return []
        values = {name: value for name, value in opened.values.items() if names is None or name in names}
        return disclose(self._key(opened.owner), ref, opened.entry["id"], values)

    def _key(self, owner: int) -> SubjectKey:
        return SubjectKey(owner, self.keyring.owner(owner).commitment)

    def _one(self, index: int, entry: Json, sealed: Detail | None) -> Opened:
        if sealed is None:
            return Opened(index, entry)
        key, raw = self._key(sealed.subject), id_bytes(entry["id"])
        try:
            detail = msgspec.json.decode(open_detail(key, self._origin, raw, sealed.sealed))
        except (VerificationError, msgspec.DecodeError):
            return Opened(index, entry, sealed.subject, broken=("detail",))
        rule = _rule(detail, self._zone) if entry["type"].startswith("consent.") else None
        values, broken = {}, []
        for name, commitment in entry.get("c", {}).items():
            value = _said(name, detail, sealed.subject, rule)
            if value is None:
                continue
            if opens(commitment, field_salt(key, raw, name), name, committed_bytes(value)):
                values[name] = value
            elif name not in _TIMES:
                broken.append(name)
        return Opened(index, entry, sealed.subject, detail, values, tuple(sorted(broken)), rule)


def _rule(detail: Json, zone: tzinfo) -> consent.Rule | None:
    text = detail.get("consent")
    return consent.stored(msgspec.json.decode(text), zone) if isinstance(text, str) else None


def _said(name: str, detail: Json, owner: int, rule: consent.Rule | None) -> str | None:
    """What the detail says that this field commits to; None where it says nothing of it."""
    if detail.get("padding"):
        return audit.NOBODY
    if name == "subject":
        return audit.subject(owner)
    if name == "scope":
        return hashlib.sha256(str(detail.get("consent", "")).encode()).hexdigest()
    if name in _TIMES:
        return _time(name, rule)
    found = {
        "actor": detail.get("client"),
        "purpose": " ".join(detail.get("purposes", ())),
        "content": audit.content_root(detail.get("content", ())),
        "basis": detail.get("basis", audit.NOBODY),
        "handle": detail.get("handle"),
    }.get(name)
    return None if found is None else str(found)


def _time(name: str, rule: consent.Rule | None) -> str | None:
    if rule is None:
        return None
    if name == "nb":
        return timestamp(rule.start)
    return timestamp(rule.end) if rule.end < consent.END else audit.NO_END
