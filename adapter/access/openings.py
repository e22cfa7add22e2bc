"""What the organisation's keys open of its own log: the sealed detail of an entry, held against its commitments.

An entry says nothing; its detail in the vault says who, what and why. A detail is believed only as far as it gives the
very commitments that were logged: `values` holds what does, `broken` names what does not. Entries without a detail
(what messages and writes became) open nothing here; an erased patient's neither.

Source: ledger chapter §3 (commitments), §13; access chapter §10 (detail).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

import msgspec

from adapter.access import audit, consent
from adapter.seal.keyring import Keyring
from ledger.commitment import SubjectKey, field_salt, open_detail, opens
from ledger.errors import VerificationError
from ledger.event import committed_bytes, decode, id_bytes
from ledger.kit import Disclosure, disclose
from ledger.store.base import Entry
from ledger.vault import Detail, Vault

Json = dict[str, Any]

# what a recipient of an export needs to run the replay; who, why and what stay closed
FOR_REPLAY = frozenset({"basis", "subject", "handle", "nb", "exp"})
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

    async def for_replay(self, entry: Entry, ref: str) -> list[Disclosure]:
        """What a recipient needs of this entry to replay permits. A refusal stays closed: it hides whom it is about."""
        value = decode(entry.body)
        told = value["type"].startswith("consent.") or value.get("outcome") == "permit"
        return await self.disclosures(entry, ref, FOR_REPLAY) if told else []

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
        committed = detail.get("committed", {})
        commitments = entry.get("c", {})
        values = {
            name: value
            for name, value in committed.items()
            if opens(commitments.get(name, ""), field_salt(key, raw, name), name, committed_bytes(value))
        }
        broken = {*committed.keys() - values.keys(), *_contradictions(detail, values)}
        rule = _rule(detail, self._zone) if entry["type"].startswith("consent.") else None
        return Opened(index, entry, sealed.subject, detail, values, tuple(sorted(broken)), rule)


def _rule(detail: Json, zone: tzinfo) -> consent.Rule | None:
    text = detail.get("consent")
    return consent.stored(msgspec.json.decode(text), zone) if isinstance(text, str) else None


def _contradictions(detail: Json, committed: Mapping[str, str]) -> Iterator[str]:
    """Fields whose committed value is another than the rest of the detail says: by that an access is decided again."""
    said = {}
    if "client" in detail:
        said["actor"] = str(detail["client"])
        said["purpose"] = " ".join(detail.get("purposes", ()))
    if "content" in detail:
        said["content"] = audit.content_root(detail["content"])
    if "consent" in detail:
        said["scope"] = audit.digest(str(detail["consent"]).encode())
    for name, value in said.items():
        if committed.get(name, value) != value:
            yield name
